"""What the operators are told: one log line for each exchange, and metrics."""
