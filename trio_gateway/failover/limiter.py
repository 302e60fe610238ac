"""How much at once: at a target, and in the line before it.

Two counters that never wait themselves; who may not enter is told so at once.

    attempt -> Limiter --------------------> upstream
               has the target   ^
               room? no: WaitingLine, until it has,
               or the patience ends: next target

The **limiter** of a target keeps to what the policy says (`max_concurrency`), and to
less while the target says that it is overloaded: TCP's multiplicative decrease and
growth by the clock, driven by refusals and not by latency, because how long an answer
takes is decided by its length.

    limit
       |  (none)                              .    no overload seen, or none for 5 min:
       |     |                               .'    never throttled on suspicion
       |     | x 0.7 of what               .'
       |     | was in flight    .--------'     then ever faster, so that a spell that
       |     |                .'               is over leaves no mark
       |     '-------.______.'   back to where it was refused, and there a while
       '-------------------------------------> time

(The curve is CUBIC's, RFC 9438, slowed down from networks to models. To add one slot
for each round of answers, as TCP did before, takes minutes here: an answer does.)

The **line** is first come, first served, while it empties now and then. If it never
did for a second, more is asked than served: then nobody who joins waits longer than
250 ms, and the newest go first, because who came last still has somebody waiting for
the answer.
(Controlled delay and adaptive LIFO, as in Facebook's "Fail at Scale", ACM Queue 2015,
slowed down from milliseconds to the pace of language models.)
"""

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Hashable
from math import cbrt
from typing import Final, Generic, TypeVar

from trio_gateway.policy.route import Queue

# The least a limit starts from: nobody offers a model that serves fewer at once.
_START: Final = 20.0
# Below this a limit says nothing about capacity, only that the target is ill, which is
# the breaker's business.
_LEAST: Final = 4.0
# Gentler than TCP's half, for a refusal costs a failover and no lost time.
_DECREASE: Final = 0.7
# One burst of refusals is one piece of news, however many requests were in it.
_DECREASE_EVERY_S: Final = 1.0
# How fast a limit grows, in slots by the cube of a second: a limit of 20 is back at 20
# after seven seconds, at 40 after another ten, and at 200 after ten more.
_GROWTH: Final = 0.02
# What a target refused five minutes ago is no reason to hold back a burst now. A target
# that is still too small refuses again, and sooner than that.
_FORGET_S: Final = 300.0


class Limiter:
    """How many attempts one target (or one provider's account) may have at once."""

    __slots__ = (
        "_adaptive",
        "_decrease_from",
        "_level",
        "_level_at",
        "_overloaded_at",
        "in_flight",
        "most",
    )

    def __init__(self, most: int | None) -> None:
        self.most = most  # `max_concurrency`; a reload may change it
        self.in_flight = 0  # who enters adds one, and must `leave`, once
        self._adaptive: float | None = None
        self._overloaded_at = 0.0
        self._decrease_from = 0.0
        self._level = 0.0  # where it was when it fell
        self._level_at = 0.0  # when it is to be there again

    def leave(self) -> None:
        """Give a slot back."""
        assert self.in_flight > 0, "more left than entered"
        self.in_flight -= 1

    def has_room(self, now: float) -> bool:
        """Whether one more may enter."""
        if self.most is not None and self.in_flight >= self.most:
            return False
        if self._adaptive is None:
            return True
        return self.in_flight + 1 <= self._adaptive or self._has_forgotten(now)

    def limit(self, now: float) -> float | None:
        """The number of slots in force, fractions idle; None: unlimited."""
        if self._adaptive is None or self._has_forgotten(now):
            return self.most
        return self._adaptive if self.most is None else min(self._adaptive, self.most)

    def overloaded(self, now: float, *, answer_s: float = 0.0) -> None:
        """The target had no capacity for an attempt, which still counts as in flight.

        `answer_s` is how long it usually takes to a first token: news of what was sent
        before the last decrease comes that late.
        """
        if self._adaptive is None or self._has_forgotten(now):
            before = max(_START, self.in_flight)
        elif now >= self._decrease_from:
            before = self._adaptive
        else:
            self._overloaded_at = now
            return
        self._adaptive = max(_LEAST, _DECREASE * before)
        self._level = before
        self._level_at = now + cbrt(before * (1.0 - _DECREASE) / _GROWTH)
        self._overloaded_at = now
        self._decrease_from = now + max(_DECREASE_EVERY_S, answer_s)

    def succeeded(self, now: float) -> None:
        """An attempt got its answer, and still counts as in flight."""
        limit = self._adaptive
        if limit is not None and self.in_flight >= limit / 2:
            due = self._level + _GROWTH * (now - self._level_at) ** 3
            # By the clock, but not beyond twice what is there to be seen.
            self._adaptive = max(limit + 1.0 / limit, min(due, 2.0 * self.in_flight))

    def forget(self) -> None:
        """Begin anew: what refused us is not what is asked from now on."""
        self._adaptive = None

    def _has_forgotten(self, now: float) -> bool:
        return now >= self._overloaded_at + _FORGET_S


