"""One target's health, learned from the requests it was sent: its breaker.

The theory: a target that fails again and again is left alone for a while, then tried
by one request, then trusted little by little. What fails now and then stays in use and
gets a smaller share. The breaker only says how well a target is; what to send where,
and what to do when all are ill, is decided by its reader.

      +------ 5 sent in a row, or half of what was sent lately --------------+
      |                                                                      v
    CLOSED <---- 10 s ---- RAMP <---- 2 good ---- PROBE <---- time -------- OPEN
    1 - skip             0.1 .. 1                0: one     (or a good      0: its
                            |                      slot      answer to a    time
                            |                       |        last resort)   doubles
                            |                       |                        ^
                            +- as while closed -----+-- failed, twice slow --+

*Evidence.* A failure weighs 1. Passing the soft limit weighs 1/2, at that instant: a
black hole shows itself no sooner. Failing later adds the rest, so that no request
weighs more than 1. A first token inside the soft limit is good, until its answer
breaks. A neutral end weighs nothing: the client left or was wrong, another attempt won,
we shed it, or the account was throttled.

*In order of sending.* Failures mostly come sooner than first tokens. So a run is over
requests sent in a row (see `run`), and what is on its way counts among those of which a
share failed: it may yet be good. Else every beginning would look like an outage.

*Old news.* A request is judged by the era it was sent in. An era ends when the breaker
opens and when it begins to ramp: what hung in a black hole and fails long after the
healing says nothing about the target of today.

*The ramp* is judged as ever: it had two good answers, and gets few requests. Were one
failure enough, or three in a row, a target with a quarter of errors would hardly ever
come back: in simulation, 40 % of its clients failed where the usual five make it 20 %.

*Degraded.* Below the tripping point, `skip_share` of first attempts should go to the
next target instead: (n - 1.25 good) / (n + 1) over a minute. Here a request counts when
it is known to be good or not: a burst on an idle target moves nobody, and a client who
leaves is no evidence.

Sources: consecutive and share rules of Finagle's failure accrual and linkerd's unified
breaker; the probe slot that a neutral outcome gives back, Finagle; slow start, Envoy;
skipping, "Handling Overload" in Google's SRE book, with the constants of Envoy's
admission control.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from random import Random
from typing import Final

from trio_gateway.failover.openings import time_open_s, trips_that_count
from trio_gateway.failover.run import GOOD, Run
from trio_gateway.failover.window import Window
from trio_gateway.policy.route import BreakerRules

# Two slow requests say as much as one that failed.
SLOW_WEIGHT: Final = 0.5
# Two failures are an anecdote, whatever share of the traffic they are. (How many in a
# row are enough is the operator's own number.)
EVIDENCE_MIN: Final = 3.0
# Where the operator's window holds too few requests to judge, look this far back. The
# share that is skipped is always taken from it: it should not tremble.
LOOK_BACK_S: Final = 60.0
# One good answer may be luck. Each further one delays recovery by a request.
PROBE_SUCCESSES: Final = 2
# A probe that is slow once is common (its connection is cold); failing on it kept
# healthy targets out for up to 52 s in simulation, against 28 s with this rule.
PROBE_SLOW_MAX: Final = 2
# How long a healed target takes to get all its traffic back, and its share at first:
# Envoy's slow start. A cold one that is given everything at once falls ill again.
RAMP_S: Final = 10.0
RAMP_SHARE_MIN: Final = 0.1
# One step of the doubling is forgotten for each such time without opening.
FORGET_S: Final = 300.0
# Nothing is skipped above a success share of 1 / 1.25 = 80 %.
SKIP_FACTOR: Final = 1.25
# A target that still gets a fifth of its requests shows its recovery without probes.
SKIP_SHARE_MAX: Final = 0.8


class BreakerState(StrEnum):
    """How far a target is trusted."""

    CLOSED = "closed"
    OPEN = "open"
    PROBE = "probe"
    RAMP = "ramp"


# Python 3.11 takes ten times as long to find a member of an enumeration as to find a
# name, and these are asked for by every request.
_CLOSED: Final = BreakerState.CLOSED
_OPEN: Final = BreakerState.OPEN
_PROBE: Final = BreakerState.PROBE
_RAMP: Final = BreakerState.RAMP


@dataclass(slots=True, eq=False)
class Sent:
    """One request on its way, as the breaker remembers it; made by the breaker alone.

    Whoever sent it hands it back with each piece of news.
    """

    era: int
    number: int  # in its era, by order of sending
    is_probe: bool
    is_slow: bool = False
    is_committed: bool = False


class Breaker:
    """The breaker of one target.

    Every request to the target is announced by `sent` or `take_probe`. Then come, in
    this order and each at most once: `was_slow`, `committed`, and one of `failed` or
    `neutral` (which says nothing more after a commit, and may then be left out). A
    clock that steps back ends what has not begun; nothing lasts longer for it than it
    already had.
    """

    __slots__ = (
        "_era",
        "_forgets_at",
        "_lately",
        "_minute",
        "_probe",
        "_random",
        "_rules",
        "_run",
        "_slow_probes",
        "_state",
        "_successes",
        "_trips",
        "_trips_max",
        "cause",
        "open_until",
        "opened_at",
        "plain_until",
        "since",
    )

    def __init__(self, rules: BreakerRules, random: Random) -> None:
        self._rules = rules
        self._random = random
        self._state = BreakerState.CLOSED
        self.since = -inf
        """When the present state began."""
        self.opened_at = -inf
        """When it last opened, for failure domains; -inf: never."""
        self.open_until = -inf
        """When the last opening ends or ended by time; -inf: it never opened."""
        self.cause = ""
        """Why it last opened, as a short phrase of our own."""
        self._trips = 0
        self._trips_max = trips_that_count(rules)
        self._forgets_at = inf
        self._era = 0
        self._run = Run()
        self._lately = Window(rules.window_s)
        self._minute = Window(LOOK_BACK_S)
        self._probe: Sent | None = None
        self._successes = 0
        self._slow_probes = 0
        self.plain_until = inf
        """Until when it is closed and skips nothing, if no news come.

        Then nothing need be asked of it. It is looked at far more often than it
        changes, so it is kept and not computed; a busy target that is well is plain
        from one bucket of its window to the next.
        """

    # Questions

    def state(self, now: float) -> BreakerState:
        """The state at this instant."""
        if self._state is not _CLOSED:
            self._settle(now)
        return self._state

    def is_last_resort(self, now: float) -> bool:
        """Whether it is known not to work, and may only be asked in despair."""
        state = self.state(now)
        return state is _OPEN or (state is _PROBE and self._probe is not None)

    def share(self, now: float) -> float:
        """The fraction of first attempts that this target should get now."""
        if now < self.plain_until:
            return 1.0
        state = self.state(now)
        if state is _CLOSED:
            return 1.0 - self.skip_share(now)
        if state is _RAMP:
            return max(RAMP_SHARE_MIN, (now - self.since) / RAMP_S)
        return 0.0

    def trips(self, now: float) -> int:
        """How far the time open has doubled; forgotten step by step while closed."""
        if self.state(now) is _CLOSED:
            while self._trips and now >= self._forgets_at:
                self._trips -= 1
                self._forgets_at += FORGET_S
        return self._trips

    def skip_share(self, now: float) -> float:
        """The fraction of first attempts that others should get, by its failures."""
        minute = self._minute
        # Time only takes failures away, so that most are answered here.
        if minute.requests - minute.good < EVIDENCE_MIN:
            return 0.0
        if not minute.begun_at <= now < minute.next_at:
            minute.move(now)
            self._note_whether_plain()
        n, good = minute.requests, minute.good
        if good < 0.0:
            good = 0.0  # fewer than none: an answer breaks later than it began
        surplus = n - SKIP_FACTOR * good
        if n - good < EVIDENCE_MIN or surplus <= 0.0:
            return 0.0
        return min(SKIP_SHARE_MAX, surplus / (n + 1))

    def is_probe_free(self, now: float) -> bool:
        """Whether a request may be sent as a probe."""
        return self.state(now) is _PROBE and self._probe is None

    # News

    def sent(self) -> Sent:
        """An ordinary request is sent, whatever the state."""
        return Sent(self._era, self._run.send(), is_probe=False)

    def take_probe(self, now: float) -> Sent:
        """A request is sent as the one probe; only where `is_probe_free`."""
        assert self.is_probe_free(now), "there is one probe at a time"
        self._probe = Sent(self._era, self._run.send(), is_probe=True)
        return self._probe

    def was_slow(self, now: float, sent: Sent) -> None:
        """It passed its soft limit without a first token; told before its outcome."""
        sent.is_slow = True
        if not self._is_news(now, sent):
            return
        self._run.tell(sent.number, SLOW_WEIGHT)
        match self._state:
            case BreakerState.CLOSED | BreakerState.RAMP:
                self._count(now, 1, 0.0, SLOW_WEIGHT)
                self._judge(now, sent, "slow")
            case BreakerState.PROBE if sent.is_probe:
                self._slow_probes += 1
                if self._slow_probes == PROBE_SLOW_MAX:
                    self._open(now, "slow probes")
            case _:
                pass

    def committed(self, now: float, sent: Sent) -> None:
        """It reached its commit point; inside the soft limit unless it `was_slow`."""
        sent.is_committed = True
        self._give_back(sent)
        if sent.is_slow or not self._is_news(now, sent):
            return
        self._run.tell(sent.number, GOOD)
        if self._state is _CLOSED or self._state is _RAMP:
            self._count(now, 1, 1.0, 0.0)
        else:
            self._recover(now)

    def failed(
        self, now: float, sent: Sent, cause: str, *, weight: float = 1.0
    ) -> None:
        """It failed, before or after its commit point; `cause` as in `Failure`.

        A `weight` below 1 is for answers that were whole but poor.
        """
        self._give_back(sent)
        if not self._is_news(now, sent):
            return
        self._run.tell(
            sent.number, max(weight, SLOW_WEIGHT) if sent.is_slow else weight
        )
        match self._state:
            case BreakerState.CLOSED | BreakerState.RAMP:
                self._count_failure(now, sent, cause, weight)
            case BreakerState.PROBE if sent.is_probe and weight >= 1:
                self._open(now, f"probe failed: {cause}")
            case _:
                # Open is open. What was sent anyway, and hung, is no probe's verdict.
                pass

    def neutral(self, sent: Sent) -> None:
        """It ended in a way that says nothing about the target."""
        self._give_back(sent)
        if sent.era == self._era:
            self._run.leave(sent.number)

    # How it changes

    def _settle(self, now: float) -> None:
        """Make the changes that time alone makes."""
        if self._state is _OPEN:
            if not self.opened_at <= now < self.open_until:
                self._start_probing(min(now, self.open_until))
        elif self._state is _RAMP:
            ends_at = self.since + RAMP_S
            if not self.since <= now < ends_at:
                self._state = BreakerState.CLOSED
                self.since = min(now, ends_at)
                self._forgets_at = self.since + FORGET_S
                self._note_whether_plain()

    def _is_news(self, now: float, sent: Sent) -> bool:
        if self._state is not _CLOSED:
            self._settle(now)
        return sent.era == self._era

    def _give_back(self, sent: Sent) -> None:
        if self._probe is sent:
            self._probe = None

    def _count(self, now: float, requests: int, good: float, failures: float) -> None:
        self._lately.add(now, requests, good, failures)
        self._minute.add(now, requests, good, failures)
        self._note_whether_plain()

    def _note_whether_plain(self) -> None:
        n, good = self._minute.requests, self._minute.good
        if good < 0.0:
            good = 0.0  # as in `skip_share`
        self.plain_until = -inf
        if self._state is _CLOSED:
            if n - good < EVIDENCE_MIN:
                self.plain_until = inf  # time only takes failures away
            elif n <= SKIP_FACTOR * good:
                self.plain_until = self._minute.next_at  # then, good ones as well

    def _count_failure(self, now: float, sent: Sent, cause: str, weight: float) -> None:
        """Count what its slowness and its commit have not said yet, or said wrongly."""
        is_known = sent.is_slow or sent.is_committed
        good = -weight if sent.is_committed and not sent.is_slow else 0.0
        if sent.is_slow:
            weight = max(0.0, weight - SLOW_WEIGHT)
        self._count(now, 0 if is_known else 1, good, weight)
        self._judge(now, sent, cause)

    def _judge(self, now: float, sent: Sent, cause: str) -> None:
        """Open, if what is known with this failure is enough."""
        rules = self._rules
        if self._run.around(sent.number) >= rules.consecutive:
            self._open(now, f"{rules.consecutive} in a row: {cause}")
            return
        lately, unknown = self._lately, self._run.unknown
        if lately.requests + unknown < rules.min_samples:
            lately = self._minute
        failures, n = lately.failures, lately.requests + unknown
        if (
            n >= rules.min_samples
            and failures >= EVIDENCE_MIN
            and failures >= rules.share * n
        ):
            self._open(now, f"{failures:g} of {n} failed: {cause}")

    def _open(self, now: float, cause: str) -> None:
        self._trips = min(self.trips(now) + 1, self._trips_max)
        self._state = BreakerState.OPEN
        self.plain_until = -inf
        self.since = self.opened_at = now
        self.open_until = now + time_open_s(self._rules, self._trips, self._random)
        self.cause = cause
        self._begin_era()

    def _start_probing(self, now: float) -> None:
        self._state = BreakerState.PROBE
        self.since = now
        self._successes = self._slow_probes = 0

    def _recover(self, now: float) -> None:
        """A good answer while it was not trusted."""
        if self._state is BreakerState.OPEN:
            self._start_probing(now)
        self._successes += 1
        self._slow_probes = 0
        if self._successes == PROBE_SUCCESSES:
            self._state = BreakerState.RAMP
            self.since = now
            self._begin_era()

    def _begin_era(self) -> None:
        self._era += 1
        self._run.clear()
        self._lately.clear()
        self._minute.clear()
