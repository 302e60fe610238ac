"""How much trying again is allowed: three budgets, each with one purpose.

Retries are harmless while failures are rare and ruinous when everything fails: then
each client's request becomes several, just when the upstream can least bear it. A
budget ties them to what went well or to what clients asked for. It never blocks: who
gets nothing tries elsewhere, or answers now.

    DestinationBudget   whom?     may a *second* attempt go to this target?
                                  20 |######## open ########|  refused  | 0
                                         success +1/2     10     failure -1, -1/2
    RatioBudget         how many? may one more attempt be spent on this slug?
                                  +1 for each request, -1/ratio for each extra one
    PanicBudget         at once?  nothing works: how many may try all the same?
                                  max(5, a tenth of the peak of exchanges)

Sources: the first is gRPC's retry throttling (proposal A6), with a success worth 1/2
instead of 1/10, so that it closes above a third of failures and not above a tenth: a
standby that takes over is allowed some. The second is Finagle's RetryBudget, whose
deposits expire; here they fill a bucket that starts full, because a slug with a request
a second would else never have the deposits for a single extra attempt. Over any time,
extra attempts <= ratio x requests + burst + reserve x time.
"""

from dataclasses import dataclass
from math import floor
from typing import Final

from trio_gateway.policy.route import Route

TOKENS_MAX: Final = 20.0
# Refused at half, as in gRPC: ten timeouts take a full one there.
OPEN_ABOVE: Final = 10.0
# An overloaded target is hurt by every further attempt; one that answers nonsense less.
OVERLOAD_COST: Final = 1.0
FAILURE_COST: Final = 0.5
# Closes where failures are more than r/(1+r) = a third of all.
SUCCESS_GAIN: Final = 0.5


class DestinationBudget:
    """Protects one target from everyone's failovers; first attempts never ask it."""

    __slots__ = ("tokens",)

    def __init__(self) -> None:
        self.tokens = TOKENS_MAX
        """What is left, 0 to `TOKENS_MAX`."""

    @property
    def is_open(self) -> bool:
        """Whether an attempt after the first may go to this target."""
        return self.tokens > OPEN_ABOVE

    def succeeded(self) -> None:
        """An attempt there reached its commit point."""
        if self.tokens < TOKENS_MAX:
            self.tokens = min(TOKENS_MAX, self.tokens + SUCCESS_GAIN)

    def failed(self, *, is_overload: bool) -> None:
        """An attempt there failed by the target's fault.

        Overload is a 5xx, a throttle for want of capacity, a timeout.
        """
        cost = OVERLOAD_COST if is_overload else FAILURE_COST
        self.tokens = max(0.0, self.tokens - cost)

    def refill(self) -> None:
        """Begin anew, when the target begins to ramp.

        A healed target with little traffic would else be refused for minutes.
        """
        self.tokens = TOKENS_MAX


# A tenth more work is what Google's SRE book grants a client's retries; a busy slug
# has it anyway, an idle one gets a retry a second.
RETRY_RATIO: Final = 0.10
RETRY_RESERVE_PER_S: Final = 1.0
# Overlap and hedging double a request that may yet succeed: half of that, none free.
EXTRA_RATIO: Final = 0.05
EXTRA_RESERVE_PER_S: Final = 0.0
# What may be saved up, in attempts: a target that turns black is seen after some ten.
BURST: Final = 50.0


