"""Invariants 20 to 25, and 30: whom the gateway trusts, and what it does in despair."""

from dataclasses import replace
from math import inf
from random import Random

import pytest

from tests.factories import a_route, a_target
from tests.invariants.scenes import (
    BLACK,
    SICK,
    Seen,
    a_world,
    run,
)
from tests.invariants.table import Ledger
from trio_gateway.chaos.worlds.outline import Fails
from trio_gateway.chaos.worlds.spread import FIRST_TOKENS, Spread
from trio_gateway.chaos.worlds.world import (
    Capacity,
    Clients,
    Library,
    Shrinks,
    SimulatedTarget,
    Spell,
    World,
)
from trio_gateway.failover.commands import Dial, Reason
from trio_gateway.failover.deadlines import Wish
from trio_gateway.failover.engine import Engine
from trio_gateway.failover.events import AttemptFailed, ClientLeft
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Fleet


def throttled(hint_s: float) -> Fails:
    kind = FailureClass.RATE_LIMIT
    return Fails(Failure(kind, "429", 429, retry_after_s=hint_s), 0.05)


@pytest.mark.parametrize("most", [None, 100])
def test_20_bulkhead(most: int | None, ledger: Ledger) -> None:
    def other(spell: list[Spell]) -> tuple[float, float]:
        one = a_route([a_target("a", max_concurrency=most)], slug="one")
        two = a_route([a_target("b", max_concurrency=most)], slug="two")
        crowds = (Clients("one", 20.0), Clients("two", 20.0))
        targets = {"a/m": SimulatedTarget(spells=tuple(spell))}
        route = run(World((one, two), crowds, 60.0, targets)).result.routes["two"]
        return route.availability, route.first_tokens.quantile(0.99)

    _, usual_s = other([])
    share, beside_s = other([Spell(BLACK)])
    ledger(
        20,
        "one model's target hangs on every request; another model's requests, "
        + ("unlimited" if most is None else f"`max_concurrency: {most}`"),
        bound=">= 99.9 % answered, p99 within + 10 %",
        measured=f"{share:.2%}, p99 {beside_s / usual_s - 1:+.1%}",
        holds=share >= 0.999 and beside_s <= 1.1 * usual_s,
    )


NEUTRAL = {
    "client_error": Fails(Failure(FailureClass.CLIENT_ERROR, "400", 400), 0.05),
    "content_filter": Fails(Failure(FailureClass.CONTENT_FILTER, "400", 400), 0.05),
    "rate_limit": throttled(0.5),
}


@pytest.mark.parametrize("name", [*NEUTRAL, "departures", "full"])
def test_21_neutral_means_neutral(name: str, ledger: Ledger) -> None:
    effect = NEUTRAL.get(name)
    most = 1 if name == "full" else None
    patience = Spread.always(0.3) if name == "departures" else None
    route = a_route([a_target(each, max_concurrency=most) for each in "ab"])
    spell = (Spell(effect),) if effect else ()
    world = World(
        (route,),
        (Clients("chat", 30.0, patience=patience),),
        30.0,
        {"a/m": SimulatedTarget(spells=spell)},
    )
    seen = run(world)
    fleet, now = seen.simulator.fleet, seen.simulator.now
    skipped = max(fleet.health(t, now).breaker.skip_share(now) for t in route.targets)
    ledger(
        21,
        f"`{name}` moves no breaker",
        bound="0 changes, 0 skipped",
        measured=f"{len(seen.result.changes)} changes, {skipped:g} skipped, "
        f"{len(seen.outcomes)} requests",
        holds=not seen.result.changes and skipped == 0.0,
    )


def test_21_a_cancelled_probe_gives_its_slot_back(ledger: Ledger) -> None:
    fleet, route = Fleet(Random("fleet")), a_route("ab")

    def engine(ticket: str) -> Engine:
        return Engine(
            route, fleet, Wish(is_stream=True), ticket=ticket, random_for=Random
        )

    breaker = fleet.health(route.targets[0], 0.0).breaker
    failing = [engine(f"{number}") for number in range(5)]
    for each in failing:
        each.start(0.0)
    for each in failing:
        each.advance(AttemptFailed(1, SICK.failure), 0.1)
        each.advance(ClientLeft(), 0.1)
    probing = engine("probe")
    dial = probing.start(10.0)[0]
    assert isinstance(dial, Dial)
    assert dial.reason is Reason.PROBE
    assert not breaker.is_probe_free(10.5)
    probing.advance(ClientLeft(), 10.5)

    ledger(
        21,
        "a cancelled probe gives its slot back (decisions)",
        bound="0 ms",
        measured="0 ms" if breaker.is_probe_free(10.5) else "never",
        holds=breaker.is_probe_free(10.5),
    )


