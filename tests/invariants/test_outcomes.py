"""Invariants 1 to 8: what the client gets, and from whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from random import Random

import pytest

from tests.factories import a_route
from tests.invariants.scenes import (
    BLACK,
    SERVICE_FAILURES,
    SICK,
    Seen,
    a_world,
    run,
    spells,
)
from tests.invariants.table import Ledger
from trio_gateway.chaos.worlds.outline import Fails
from trio_gateway.chaos.worlds.spread import Spread
from trio_gateway.chaos.worlds.world import (
    Arrivals,
    Breaks,
    Clients,
    Effect,
    Library,
    SimulatedTarget,
    Slows,
    Spell,
    World,
)
from trio_gateway.failover.classify import is_throttle
from trio_gateway.failover.commands import Reason, RefusalKind
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import Hedge
from trio_gateway.relay.record import Outcome

SEEDS = 24


@dataclass(frozen=True)
class Swarm:
    """Runs of chance worlds under chance policies, every exchange watched."""

    seen: Sequence[Seen]

    @property
    def exchanges(self) -> int:
        return sum(len(seen.outcomes) for seen in self.seen)


def a_chance_world(seed: int) -> World:
    """Half with hedging, all with faults whose rates are themselves drawn."""
    dice = Random(f"swarm/{seed}")
    names = "abc"[: dice.randint(1, 3)]
    hedge = Hedge(0.9, 0.25, 0.05) if dice.random() < 0.5 else None
    route = a_route(
        names,
        is_overlap_on=dice.random() < 0.8,
        same_target=dice.choice([None, 0, 1, 2]),
        attempts_max=dice.randint(1, 5),
        hedge=hedge,
    )

    def a_spell() -> Spell:
        from_s = dice.uniform(0.0, 40.0)
        effects: list[Effect] = [*SERVICE_FAILURES.values(), Slows(8.0), Breaks()]
        return Spell(
            dice.choice(effects),
            from_s,
            from_s + dice.uniform(2.0, 30.0),
            share=dice.choice([0.1, 0.25, 0.5, 1.0]),
            flaps=dice.choice([None, None, (3.0, 4.0)]),
        )

    crowds = (
        Clients("chat", dice.uniform(1.0, 8.0)),
        Clients("chat", 2.0, patience=Spread.of(p50=2.0, p95=9.0, p99=20.0, most=40.0)),
        Clients("chat", 1.0, library=Library(timeout_s=10.0)),
        Clients("chat", 1.0, is_stream=False, max_tokens=200),
    )
    targets = spells(**{name: [a_spell(), a_spell()] for name in names})
    return World((route,), crowds, 60.0, targets)


@pytest.fixture(scope="module")
def swarm() -> Swarm:
    return Swarm([run(a_chance_world(n), seed=str(n)) for n in range(SEEDS)])


def test_01_one_winner(swarm: Swarm, ledger: Ledger) -> None:
    winners = [
        sum(each.opened_at is not None for each in ours)
        for seen in swarm.seen
        for ours in seen.exchanges()
    ]
    doubles = sum(
        each.reason in (Reason.OVERLAP, Reason.HEDGE)
        for seen in swarm.seen
        for each in seen.tries
    )
    assert doubles > 100, "a swarm without duplicates proves nothing"
    ledger(
        1,
        "at most one attempt of an exchange is ever committed",
        bound="1",
        measured=f"{max(winners)} in {len(winners)} exchanges, {doubles} duplicates",
        holds=max(winners) == 1,
    )


FINAL: dict[str, Effect] = {
    "client_error": Fails(Failure(FailureClass.CLIENT_ERROR, "400", 400), 0.05),
    "content_filter": Fails(Failure(FailureClass.CONTENT_FILTER, "400", 400), 0.05),
}


@pytest.mark.parametrize("is_overlap_on", [True, False])
def test_05_failover_transparency(ledger: Ledger, *, is_overlap_on: bool) -> None:
    cases = failed = 0
    for count in range(2, 5):
        names = "abcd"[:count]
        route = a_route(names, attempts_max=4, is_overlap_on=is_overlap_on)
        for down in range(1, count):
            for sick in combinations(names, down):
                for effects in mixtures(down):
                    targets = {
                        f"{name}/m": SimulatedTarget(spells=(Spell(effect),))
                        for name, effect in zip(sick, effects, strict=True)
                    }
                    cases += 1
                    failed += answered(World((route,), ONE, 0.5, targets)) != 1
    way = "with" if is_overlap_on else "without"
    ledger(
        5,
        f"one healthy target of up to four is enough, {way} overlap",
        bound="0 failures",
        measured=f"{failed} failures in {cases} cases",
        holds=failed == 0,
    )


ONE = (Clients("chat", 1.0, arrivals=Arrivals.EVEN),)


def mixtures(count: int) -> list[tuple[Effect, ...]]:
    """Every class for one or two targets; for three, the same one thrice."""
    effects = SERVICE_FAILURES.values()
    if count < 3:
        return list(product(effects, repeat=count))
    return [(effect,) * count for effect in effects]


def answered(world: World) -> int:
    return run(world).result.total.answered


@pytest.mark.parametrize("name", FINAL)
def test_06_client_errors_are_not_laundered(name: str, ledger: Ledger) -> None:
    spell = [Spell(FINAL[name])]
    seen = run(a_world(rate_per_s=50.0, duration_s=20.0, a=spell, b=spell, c=spell))
    kinds = {refusal.kind for refusal in seen.refusals if refusal}
    fleet, now = seen.simulator.fleet, seen.simulator.now
    health = fleet.health(a_route("a").targets[0], now)

    assert kinds == {RefusalKind.CLIENT_ERROR}
    assert health.budget.tokens == 20.0
    assert not health.cooldown.is_active(now)
    attempts = len(seen.tries) / len(seen.outcomes)
    ledger(
        6,
        f"`{name}` is final after one attempt and moves no health",
        bound="1 attempt, 0 changes",
        measured=f"{attempts:g} attempt, {len(seen.result.changes)} changes, "
        f"{len(seen.outcomes)} requests",
        holds=attempts == 1 and not seen.result.changes,
    )


def test_07_error_honesty(ledger: Ledger) -> None:
    wrong, cases = [], 0
    effects = {**SERVICE_FAILURES, **FINAL}
    route = a_route("ab", same_target=0)
    for first, second in product(effects, repeat=2):
        targets = {
            "a/m": SimulatedTarget(spells=(Spell(effects[first]),)),
            "b/m": SimulatedTarget(spells=(Spell(effects[second]),)),
        }
        (refusal,) = run(World((route,), ONE, 0.5, targets)).refusals
        assert refusal is not None
        cases += 1
        if refusal.kind is not honest(effects[first], effects[second]):
            wrong.append((first, second, refusal.kind))
    ledger(
        7,
        "the final status says what happened, for every pair of failure classes",
        bound="0 dishonest",
        measured=f"{len(wrong)} of {cases}",
        holds=not wrong,
    )


def honest(first: Effect, second: Effect) -> RefusalKind:
    """What the contract says of two targets that fail in turn."""
    ends = [first] if first in FINAL.values() else [first, second]
    failures = [e.failure if isinstance(e, Fails) else None for e in ends]
    if ends[-1] in FINAL.values():
        return RefusalKind.CLIENT_ERROR
    if all(failure is None for failure in failures):
        return RefusalKind.DEADLINE_EXCEEDED
    if all(failure is not None and is_throttle(failure) for failure in failures):
        return RefusalKind.RATE_LIMITED
    if failures[-1] is None:
        return RefusalKind.DEADLINE_EXCEEDED  # the last one used up all the time
    return RefusalKind.UPSTREAM_FAILED


def test_08_attempts_bound(swarm: Swarm, ledger: Ledger) -> None:
    over = alive_max = 0
    for seen in swarm.seen:
        most = seen.simulator._world.routes[0].attempts.max
        for ours in seen.exchanges():
            counted = sum(each.reason is not Reason.REDIAL for each in ours)
            over += counted > most
            alive = max(
                sum(o.started_at <= each.started_at < o.ended_at for o in ours)
                for each in ours
            )
            alive_max = max(alive_max, alive)
    ledger(
        8,
        "attempts stay within `attempts.max`, living ones within two",
        bound="0 over, 2 alive",
        measured=f"{over} over, {alive_max} alive, {swarm.exchanges} exchanges",
        holds=over == 0 and alive_max <= 2,
    )


def test_16_no_orphan_attempt(swarm: Swarm, ledger: Ledger) -> None:
    overstays = [
        each.ended_at - seen.ended_at[each.exchange]
        for seen in swarm.seen
        for each in seen.tries
        if seen.outcomes[each.exchange] is Outcome.CANCELLED
    ]
    late = sum(
        each.started_at > seen.ended_at[each.exchange]
        for seen in swarm.seen
        for each in seen.tries
    )
    assert len(overstays) > 100
    ledger(
        16,
        "no attempt outlives its client, none starts without one (decisions)",
        bound="0 ms",
        measured=f"{max(overstays) * 1000:g} ms, {late} started, "
        f"{len(overstays)} departures",
        holds=max(overstays) <= 0.0 and late == 0,
    )


def test_17_losers_die(swarm: Swarm, ledger: Ledger) -> None:
    delays = [
        loser.ended_at - winner.opened_at
        for seen in swarm.seen
        for ours in seen.exchanges()
        for winner in ours
        if winner.opened_at is not None
        for loser in ours
        if loser is not winner and loser.ended_at >= winner.opened_at
    ]
    assert len(delays) > 20
    ledger(
        17,
        "every losing attempt ends at the commit (decisions)",
        bound="0 ms",
        measured=f"{max(delays) * 1000:g} ms, {len(delays)} losers",
        holds=max(delays) == 0.0,
    )


def test_18_no_leaks(swarm: Swarm, ledger: Ledger) -> None:
    left = 0
    for seen in swarm.seen:
        fleet, now = seen.simulator.fleet, seen.simulator.now
        (route,) = seen.simulator._world.routes
        budgets = fleet.budgets(route)
        left += budgets.in_flight + budgets.panic.live
        left += len(fleet.lines.by_target) + len(fleet.lines.kept) + len(fleet.calls)
        for target in route.targets:
            health = fleet.health(target, now)
            left += health.limiter.in_flight + health.cooldown.waiters
            left += len(health.waiting)
            left += fleet.account(target.account).limiter.in_flight
            left += seen.result.targets[target.id].live
    ledger(
        18,
        "after quiescence no slot, place, waiter, probe or reservation is held",
        bound="0",
        measured=f"{left} after {swarm.exchanges} exchanges in {SEEDS} worlds",
        holds=left == 0,
    )


def test_a_swarm_sees_every_state_and_reason(swarm: Swarm) -> None:
    reasons = {each.reason for seen in swarm.seen for each in seen.tries}
    states = {c.after for seen in swarm.seen for c in seen.result.changes}
    outcomes = {outcome for seen in swarm.seen for outcome in seen.outcomes}
    kinds = {r.kind for seen in swarm.seen for r in seen.refusals if r}

    assert reasons == set(Reason) - {Reason.REDIAL}
    assert len(states) == 4
    assert outcomes == set(Outcome)
    assert kinds == set(RefusalKind) - {RefusalKind.CLIENT_ERROR}
    assert SICK in SERVICE_FAILURES.values()
    assert BLACK in SERVICE_FAILURES.values()
