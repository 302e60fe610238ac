"""The door: clients come in here, and so do operators, by another one.

`app` makes the two Quart-Trio apps, and `crew` the operators' one of several workers.
`connection` takes chat completions past Quart, `chat` serves each from its first byte
to its record, and `answers` is the one table of what goes wrong.
"""
