"""What the operator asked for, as values."""
