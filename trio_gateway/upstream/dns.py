"""Names into addresses, remembered: a name server's bad minute is not ours.

An answer is good for a minute. After that it is asked for again, but an old one is
better than none for an hour: where the name server fails, says that there are no
addresses, or takes its time, the last good answer serves. (Whole clouds have been
unreachable for hours because a name had suddenly no address.)

A lookup runs in a thread, because the system's resolver blocks, cannot be cancelled and
may hang for half a minute. So nobody owns it: whoever needs the answer waits for it, as
many as they are, for as long as they like; what comes is remembered even if all of them
have left. There is at most one lookup under way for each name, and no name waits for
another's.
"""

import math
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

import trio

# Below the minute or more that providers give their names to live, after which they may
# send us elsewhere.
FRESH_S: Final = 60.0

# Stale if error: longer than most failures of name servers, shorter than the time after
# which a provider's address may be somebody else's.
USABLE_S: Final = 3600.0

# How long an exchange waits for a new answer while there is an old one: many times what
# a healthy resolver takes, a quarter of the two seconds that a connect may take.
PATIENCE_S: Final = 0.5

# After a lookup that failed, or went on for too long, the old answer counts as fresh
# for this long, so that not every exchange has to wait.
RETRY_S: Final = 5.0

# Names that are remembered, each with perhaps a thread. A policy has a few dozen.
NAMES_MAX: Final = 256

# Addresses of one name; some have dozens, and nobody tries more.
ADDRESSES_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Address:
    """Where a socket can connect to."""

    family: socket.AddressFamily
    where: tuple[str | int | bytes, ...]  # as sockets take it


Answer = Sequence[Address] | OSError
Lookup = Callable[[str, int, Callable[[Answer], None]], None]
"""Starts to look up a name and a port, and delivers the answer once, later, in Trio's
thread."""


class Resolver:
    """Remembers the addresses of names."""

    def __init__(self, look_up: Lookup | None = None) -> None:
        """Ask the system's resolver, unless told otherwise."""
        self._look_up = in_a_thread if look_up is None else look_up
        self._names: dict[tuple[str, int], _Name] = {}

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        """Find the addresses to try, best first and families in turn; never none.

        Raises:
            OSError: `socket.gaierror` if the name has no address.
        """
        if itself := _literal(host, port):
            return itself
        name = self._name(host, port)
        if trio.current_time() < name.fresh_until:
            return name.addresses
        lookup = name.lookup or self._start(name)
        if trio.current_time() >= name.usable_until:
            await lookup.over.wait()
            if lookup.error is not None:
                raise lookup.error
            return name.addresses
        with trio.move_on_after(PATIENCE_S) as patience:
            await lookup.over.wait()
        if patience.cancelled_caught:
            name.trust_again()
        return name.addresses

    def doubt(self, host: str, port: int) -> None:
        """Ask anew next time: nobody could be reached at these addresses."""
        if name := self._names.get((host, port)):
            name.fresh_until = -math.inf

    def _name(self, host: str, port: int) -> "_Name":
        key = (host, port)
        name = self._names.get(key)
        if name is None:
            if len(self._names) >= NAMES_MAX:
                self._forget_one()
            name = self._names[key] = _Name(host, port)
        return name

    def _forget_one(self) -> None:
        """Forget the oldest name that nobody is looking up, so that none has two."""
        for key, name in self._names.items():
            if name.lookup is None:
                del self._names[key]
                return
        raise OSError("too many names are being looked up")

    def _start(self, name: "_Name") -> "_Lookup":
        lookup = name.lookup = _Lookup()
        self._look_up(name.host, name.port, name.learn)
        return lookup


@dataclass(slots=True)
class _Lookup:
    """A question under way; `error` is set where it brought nothing."""

    over: trio.Event = field(default_factory=trio.Event)
    error: OSError | None = None


@dataclass(slots=True)
class _Name:
    """What is known of one name. Instants are on Trio's clock."""

    host: str
    port: int
    addresses: Sequence[Address] = ()
    fresh_until: float = -math.inf
    usable_until: float = -math.inf
    lookup: _Lookup | None = None

    def learn(self, answer: Answer) -> None:
        """Remember an answer; nothing never replaces something."""
        lookup, self.lookup = self.lookup, None
        assert lookup is not None
        if isinstance(answer, OSError):
            lookup.error = answer
        elif not answer:
            lookup.error = socket.gaierror(socket.EAI_NONAME, "no address")
        else:
            self.addresses = _in_turn(answer)[:ADDRESSES_MAX]
            self.fresh_until = trio.current_time() + FRESH_S
            self.usable_until = trio.current_time() + USABLE_S
        if lookup.error is not None and self.addresses:
            self.trust_again()
        lookup.over.set()

    def trust_again(self) -> None:
        """Take the old answer for good a little longer, though not beyond its time."""
        until = trio.current_time() + RETRY_S
        self.fresh_until = min(until, self.usable_until)


def in_a_thread(host: str, port: int, deliver: Callable[[Answer], None]) -> None:
    """Ask the system's resolver: hosts file, name servers and whatever else it knows.

    The thread is Trio's, and holds nothing up: not even the end of the process.
    """
    token = trio.lowlevel.current_trio_token()

    def ask() -> Answer:
        try:
            return _ask_system(host, port)
        except OSError as error:
            return error

    def report(answer: Answer) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(deliver, answer)

    trio.lowlevel.start_thread_soon(
        ask, lambda asked: report(asked.unwrap()), name=f"look up {host}"
    )


def _ask_system(host: str, port: int, flags: int = 0) -> list[Address]:
    """As bytes, the name reaches the resolver as it is: it may be no proper name."""
    found = socket.getaddrinfo(
        host.encode("ascii"), port, type=socket.SOCK_STREAM, flags=flags
    )
    return [Address(family, where) for family, _, _, _, where in found]


def _literal(host: str, port: int) -> list[Address]:
    """Find the addresses that need no name server: written ones, and this machine's."""
    if host == "localhost":
        return [
            Address(socket.AF_INET, ("127.0.0.1", port)),
            Address(socket.AF_INET6, ("::1", port, 0, 0)),
        ]
    try:
        return _ask_system(host, port, socket.AI_NUMERICHOST)
    except OSError:
        return []


def _in_turn(addresses: Sequence[Address]) -> list[Address]:
    """Let the families take turns, the resolver's favourite first (RFC 8305, 4)."""
    first = [one for one in addresses if one.family == addresses[0].family]
    others = [one for one in addresses if one.family != addresses[0].family]
    pairs = zip_longest(first, others)
    return [one for pair in pairs for one in pair if one is not None]
