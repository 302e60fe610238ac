"""What the connections of one server know of each other."""

from hypercorn.trio.worker_context import WorkerContext


class Context(WorkerContext):
    """Hypercorn's, which knows when it ends; and how many are being served.

    A connection of HTTP/2 may have many exchanges at a time. Each beyond its first is
    as good as a connection: it takes as much of us, and one of the same places.
    """

    def __init__(self, places: int) -> None:
        super().__init__(None)
        self._places = places
        # These, and not Hypercorn's `terminated`: by that, a connection of HTTP/1.1
        # would end with an answer that could not say so.
        self.is_parting = False  # an answer is the last one of its connection
        self.is_draining = False  # and who has not asked yet is not waited for
        self.connections = 0
        self.extra_exchanges = 0

    @property
    def is_full(self) -> bool:
        """Whether one more has no place."""
        return self.connections + self.extra_exchanges >= self._places
