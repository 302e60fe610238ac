"""Beyond validity: what a policy lets happen at worst, and what nobody can mean."""
