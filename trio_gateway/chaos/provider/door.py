"""Where a provider is reached on sockets: a port that is really shut while it is down.

A connection that was made can no longer be refused. So a provider that is down for
everybody does not listen: its port is held, for nobody else to take it, and refuses
connections, or swallows them. Connections end when it goes down, each after its answer
if that is not overtaken (`script.Overtaken`).
"""

import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Final

import trio

from trio_gateway.chaos.vocabulary.script import Refusal
from trio_gateway.chaos.worlds.world import Spell

# Models that are down in turn, and never together, shut nothing.
_EDGES_MAX: Final = 1000
# A queue of no length takes one connection, or two. From then on, the kernel drops who
# knocks, and the knocking goes on until somebody gives up.
_FILLERS: Final = 4


@dataclass(frozen=True, slots=True)
class Hours:
    """When a provider cannot be reached, and how that looks.

    Args:
        spells: for each of its models, those that make connecting fail for everybody.
            It is shut while each model has one.
    """

    spells: tuple[tuple[tuple[Spell, Refusal], ...], ...]

    def shut(self, at_s: float) -> Refusal | None:
        """How it is shut at this instant; None: it is open."""
        found = [
            next((how for spell, how in each if spell.is_on(at_s)), None)
            for each in self.spells
        ]
        return found[0] if found and None not in found else None

    def next_edge(self, at_s: float) -> float:
        """The next instant at which it may open or shut."""
        edges = (spell.next_edge(at_s) for each in self.spells for spell, _ in each)
        return min(edges, default=inf)

    def next_change(self, at_s: float) -> float:
        """The next instant at which it does; inf where there is none in sight."""
        shut = self.shut(at_s)
        for _ in range(_EDGES_MAX):
            at_s = self.next_edge(at_s)
            if at_s == inf or self.shut(at_s) is not shut:
                return at_s
        return inf


class Door:
    """Accepts connections during its hours.

    Args:
        hours: in the provider's seconds.
        speed: how many of them pass in one of ours.
        lose_connections: ends those that are open, after their answers.
    """

    def __init__(
        self, hours: Hours, *, speed: float, lose_connections: Callable[[], None]
    ) -> None:
        self._hours = hours
        self._speed = speed
        self._lose_connections = lose_connections

    async def run(
        self,
        serve: Callable[[trio.SocketStream], Awaitable[object]],
        listeners: Sequence[trio.SocketListener],
        serving: trio.Nursery,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen, and not, until cancelled; `serving` outlives a shut door."""
        begun_at = trio.current_time()
        places = [_Place.of(listener) for listener in listeners]
        task_status.started()
        at_s = 0.0
        while True:
            shut = self._hours.shut(at_s)
            at_s = self._hours.next_change(at_s)
            with trio.move_on_at(begun_at + at_s / self._speed):
                if shut is None:
                    listeners = listeners or [await place.open() for place in places]
                    await trio.serve_listeners(
                        partial(serve), list(listeners), handler_nursery=serving
                    )
                for listener in listeners:
                    await listener.aclose()
                self._lose_connections()
                with _held(places, swallows=shut is Refusal.CONNECT_HANG):
                    await trio.sleep_forever()
            listeners = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """An address to listen at, again and again."""

    host: str
    port: int
    family: socket.AddressFamily

    @classmethod
    def of(cls, listener: trio.SocketListener) -> "_Place":
        host, port = listener.socket.getsockname()[:2]
        return cls(host, port, listener.socket.family)

    async def open(self) -> trio.SocketListener:
        (listener,) = await trio.open_tcp_listeners(self.port, host=self.host)
        return listener


@contextmanager
def _held(places: Sequence[_Place], *, swallows: bool) -> Iterator[None]:
    """Keep ports that refuse connections, or swallow them."""
    with ExitStack() as sockets:
        for place in places:
            holder = sockets.enter_context(socket.socket(place.family))
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind((place.host, place.port))
            if swallows:
                holder.listen(0)
                for _ in range(_FILLERS):
                    filler = sockets.enter_context(socket.socket(place.family))
                    filler.setblocking(False)  # noqa: FBT003 - a standard method's
                    filler.connect_ex((place.host, place.port))
        yield
