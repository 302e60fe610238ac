"""LiteLLM's proxy configurations, read and said again as a policy.

Nothing is dropped in silence: whatever has no counterpart here, or not quite the same
one, becomes a note with its line. The order of the modules: `reading` walks the file,
`vendors` knows the prefixes of model names, `deployments` and `settings` read what is
written, `models` puts groups and fallbacks into lists of targets, `translate` is asked.
"""
