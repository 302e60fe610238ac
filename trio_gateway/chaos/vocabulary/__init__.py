"""How answers misbehave, as words and values: from a text to a script of bytes."""
