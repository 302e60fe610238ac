"""Whether the same target is asked again, and when: tenacity's strategies, our clock.

tenacity supplies the vocabulary (retry, wait, stop, and their composition); its loop
and its clock stay out, because the engine decides and never sleeps. Nothing here runs
before an attempt has failed, so a good request does not pay for it.

    failed -> retry?  is it a class that may pass by itself
           -> wait    backoff with jitter, or the target's own hint if that is later
           -> stop?   tries used up, hint too long, or no time left for an attempt
"""

from dataclasses import dataclass
from random import Random
from typing import Final

import tenacity
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from trio_gateway.failover.classify import Verdict, meaning_of, pause_s
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import Jitter, RetryRules

# After a throttle the first backoff is four times as long (250 ms -> 1 s), as in the
# AWS SDKs' standard mode of 2026.
_THROTTLED_FACTOR: Final = 4.0
# Waiters who were told the same hint must not come back in the same instant.
_HINT_JITTER: Final = (1.0, 1.5)

_THROTTLES: Final = frozenset({FailureClass.RATE_LIMIT, FailureClass.OVERLOADED})


def _failure(state: tenacity.RetryCallState) -> Failure:
    assert state.outcome is not None
    failure = state.outcome.result()
    assert isinstance(failure, Failure)
    return failure


class wait_backoff(wait_base):  # noqa: N801 - tenacity's strategies are named so
    """Wait `U(0, min(max, initial * 2^(n-1)))` before retry n; full jitter by default.

    Source: "Exponential Backoff And Jitter" (AWS Architecture Blog): full jitter does
    the least work for the same completion time.
    """

    def __init__(self, rules: RetryRules, random: Random) -> None:
        self._rules = rules
        self._random = random

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        """The backoff in seconds."""
        rules = self._rules
        initial_s = rules.backoff_initial_s
        if _failure(retry_state).kind in _THROTTLES:
            initial_s *= _THROTTLED_FACTOR
        doublings = min(retry_state.attempt_number - 1, 32)
        most_s = min(rules.backoff_max_s, initial_s * 2.0**doublings)
        match rules.jitter:
            case Jitter.FULL:
                return self._random.uniform(0.0, most_s)
            case Jitter.EQUAL:
                return self._random.uniform(most_s / 2, most_s)
            case Jitter.NONE:
                return most_s


class wait_retry_after(wait_base):  # noqa: N801 - tenacity's strategies are named so
    """Wait as the target asked, or as the other strategy says if that is longer."""

    def __init__(self, otherwise: wait_base, *, cap_s: float, random: Random) -> None:
        self._otherwise = otherwise
        self._cap_s = cap_s
        self._random = random

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        """The wait in seconds, jittered upwards only."""
        backoff_s = self._otherwise(retry_state)
        hint_s = pause_s(_failure(retry_state), cap_s=self._cap_s)
        if hint_s is None:
            return backoff_s
        return max(backoff_s, hint_s * self._random.uniform(*_HINT_JITTER))


class stop_on_long_hint(stop_base):  # noqa: N801 - tenacity's strategies are named so
    """Stop where the target wants to be left alone for longer than we would wait."""

    def __init__(self, *, wait_max_s: float, cap_s: float) -> None:
        self._wait_max_s = wait_max_s
        self._cap_s = cap_s

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        """Whether the hint is too long."""
        hint_s = pause_s(_failure(retry_state), cap_s=self._cap_s)
        return hint_s is not None and hint_s > self._wait_max_s


class stop_before_deadline(stop_base):  # noqa: N801 - tenacity's strategies are named so
    """Stop where the wait would leave less than `useful_s` before the deadline.

    tenacity's own `stop_after_delay` asks the machine's clock and looks back; this one
    asks the engine's and looks ahead.
    """

    def __init__(self, by: float, *, useful_s: float) -> None:
        self._by = by
        self._useful_s = useful_s

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        """Whether it is too late."""
        assert retry_state.outcome_timestamp is not None
        starts_at = retry_state.outcome_timestamp + retry_state.upcoming_sleep
        return starts_at + self._useful_s > self._by


def _may_pass(result: object) -> bool:
    assert isinstance(result, Failure)
    return meaning_of(result).verdict is Verdict.RETRY


@dataclass(frozen=True, slots=True)
class SameTarget:
    """The retry rules of one target in one exchange."""

    rules: RetryRules
    retries_max: int
    precommit_by: float
    useful_s: float
    random: Random

    def wait_s(self, failure: Failure, *, tries: int, now: float) -> float | None:
        """How long to wait before trying this target again; None: do not.

        `tries` counts this target's attempts so far, the failed one included.
        """
        rules = self.rules
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_result(_may_pass),
            wait=wait_retry_after(
                wait_backoff(rules, self.random),
                cap_s=rules.hint_cap_s,
                random=self.random,
            ),
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(self.retries_max + 1),
                stop_on_long_hint(
                    wait_max_s=rules.hint_wait_max_s, cap_s=rules.hint_cap_s
                ),
                stop_before_deadline(self.precommit_by, useful_s=self.useful_s),
            ),
        )
        state = tenacity.RetryCallState(retrying, None, (), {})
        state.attempt_number = tries
        state.outcome = tenacity.Future.construct(tries, failure, has_exception=False)
        state.outcome_timestamp = now
        if not retrying.retry(state):
            return None
        state.upcoming_sleep = retrying.wait(state)
        return None if retrying.stop(state) else state.upcoming_sleep
