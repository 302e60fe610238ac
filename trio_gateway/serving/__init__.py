"""Hypercorn's Trio worker, made safe for strangers."""
