"""Hypercorn's Trio worker, made safe for strangers.

`process` runs a whole process (signals, drain, exit code), `server` serves one app on
listeners or on any byte stream, `connection` and `protocol` harden one connection. It
knows ASGI and bytes, and nothing of what the app is for.
"""
