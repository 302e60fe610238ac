"""The door: clients come in here, and so do operators, by another one.

`app` makes the two Quart-Trio apps, `connection` gives a chat completion the whole of
its own scope, `chat` serves it, and `answers` is the one table of what goes wrong.
"""
