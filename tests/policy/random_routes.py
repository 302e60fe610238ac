"""Routes that nobody would write, and some that somebody does: from a seed."""

from random import Random

from tests.factories import TIMEOUTS, a_route, an_account
from trio_gateway.failover.failures import FailureClass
from trio_gateway.policy.route import (
    FAILURES_THAT_MOVE,
    BreakerRules,
    CommitMode,
    CommitPoint,
    FallbackOn,
    Hedge,
    Jitter,
    OnHint,
    Patience,
    Queue,
    RetryRules,
    Route,
    Target,
    Timeouts,
)


def random_route(seed: object) -> Route:
    """A valid route; one in three is close to the defaults."""
    dice = Random(f"route/{seed}")
    is_plain = dice.random() < 0.3
    timeouts = TIMEOUTS if is_plain else _timeouts(dice)
    targets = [
        _target(f"t{number}", timeouts, dice)
        for number in range(dice.choice((1, 2, 2, 3, 3, 4)))
    ]
    chain = [
        _target(f"c{number}", timeouts, dice)
        for number in range(dice.choice((0, 0, 0, 1, 2)))
    ]
    return a_route(
        targets,
        chain=chain,
        attempts_max=dice.choice((1, 2, 3, 3, 4, 5)),
        same_target=dice.choice((None, None, 0, 1, 2)),
        timeouts=timeouts,
        retry=_retry(dice),
        fallback_on=_movers(dice),
        commit=dice.choice(
            (
                CommitPoint(),
                CommitPoint(CommitMode.TOKENS, 20),
                CommitPoint(CommitMode.COMPLETE),
            )
        ),
        is_overlap_on=dice.random() < 0.6,
        hedge=dice.choice((None, None, Hedge(0.95, 0.25, 0.05))),
        max_cost_multiplier=dice.choice((1.0, 1.5, 2.0, 2.0, 3.0)),
        queue=Queue(dice.choice((10, 1000)), dice.choice((0.3, 2.0, 10.0))),
    )


def _target(name: str, above: Timeouts, dice: Random) -> Target:
    return Target(
        id=f"{name}/m",
        account=an_account(name),
        model="m",
        timeouts=above if dice.random() < 0.8 else _limits(above, dice),
        breaker=BreakerRules(
            consecutive=dice.choice((1, 2, 5, 5, 20)),
            share=0.5,
            window_s=10.0,
            min_samples=10,
            open_base_s=5.0,
            open_max_s=30.0,
        ),
        max_concurrency=dice.choice((None, None, 1, 50)),
    )


def _timeouts(dice: Random) -> Timeouts:
    total_s = dice.choice((60.0, 300.0, 600.0))
    precommit_s = min(total_s, dice.choice((0.6, 5.0, 20.0, 45.0, 60.0, 150.0)))
    is_strict = dice.random() < 0.4
    return Timeouts(
        connect_s=dice.choice((0.5, 2.0, 10.0)),
        first_token=_patience(precommit_s, dice, is_strict=is_strict),
        answer=_patience(total_s, dice, is_strict=is_strict),
        idle_s=30.0,
        precommit_s=precommit_s,
        total_s=total_s,
        client_stall_s=30.0,
    )


def _limits(above: Timeouts, dice: Random) -> Timeouts:
    """A target's own."""
    return Timeouts(
        connect_s=above.connect_s,
        first_token=_patience(above.precommit_s, dice, is_strict=True),
        answer=_patience(above.total_s, dice, is_strict=True),
        idle_s=above.idle_s,
        precommit_s=above.precommit_s,
        total_s=above.total_s,
        client_stall_s=above.client_stall_s,
    )


def _patience(most_s: float, dice: Random, *, is_strict: bool) -> Patience:
    hard_s = most_s * dice.uniform(0.02, 1.0)
    return Patience(
        soft_s=hard_s * dice.uniform(0.2, 1.0),
        hard_s=hard_s,
        is_soft_written=dice.random() < 0.5,
        is_hard_written=is_strict or dice.random() < 0.5,
    )


def _retry(dice: Random) -> RetryRules:
    initial_s = dice.choice((0.05, 0.25, 1.0))
    return RetryRules(
        backoff_initial_s=initial_s,
        backoff_max_s=dice.choice((1.0, 8.0)),
        jitter=dice.choice(tuple(Jitter)),
        on_hint=dice.choice((OnHint.FALLBACK, OnHint.FALLBACK, OnHint.WAIT)),
        hint_wait_max_s=dice.choice((0.5, 5.0, 30.0)),
        hint_cap_s=dice.choice((1.0, 60.0, 300.0)),
    )


def _movers(dice: Random) -> FallbackOn:
    if dice.random() < 0.7:
        return FallbackOn(FAILURES_THAT_MOVE)
    few = (FailureClass.CONNECT, FailureClass.SERVER_ERROR, FailureClass.TIMEOUT)
    return dice.choice(
        (
            FallbackOn(frozenset(few)),
            FallbackOn(frozenset(), frozenset({500, 503})),
            FallbackOn(frozenset()),
        )
    )
