"""Misbehaving on purpose: faults, and simulated providers that have them."""
