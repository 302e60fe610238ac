"""Bytes and their meaning: requests, answers, events, headers, errors."""
