"""What must hold between the exchanges of one gateway, whatever the weather.

`simulation.invariants.Watch` stands beside one exchange and knows nothing of others.
This one stands beside all of them: it is shown every step of every engine, keeps books
of its own on each target and each route, and compares. The books are simpler than the
machines they watch over: they know what may never be, not what is best.

    every step --> Watch            one exchange, against the policy
             '---> HouseWatch       all of them, against each other
                     targets        hints, disablements, failures in a row, tokens
                     routes         budgets, last resorts
                     the end        nothing is held by anybody

The numbers in brackets are those of the table in tests/README.md.
"""

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from tests.swarm.books import FAULTS, Books, RouteBook
from tests.swarm.shown import ShownEngine
from tests.swarm.steps import EPSILON_S, Seen, broken_rules
from tests.swarm.worlds import RECOVERY_S
from trio_gateway.failover.attempts import Attempt
from trio_gateway.failover.breaker import BreakerState
from trio_gateway.failover.budget import (
    OPEN_ABOVE,
    PANIC_MIN,
    PANIC_SHARE,
    TOKENS_MAX,
)
from trio_gateway.failover.commands import Command, Dial, Reason
from trio_gateway.failover.engine import Engine, State
from trio_gateway.failover.events import AnswerEnded, Event, Opened
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.route import Route, Target
from trio_gateway.relay.record import Outcome

