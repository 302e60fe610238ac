"""The network behind the port: real connections to real providers."""