class RatioBudget:
    """Bounds one kind of extra attempts of one slug by the slug's own requests.

    Deposits are counted in requests, so that ten deposits at 10 % are exactly one
    attempt. A clock that steps back adds nothing.
    """

    __slots__ = ("_balance", "_last_at", "_most", "_price", "_reserve_per_s", "denied")

    def __init__(
        self, ratio: float, *, reserve_per_s: float, burst: float = BURST
    ) -> None:
        self._price = 1.0 / ratio
        self._reserve_per_s = reserve_per_s * self._price
        self._most = self._balance = burst * self._price
        self.denied = 0
        """How often nothing was left."""
        self._last_at: float | None = None

    def at_ratio(self, ratio: float) -> "RatioBudget":
        """Itself if that is its ratio already, else a full one of that ratio."""
        if self._price == 1.0 / ratio:
            return self
        reserve_per_s = self._reserve_per_s / self._price
        return RatioBudget(
            ratio, reserve_per_s=reserve_per_s, burst=self._most / self._price
        )

    def left(self, now: float) -> float:
        """How many extra attempts could be had now."""
        self._accrue(now)
        return self._balance / self._price

    def deposit(self, now: float) -> None:
        """A client's request came; not one that the client itself tries again."""
        if self._balance >= self._most:
            self._last_at = now  # a full one, as nearly always, gets no fuller
            return
        self._accrue(now)
        self._balance = min(self._most, self._balance + 1.0)

    def try_withdraw(self, now: float, cost: float = 1.0) -> bool:
        """Take so many attempts, or nothing; whether they may be made."""
        self._accrue(now)
        price = cost * self._price
        if price > self._balance:
            self.denied += 1
            return False
        self._balance -= price
        return True

    def _accrue(self, now: float) -> None:
        if self._reserve_per_s and self._last_at is not None and now > self._last_at:
            earned = (now - self._last_at) * self._reserve_per_s
            self._balance = min(self._most, self._balance + earned)
        self._last_at = now


# Enough to find out that one target of several works again, too few to keep it down.
PANIC_MIN: Final = 5
PANIC_SHARE: Final = 0.1
# The peak is that of the last five to ten minutes: two halves, the older dropped whole.
PEAK_HALF_S: Final = 300.0


class PanicBudget:
    """Bounds the attempts that are made although no target is well.

    The bound follows the load that was there before: what a big service may try is a
    trickle beside its usual load, what a small one may try is enough to be lucky.
    """

    __slots__ = ("_earlier_peak", "_half", "_least", "_peak", "live")

    def __init__(self, least: int = PANIC_MIN) -> None:
        self._least = least
        self.live = 0
        """How many such attempts are under way."""
        self._half = 0
        self._peak = 0
        self._earlier_peak = 0

    def limit(self, now: float) -> int:
        """How many may be under way at once."""
        self._turn(now)
        peak = max(self._peak, self._earlier_peak)
        return max(self._least, floor(PANIC_SHARE * peak))

    def has_room(self, now: float) -> bool:
        """Whether one more may be tried; False: enough are trying."""
        return self.live < self.limit(now)

    def enter(self) -> None:
        """Begin one: where there is room, or a slot was kept for it."""
        self.live += 1

    def leave(self) -> None:
        """One ended; once for each `enter`."""
        assert self.live > 0, "nobody is trying"
        self.live -= 1

    def note_in_flight(self, n: int, now: float) -> None:
        """So many exchanges are in flight."""
        if now // PEAK_HALF_S != self._half:
            self._turn(now)
        if n > self._peak:
            self._peak = n

    def _turn(self, now: float) -> None:
        """Begin another half, keeping the peak of the one right before it."""
        half = int(now // PEAK_HALF_S)
        if half == self._half:
            return
        self._earlier_peak = self._peak if half == self._half + 1 else 0
        self._peak = 0
        self._half = half


@dataclass(slots=True)
class RouteBudgets:
    """What a slug may spend on trying again; its own requests pay for it."""

    retries: RatioBudget
    extras: RatioBudget
    panic: PanicBudget
    in_flight: int = 0

    @classmethod
    def of(cls, route: Route, workers: int = 1) -> "RouteBudgets":
        """Full ones, for one of so many workers.

        What does not come from a worker's own requests is divided among all of them,
        but each has enough to find out by itself whether something works again.
        """
        burst = max(1.0, BURST / workers)
        retry_reserve_per_s = RETRY_RESERVE_PER_S / workers
        return cls(
            RatioBudget(RETRY_RATIO, reserve_per_s=retry_reserve_per_s, burst=burst),
            RatioBudget(
                _extra_ratio(route), reserve_per_s=EXTRA_RESERVE_PER_S, burst=burst
            ),
            PanicBudget(max(1, PANIC_MIN // workers)),
        )

    def adopt(self, route: Route) -> None:
        """Go on under another policy's route."""
        self.extras = self.extras.at_ratio(_extra_ratio(route))


def _extra_ratio(route: Route) -> float:
    return EXTRA_RATIO if route.hedge is None else route.hedge.max_extra
