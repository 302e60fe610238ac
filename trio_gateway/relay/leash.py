"""How to end the waits of one upstream request from outside, at once.

A cancel scope would do; but a request that goes well would pay more for it than for
being sent. Whoever waits on the request's behalf says instead how it is let go of:
closing a socket wakes who waits on it, and costs nothing as long as nobody does it.
"""

from collections.abc import Callable


def _nobody_waits() -> None:
    """There is nothing to let go of."""


class Leash:
    """One request's; once cut, it stays cut."""

    __slots__ = ("_let_go", "is_cut")

    def __init__(self) -> None:
        self._let_go: Callable[[], None] = _nobody_waits
        self.is_cut = False

    def hold(self, let_go: Callable[[], None]) -> None:
        """Say what makes the waits from now on end; it must not raise or wait.

        What was said before is void. Where it has been cut already, it is done at once.
        """
        self._let_go = let_go
        if self.is_cut:
            let_go()

    def free(self) -> None:
        """Say that nobody waits any more: what was held may be another's by now."""
        self._let_go = _nobody_waits

    def cut(self) -> None:
        """End the wait under way, and all to come. They end with any failure."""
        if not self.is_cut:
            self.is_cut = True
            self._let_go()
