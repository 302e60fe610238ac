"""The simulator: the production engine under virtual time, and what came of it."""
