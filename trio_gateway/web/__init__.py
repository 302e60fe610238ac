"""The Quart-Trio app that clients and operators talk to."""