HINTS = (0.5, 3.0, 20.0, 1e9)
CAP_S = 300.0


@pytest.mark.parametrize("names", ["a", "ab"])
def test_22_throttle_respect(names: str, ledger: Ledger) -> None:
    spells = tuple(Spell(throttled(hint), share=0.1) for hint in HINTS)
    targets = {f"{name}/m": SimulatedTarget(spells=spells) for name in names}
    world = World((a_route(names),), (Clients("chat", 5.0),), 1500.0, targets)
    seen = run(world)
    early, longest = 0, 0.0
    for name in names:
        tries = seen.sent(f"{name}/m", 0.0, inf)
        until, hints = -inf, []
        told = sorted((e.ended_at, e.hint_s) for e in tries if e.hint_s is not None)
        for each in sorted(tries, key=lambda e: e.started_at):
            while told and told[0][0] <= each.started_at:
                at, hint_s = told.pop(0)
                hints.append(at)
                until = max(until, at + min(hint_s, CAP_S))
            early += each.started_at < until - 1e-9
            if hints:
                longest = max(longest, each.started_at - hints[-1])
    count = sum(e.hint_s is not None for e in seen.tries)
    ledger(
        22,
        f"requests before a target's own hint is over, targets {names!r}",
        bound=f"0; none waited for beyond {CAP_S:g} s",
        measured=f"{early} of {len(seen.tries)}, {count} hints; {longest:.0f} s",
        holds=early == 0 and CAP_S - 5 < longest <= CAP_S + 5,
    )


def test_23_never_nothing(ledger: Ledger) -> None:
    spell = [Spell(SICK, 10.0, 100.0)]
    seen = run(a_world(duration_s=170.0, a=spell, b=spell, c=spell))
    steady = set(seen.began_between(20.0, 100.0))
    counts = dict.fromkeys(steady, 0)
    for each in seen.tries:
        if each.exchange in steady:
            counts[each.exchange] += 1
    waits_ms = [
        (seen.ended_at[number] - seen.began_at[number]) * 1000
        for number, count in counts.items()
        if count == 0
    ]
    unhinted = sum(
        refusal is not None and refusal.retry_after_s is None
        for number, refusal in enumerate(seen.refusals)
        if counts.get(number) == 0
    )
    tried_max = max(counts.values())
    ledger(
        23,
        "every target open: attempts for each request, and how soon the others know",
        bound="<= 1; <= 100 ms, with retry-after",
        measured=f"{tried_max}; {max(waits_ms, default=0):g} ms, {unhinted} without",
        holds=tried_max <= 1 and max(waits_ms, default=0) <= 100 and not unhinted,
    )
    timeline = seen.result.timeline
    failed = seen.result.between(timeline.failed, 145.0, 171.0)
    ledger(
        23,
        "every target open, healed 45 s ago: requests that fail",
        bound="0",
        measured=f"{failed} of {seen.result.between(timeline.offered, 145.0, 170.0)}",
        holds=failed == 0,
    )


@pytest.mark.parametrize("rate_per_s", [10.0, 50.0])
@pytest.mark.parametrize("error", [0.0, 0.02])
def test_24_partial_outages_are_absorbed(
    rate_per_s: float, error: float, ledger: Ledger
) -> None:
    route = a_route("ab", is_overlap_on=True)
    failed, extra, kept = [], [], []
    for seed in "12":
        world = a_world(
            route,
            rate_per_s=rate_per_s,
            duration_s=100.0,
            a=[Spell(SICK, 10.0, share=0.25)],
            b=[Spell(SICK, share=error)],
        )
        seen = run(world, seed=seed, is_watched=False)
        total = seen.result.total
        firsts = [e for e in seen.tries if e.number == 1 and e.started_at >= 20.0]
        failed.append(1.0 - total.availability)
        extra.append(total.amplification)
        kept.append(sum(e.target == "a/m" for e in firsts) / len(firsts))
    most = 0.3 * error + 0.001
    here = f"{rate_per_s:g} requests a second, the other target at {error:.0%}"
    ledger(
        24,
        f"a target at 25 % errors: failures and attempts for each request, {here}",
        bound=f"<= {most:.1%}, <= 1.3",
        measured=f"{max(failed):.2%}, {max(extra):.2f}",
        holds=max(failed) <= most and max(extra) <= 1.3,
    )
    ledger(
        24,
        f"a target at 25 % errors: the share it keeps, {here}",
        bound="10 to 97 %",
        measured=f"{min(kept):.0%} to {max(kept):.0%}",
        holds=min(kept) >= 0.1 and max(kept) <= 0.97,
    )


