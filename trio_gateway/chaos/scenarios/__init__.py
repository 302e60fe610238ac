"""Scenarios: a policy, weather, clients and what is expected, and how to run them."""
