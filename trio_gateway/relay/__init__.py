"""Where decisions meet awaits: one client's exchange, from admission to record."""
