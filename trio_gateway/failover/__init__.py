"""What to do next: decisions that cannot await."""
