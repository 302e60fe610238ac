"""What becomes of a request: `trio-gateway explain`, by the production engine."""