# 35 s to the first probe, a request to the second, 10 s of ramp; and what was seen to
# fail is forgotten after a minute.
_BACK_AFTER_S: Final = 75.0
# More findings of one run say nothing new.
FINDINGS_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that was broken, and the history of the exchange that shows it."""

    rule: str
    ticket: str
    lines: tuple[str, ...]


class HouseWatch:
    """Shown every step of every engine of one run.

    Args:
        grace_s: how late a network may make the news of an end.
        heals_at: from when on the weather is good.
        healed: the targets that are well from then on.
        is_tight: whether a target can serve but few: then all is well only once those
            who came in bad weather, and were told to come again, have gone.
    """

    def __init__(
        self,
        *,
        heals_at: float,
        healed: Container[str],
        is_tight: bool,
        grace_s: float = 0.0,
    ) -> None:
        self.findings: list[Finding] = []
        self.reasons: Counter[Reason] = Counter()
        self.outcomes: Counter[Outcome] = Counter()
        self.exchanges = 0
        self.judged = 0  # those of phase two that had to succeed
        self.books = Books()
        self._heals_at = heals_at
        self._healed = healed
        self._is_tight = is_tight
        self._gone_at = -inf
        self._now = -inf
        self._grace_s = grace_s + EPSILON_S
        self._known: dict[ShownEngine, Seen] = {}
        self._after: list[tuple[float, ShownEngine, Outcome]] = []

    # The run

    def saw(
        self,
        engine: ShownEngine,
        event: Event | None,
        commands: Sequence[Command],
        now: float,
    ) -> None:
        """See what an engine was told (None: its start), and what it said."""
        route = self.books.route(engine.route)
        if now < self._now:
            self._broke(engine, f"time does not step back from {self._now:g} s")
        self._now = now
        if event is None:
            self._known[engine] = Seen.begin(engine, now)
            is_client_retry = engine.wish.is_client_retry
            route.admitted(is_client_retry=is_client_retry, now=now)
        known = self._known[engine]
        self._see_slow(engine, known)
        for attempt in engine.attempts:
            if attempt.number in known.alive and not attempt.is_alive:
                self._ended(engine, attempt, known, now)
        match event:
            case Opened(number):
                self._opened(engine, engine.attempts[number - 1], now)
            case AnswerEnded(number, Failure() as failure):
                attempt = engine.attempts[number - 1]
                self._failed(engine, attempt, failure, now)
            case _:
                pass
        for command in commands:
            if isinstance(command, Dial):
                self._dialled(engine, engine.attempts[command.attempt - 1], known, now)
        wait = known.new_wait(engine)
        if wait is not None and wait.reason is Reason.RETRY:
            route.accrue(now)
            route.retries -= 1.0
        for rule in broken_rules(engine, commands, wait, known, now):
            self._broke(engine, rule)
        is_kept = engine.history.ticket in engine.fleet.lines.kept
        if is_kept and engine.state is not State.WAITING:
            self._broke(engine, "(18) no slot is kept for who does not wait for it")
        for attempt in engine.attempts:
            self._compare(engine, attempt.target, now)
        if engine.state is State.OVER:
            self._compare_route(engine, route, now)

    def over(self, engine: Engine, outcome: Outcome, now: float) -> None:
        """See an exchange's end."""
        assert isinstance(engine, ShownEngine)
        self.exchanges += 1
        self.outcomes[outcome] += 1
        for violation in engine.violations:
            self._broke(engine, violation)
        self._known.pop(engine, None)
        self.books.route(engine.route).in_flight -= 1
        began_at = engine.history.steps[0].at
        is_patient = engine.wish.patience_s is None  # who hurries may ask too much
        if self._is_tight and (
            began_at < self._heals_at or engine.wish.is_client_retry
        ):
            self._gone_at = max(self._gone_at, now)
        if began_at >= self._heals_at + RECOVERY_S and is_patient:
            self._after.append((began_at, engine, outcome))
        deadlines, winner = engine.deadlines, engine.attempts.winner
        by = deadlines.precommit_by if winner is None else deadlines.total_by
        if now > by + self._grace_s:
            self._broke(
                engine, f"(11) an exchange ends by its deadline: {now - by:g} s late"
            )

    # What was told

    def _see_slow(self, engine: ShownEngine, known: Seen) -> None:
        for attempt in engine.attempts:
            if attempt.is_slow and attempt.number not in known.slow:
                known.slow.add(attempt.number)
                self.books.target(attempt.target).was_slow()

    def _opened(self, engine: ShownEngine, attempt: Attempt, now: float) -> None:
        self.books.target(attempt.target).opened(now)
        if now > engine.deadlines.precommit_by + self._grace_s:
            self._broke(engine, "(11) nothing commits after its deadline")

    def _ended(
        self, engine: ShownEngine, attempt: Attempt, known: Seen, now: float
    ) -> None:
        known.alive.discard(attempt.number)
        if attempt.lease.is_panic:
            self.books.route(engine.route).panics -= 1
        if attempt.started_at < self._heals_at:
            self.books.target(attempt.target).rests(now)
        if attempt.failure is not None and attempt.opened_at is None:
            self._failed(engine, attempt, attempt.failure, now)

    def _failed(
        self, engine: ShownEngine, attempt: Attempt, failure: Failure, now: float
    ) -> None:
        book = self.books.target(attempt.target)
        # A refused key is out of use from now on, unless it is its vendor's outage.
        out = engine.fleet.account(attempt.target.account).disablement
        is_out = out is not None and out.is_active(now)
        is_outage = failure.kind is FailureClass.AUTH and not is_out
        is_haste = failure.kind is FailureClass.TIMEOUT and engine.deadlines.is_hurried
        is_quick = now - attempt.started_at < attempt.lease.patience.p95_s(now)
        is_fault = failure.kind in FAULTS and not (is_haste and is_quick)
        if is_fault or is_outage:
            is_news = attempt.opened_at is None and attempt.started_at >= book.good_at
            book.blamed(failure, was_slow=attempt.is_slow, is_news=is_news)
        self.books.heed(engine.route, attempt.target, failure, now)

    # What was said

    def _dialled(
        self, engine: ShownEngine, attempt: Attempt, known: Seen, now: float
    ) -> None:
        known.alive.add(attempt.number)
        known.had_chance.add(attempt.target.id)
        target, lease = attempt.target, attempt.lease
        book, route = self.books.target(target), self.books.route(engine.route)
        reason = attempt.reason
        self.reasons[reason] += 1
        if now + EPSILON_S < book.not_before:
            self._broke(engine, f"(22) nobody asks {target.id} before its own hint")
        if book.is_off or now + EPSILON_S < book.out_until:
            self._broke(engine, f"(22) nobody asks {target.id} while it is out of use")
        is_trusted = not (lease.sent.is_probe or lease.is_panic)
        if is_trusted and book.failed_in_a_row > self._patience(engine, target):
            many = book.failed_in_a_row
            self._broke(engine, f"(13) {target.id} is left alone after {many} failures")
        if reason in (Reason.OVERLAP, Reason.HEDGE):
            route.extras -= 1.0
        if attempt.number == 1:
            route.first = target.id
        # The first one again, of which nothing was processed, is no further one.
        is_further = attempt.number > 1 + (reason is Reason.REDIAL)
        if is_further and book.tokens <= OPEN_ABOVE:
            is_ill = engine.fleet.health(target, now).breaker.skip_share(now) > 0.0
            if lease.is_panic or (is_trusted and is_ill):
                self._broke(
                    engine, f"(9) no further attempts at {target.id}, which fails them"
                )
        if lease.is_panic:
            route.panics += 1
            if route.panics > max(PANIC_MIN, PANIC_SHARE * route.peak):
                self._broke(engine, "(23) last resorts are bounded")

    def _patience(self, engine: ShownEngine, target: Target) -> float:
        """So many failures in a row are overlooked only while others are under way."""
        rules, fleet = target.breaker, engine.fleet
        enough = max(rules.consecutive, rules.min_samples)
        return 2 * enough + 2 * fleet.health(target, 0.0).limiter.in_flight

    # Books against machines

    def _compare(self, engine: ShownEngine, target: Target, now: float) -> None:
        book, health = self.books.target(target), engine.fleet.health(target, now)
        breaker = health.breaker
        if breaker.opened_at != book.opened_at:
            is_probing = book.state in (BreakerState.OPEN, BreakerState.PROBE)
            needed = 1.0 if is_probing else min(3.0, target.breaker.consecutive)
            if book.evidence + EPSILON_S < needed:
                self._broke(
                    engine,
                    f"(21) a breaker opens on evidence alone: {target.id} has "
                    f"{book.evidence:g} against it",
                )
            book.opened_at, book.evidence = breaker.opened_at, 0.0
        state = breaker.state(now)
        if state is not book.state:
            if state is BreakerState.RAMP:
                book.tokens = TOKENS_MAX
            book.state = state
        if abs(book.tokens - health.budget.tokens) > EPSILON_S:
            self._broke(
                engine,
                f"(9) what fails is paid for: {target.id} has {health.budget.tokens:g} "
                f"tokens left instead of {book.tokens:g}",
            )
            book.tokens = health.budget.tokens

    def _compare_route(self, engine: ShownEngine, route: RouteBook, now: float) -> None:
        route.accrue(now)
        budgets = engine.fleet.budgets(engine.route)
        for name, ours, theirs in (
            ("(10) duplicates", route.extras, budgets.extras.left(now)),
            ("(9) retries", route.retries, budgets.retries.left(now)),
        ):
            if abs(ours - theirs) > EPSILON_S:
                self._broke(
                    engine, f"{name} are paid for: {theirs:g} left instead of {ours:g}"
                )
        route.extras, route.retries = (
            budgets.extras.left(now),
            budgets.retries.left(now),
        )

    # The end

    def close(self, fleet: Fleet, routes: Iterable[Route], now: float) -> None:
        """Say that the run is over: nothing may be held, and nothing have failed."""
        for engine in self._known:
            self._broke(engine, "every exchange ends")
        for what, left in held(fleet, routes, now):
            if left:
                self.findings.append(
                    Finding(f"(18) nothing is held: {left} {what}", "", ())
                )
        for began_at, engine, outcome in self._after:
            since = self.recovers_at(engine.route)
            if began_at < since:
                continue
            self.judged += 1
            if outcome is not Outcome.COMPLETED:
                self._broke(
                    engine,
                    f"(12) all is well from {since:.3f} s on, but at {began_at:.3f} s "
                    f"an exchange was {outcome}",
                )

        for route in routes:
            self._see_recovery(fleet, route, now)

    def _see_recovery(self, fleet: Fleet, route: Route, now: float) -> None:
        """(12) A target that has healed is asked first again."""
        first, *others = route.tiers[0]
        book = self.books.targets.get(first.id)
        if others or book is None or first.id not in self._healed:
            return
        well_from = max(self._heals_at, book.rests_until)
        state = fleet.health(first, now).breaker.state(now)
        asked = self.books.route(route).first
        is_back = state is BreakerState.CLOSED and asked == first.id
        if now - well_from > _BACK_AFTER_S and not is_back:
            since_s = now - well_from
            rule = (
                f"(12) who has healed is asked first again: {first.id} is {state} "
                f"after {since_s:.1f} s, and {asked} is asked"
            )
            self.findings.append(Finding(rule, "", ()))

    def recovers_at(self, route: Route) -> float:
        """From when on every new request must succeed.

        One healed target is enough; of one that nobody asked nothing is known.
        """
        rests = [
            self.books.target(target).rests_until
            for target in route.targets
            if target.id in self._healed
        ]
        return max(self._heals_at, self._gone_at, min(rests)) + RECOVERY_S

    def _broke(self, engine: ShownEngine, rule: str) -> None:
        """Keep the shortest histories."""
        lines = tuple(engine.history.lines())
        self.findings.append(Finding(rule, str(engine.history.ticket), lines))
        if len(self.findings) > FINDINGS_MAX:
            self.findings.sort(key=lambda each: len(each.lines))
            del self.findings[FINDINGS_MAX:]


def held(
    fleet: Fleet, routes: Iterable[Route], now: float
) -> Iterable[tuple[str, int]]:
    """What a fleet holds for exchanges, each with its number; 0 when all are over."""
    yield "tickets in lines", sum(map(len, fleet.lines.by_target.values()))
    yield "slots kept for somebody", len(fleet.lines.kept)
    yield "calls", len(fleet.calls)
    for route in routes:
        budgets = fleet.budgets(route)
        yield f"exchanges of {route.slug}", budgets.in_flight
        yield f"last resorts of {route.slug}", budgets.panic.live
        for target in (*route.targets, *route.context_chain):
            health = fleet.health(target, now)
            yield f"slots of {target.id}", health.limiter.in_flight
            yield f"waiters for {target.id}", health.cooldown.waiters
            yield f"attempts before their commit at {target.id}", len(health.waiting)
            yield f"probes of {target.id}", int(health.breaker._probe is not None)
            account = fleet.account(target.account)
            yield f"slots of {target.account.name}", account.limiter.in_flight
