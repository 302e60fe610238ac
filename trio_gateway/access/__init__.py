"""Who may ask for what: access keys."""
