"""Dialects: how each kind of upstream is asked, and how it fails."""