@pytest.mark.parametrize("names", ["a", "abc"])
def test_24_a_breaker_makes_no_outage_of_a_brown_out(
    names: str, ledger: Ledger
) -> None:
    spell = {name: [Spell(SICK, 10.0, share=0.25)] for name in names}
    world = a_world(
        a_route(names, is_overlap_on=True),
        rate_per_s=50.0,
        duration_s=70.0,
        a=spell.get("a", ()),
        b=spell.get("b", ()),
        c=spell.get("c", ()),
    )
    seen = run(world)
    timeline = seen.result.timeline
    failed = seen.result.between(timeline.failed, 15.0, 71.0)
    share = failed / seen.result.between(timeline.offered, 15.0, 70.0)
    ledger(
        24,
        f"every target of {names!r} at 25 % errors: failures at 50 requests a second",
        bound="<= 25 %",
        measured=f"{share:.1%}",
        holds=share <= 0.25,
    )


TIERS = (
    ("gpt-4.1", "gpt-4.1"),
    ("gpt-4.1", "opus-4.6"),
    ("haiku-4.5", "opus-4.6"),
    ("gpt-4.1", "gpt-4.1", "opus-4.6"),
)


@pytest.mark.parametrize("models", TIERS)
def test_25_no_starvation(models: tuple[str, ...], ledger: Ledger) -> None:
    names = "abc"[: len(models)]
    route = a_route(names, is_overlap_on=True)
    route = replace(route, tiers=(route.targets,))
    targets = {
        f"{name}/m": SimulatedTarget(FIRST_TOKENS[model])
        for name, model in zip(names, models, strict=True)
    }
    world = World((route,), (Clients("chat", 20.0),), 120.0, targets)
    firsts = [e.target for e in run(world, is_watched=False).tries if e.number == 1]
    least = min(
        firsts[start : start + 1000].count(target) * len(names) / 1000
        for target in targets
        for start in range(0, len(firsts) - 1000, 100)
    )
    ledger(
        25,
        f"the least of its fair share in any 1000 requests: {', '.join(models)}",
        bound=">= 50 %",
        measured=f"{least:.0%}",
        holds=least >= 0.5,
    )


@pytest.mark.parametrize("rate_per_s", [10.0, 50.0])
def test_25_no_flapping(rate_per_s: float, ledger: Ledger) -> None:
    seen = run(
        a_world(
            a_route("ab", is_overlap_on=True),
            rate_per_s=rate_per_s,
            duration_s=200.0,
            a=[Spell(SICK, 20.0, flaps=(20.0, 20.0))],
        ),
        is_watched=False,
    )
    at = [change.at_s for change in seen.result.changes if change.target == "a/m"]
    most = max(sum(start <= each < start + 60 for each in at) for start in range(140))
    failed = 1.0 - seen.result.total.availability
    ledger(
        25,
        f"20 s down, 20 s up, another well: {rate_per_s:g} requests a second",
        bound="<= 15 changes a minute, <= 0.1 % failed",
        measured=f"{most}, {failed:.2%}",
        holds=most <= 15 and failed <= 0.001,
    )


# 30. A trigger takes four fifths of the capacity for a minute; the line before the
# target is endless, and it does not notice who has left.


@pytest.mark.parametrize("notices", [True, False])
def test_30_no_metastable_state(ledger: Ledger, *, notices: bool) -> None:
    target = SimulatedTarget(
        Spread.always(1.0),
        gap_s=0.01,
        capacity=Capacity(slots=100, notices_departures=notices),
        spells=(Spell(Shrinks(0.2), 20.0, 80.0),),
    )
    crowd = Clients(
        "chat",
        40.0,
        answer_tokens=Spread.always(101.0),
        library=Library(timeout_s=10.0),
    )
    seen = run(World((a_route("a"),), (crowd,), 160.0, {"a/m": target}))
    back_at = goodput_back_at(seen, 80.0)
    way = "notices" if notices else "does not notice"
    ledger(
        30,
        f"capacity gone for a minute, a target that {way} departures: "
        "until 95 % is answered again",
        bound="<= 30 s",
        measured=f"{back_at - 80.0:.0f} s",
        holds=back_at <= 110.0,
    )


def goodput_back_at(seen: Seen, from_s: float) -> float:
    """From when on ten seconds' worth of answers is what ten seconds' clients asked."""
    timeline, at = seen.result.timeline, from_s
    while at < 150.0:
        answered = seen.result.between(timeline.answered, at, at + 10.0)
        offered = seen.result.between(timeline.offered, at, at + 10.0)
        if answered >= 0.95 * offered:
            return at
        at += 1.0
    return inf
