"""What may be written in a policy file: its keys, their values, and their reference."""
