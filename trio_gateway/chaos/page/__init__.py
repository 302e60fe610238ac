"""A simulation as one page for a browser: a verdict, timelines, tables, waterfalls."""