# A line that did not empty within this time will not do so soon.
_BUSY_AFTER_S: Final = 1.0
# Then a wait is no use to anyone, except to bridge the gap between two answers.
_BUSY_WAIT_S: Final = 0.25

Ticket = TypeVar("Ticket", bound=Hashable)


class WaitingLine(Generic[Ticket]):
    """Who waits for a slot, and until when: the books of a line, without the waiting.

    A ticket is any value that names who waits. It leaves the line in exactly one way:
    `next` calls it, or it must `give_up`, at the latest when it looks and its place is
    no longer held.
    """

    __slots__ = ("_busy_from", "_count", "_ends", "_over", "_places", "_rules")

    def __init__(self, rules: Queue) -> None:
        self._rules = rules
        # As they came: when each wait is over, and a number that is its own.
        self._places: OrderedDict[Ticket, tuple[float, int]] = OrderedDict()
        self._ends: list[tuple[float, int, Ticket]] = []  # as their waits end
        self._over: set[Ticket] = set()  # their waits are; they have not looked yet
        self._count = 0
        self._busy_from = 0.0  # means something only while somebody waits

    def __len__(self) -> int:
        return len(self._places)

    def join(
        self,
        ticket: Ticket,
        now: float,
        deadline: float,
        *,
        rules: Queue | None = None,
    ) -> bool:
        """Stand in line until `deadline` at most; False: it is full, or too late.

        Models that share a target stand in one line, each by its own `rules`.
        """
        rules = rules or self._rules
        self._sweep(now)
        if deadline <= now or len(self._places) + len(self._over) >= rules.max:
            return False
        assert ticket not in self._places, "one ticket, one place"
        if not self._places:
            self._busy_from = now + _BUSY_AFTER_S
        self._count += 1
        wait_s = rules.max_wait_s
        if now >= self._busy_from:
            wait_s = min(wait_s, _BUSY_WAIT_S)
        ends = (min(deadline, now + wait_s), self._count)
        self._places[ticket] = ends
        insort(self._ends, (*ends, ticket))
        return True

    def holds(self, ticket: Ticket, now: float) -> bool:
        """Whether a ticket still has its place."""
        self._sweep(now)
        return ticket in self._places

    def give_up(self, ticket: Ticket) -> bool:
        """Leave the line; False: it was not in it any more."""
        if ticket in self._over:
            self._over.remove(ticket)
            return True
        if ticket not in self._places:
            return False
        self._take_out(ticket)
        return True

    def next(self, now: float) -> Ticket | None:
        """Whose turn it is, now that there is a slot. Never one whose wait is over."""
        self._sweep(now)
        if not self._places:
            return None
        newest_first = now >= self._busy_from
        ticket = next(reversed(self._places) if newest_first else iter(self._places))
        self._take_out(ticket)
        return ticket

    def _sweep(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            ticket = self._ends[0][2]
            self._take_out(ticket)
            self._over.add(ticket)

    def _take_out(self, ticket: Ticket) -> None:
        ends = self._places.pop(ticket)
        del self._ends[bisect_left(self._ends, ends)]
