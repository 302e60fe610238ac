"""Is the simulation true? The same scenarios in virtual time and on real sockets."""
