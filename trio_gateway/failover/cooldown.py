"""Being told to stay away: until when a target asked for rest, and what is out of use.

A cooldown is not an ejection. An ejected target does not work, as several failures
showed; it may be tried as a last resort. A target in cooldown works and has said when
to come back; asking earlier is never right. So the two are separate facts with
separate memories.

    hint 3 s      hint 1 s (shorter: ignored)        no hint       no hint again
       |----------------|--------|                     |-- 5 s --|   |---- 10 s ----|
       t               t+2      t+3 = until                         doubling to 60 s

*Merging.* `until` is the latest of all hints: requests that were on their way when the
first came bring their own, older and shorter (keeping one of those is LiteLLM's bug
#40130). *Waking.* Those who wait in line resume at `until` plus up to half of what was
left, each at another instant: never early, never all at once (Envoy's rate-limited
reset backoff spreads by the same U(1, 1.5)).

A disablement is a third fact: a credential, a model or a target that is out of use
until something outside changes. When several credentials are refused together, though,
it is the vendor who cannot tell good from bad: `AuthWatch` tells the two apart.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum
from math import inf
from typing import Final

# A target that never says when is asked at most this seldom: a client's patience.
UNHINTED_MAX_S: Final = 60.0
# So much success without a throttle, and the next one counts as the first.
FORGIVEN_AFTER_S: Final = 60.0
# More in line would only come back together to be throttled together.
WAITERS_MAX: Final = 32
# How much later than `until` a waiter may resume, as a share of what was left.
RESUME_SPREAD: Final = 0.5

# 2^10 times any default is past the maximum.
_DOUBLINGS_MAX: Final = 10


class Cooldown:
    """When a credential's model may be asked again, in its own words.

    A clock that steps back to before the last hint ends the cooldown; it never makes
    one longer than its cap.
    """

    __slots__ = ("_doublings", "_since", "_well_since", "until", "waiters")

    def __init__(self) -> None:
        self.until = -inf
        """When the last cooldown ends or ended; -inf: there was none."""
        self.waiters = 0
        """How many wait in line for its end."""
        self._since = inf
        self._doublings: int | None = None  # of the default, once it was used
        self._well_since: float | None = None

    def is_active(self, now: float) -> bool:
        """Whether nothing may be sent, not even as a last resort."""
        return self._since <= now < self.until

    def since(self, now: float) -> float | None:
        """When it last told us to stay away; None where no cooldown holds."""
        return self._since if self.is_active(now) else None

    def left_s(self, now: float) -> float:
        """The seconds until it may be asked again; 0 where it may."""
        return self.until - now if self.is_active(now) else 0.0

    def hint(
        self, now: float, d_s: float | None, *, default_s: float, cap_s: float
    ) -> None:
        """It throttled us, and asks to come back after `d_s` (None: it did not say).

        What is no duration (negative, infinite, NaN) is no hint. Above `cap_s` means
        "not soon", and is asked again after the cap.
        """
        was_active = self.is_active(now)
        if d_s is None or not 0.0 <= d_s < inf:
            d_s = self._unhinted_s(now, default_s, is_repeated=not was_active)
        self._well_since = None
        until = now + min(d_s, cap_s)
        self.until = max(self.until, until) if was_active else until
        self._since = now

    def succeeded(self, now: float) -> None:
        """It answered well: it is not, or no longer, throttled."""
        if self._well_since is None:
            self._well_since = now

    def join(self) -> bool:
        """Wait in line for the end; False: too many do already."""
        if self.waiters >= WAITERS_MAX:
            return False
        self.waiters += 1
        return True

    def leave(self) -> None:
        """Stop waiting, for whatever reason; once for each `join` that was granted."""
        assert self.waiters > 0, "nobody waits"
        self.waiters -= 1

    def resume_at(self, now: float, u: float) -> float:
        """When one who waits should try, given its own uniform draw from [0, 1)."""
        if not self.is_active(now):
            return now
        # Added to `until`, so that no rounding makes it early.
        return self.until + RESUME_SPREAD * u * (self.until - now)

    def _unhinted_s(self, now: float, default_s: float, *, is_repeated: bool) -> float:
        """The default, doubled for each cooldown in a row.

        Throttles during one cooldown are one: they answer what was sent before it.
        """
        well_since = self._well_since
        is_forgiven = well_since is not None and now - well_since >= FORGIVEN_AFTER_S
        if is_forgiven or self._doublings is None:
            self._doublings = 0
        elif is_repeated:
            self._doublings = min(self._doublings + 1, _DOUBLINGS_MAX)
        return min(UNHINTED_MAX_S, default_s * 2.0**self._doublings)


class Disabled(StrEnum):
    """Why something is out of use."""

    AUTH = "auth"  # the credential was refused
    QUOTA = "quota"  # no money or allowance left
    MISCONFIGURED = "misconfigured"  # no such model or deployment there
    OPERATOR = "operator"  # an operator said so
    DRAINED = "drained"  # an operator is emptying it


# How long without other word. A refused key is rarely mended sooner, and each try of it
# costs a client a failover; a deployment is made in minutes; money comes by the hour.
DISABLED_FOR_S: Final = {
    Disabled.AUTH: 600.0,
    Disabled.QUOTA: 3600.0,
    Disabled.MISCONFIGURED: 300.0,
    Disabled.OPERATOR: inf,
    Disabled.DRAINED: inf,
}


@dataclass(frozen=True, slots=True)
class Disablement:
    """Something is out of use: why, since when, until when."""

    reason: Disabled
    since: float
    until: float | None  # None: until an operator enables it

    @classmethod
    def begin(
        cls, reason: Disabled, now: float, *, until: float | None = None
    ) -> "Disablement":
        """Disable until the instant that is known, else as long as is usual."""
        if until is None:
            usual_s = DISABLED_FOR_S[reason]
            until = None if usual_s == inf else now + usual_s
        return cls(reason, now, until)

    def is_active(self, now: float) -> bool:
        """Whether it still holds; a clock before its beginning ends a timed one."""
        return self.until is None or self.since <= now < self.until

    def or_later(self, other: "Disablement | None") -> "Disablement":
        """The one of two that holds longer; itself on a tie.

        News of a refused key must not end what an operator has disabled.
        """
        if other is None or self.until is None:
            return self
        return other if other.until is None or other.until > self.until else self


# Keys do not die together. Longer apart, two refusals may be two mistakes.
AUTH_TOGETHER_S: Final = 60.0


class AuthVerdict(Enum):
    """What a refused credential means."""

    DISABLE_KEY = "disable_key"  # this credential is dead
    OUTAGE = "outage"  # the vendor's login is down: a failure like any other, probed


class AuthWatch:
    """Whether refused credentials of one vendor are dead keys or its outage.

        one of several refused                      -> a dead key
        another of them refused within 60 s as well -> outage, for all of them
        the only one, which has worked              -> outage
        the only one, which never worked            -> a dead key

    Source: an incident of April 2026, 78 minutes of authentication errors for keys
    that were good. On `OUTAGE`, whoever disabled other keys of the vendor for the same
    reason enables them again. Memory is one instant for each key.
    """

    __slots__ = ("_refused_at", "_worked", "keys")

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self.keys = set(keys)  # those that are known; others are met later
        self._worked: set[str] = set()
        self._refused_at: dict[str, float] = {}

    def keep(self, keys: Collection[str]) -> None:
        """Forget all other credentials; those that are replaced are among them."""
        self.keys.intersection_update(keys)
        self._worked.intersection_update(keys)
        for gone in self._refused_at.keys() - set(keys):
            del self._refused_at[gone]

    def succeeded(self, key: str) -> None:
        """This credential was accepted."""
        if key in self._worked and not self._refused_at:
            return  # as is known
        self.keys.add(key)
        self._worked.add(key)
        self._refused_at.pop(key, None)

    def refused(self, key: str, now: float) -> AuthVerdict:
        """This credential was refused."""
        self.keys.add(key)
        self._refused_at[key] = now
        if len(self.keys) == 1:
            is_outage = key in self._worked
        else:
            # Instants of the future are from before the clock stepped back.
            is_outage = any(
                0.0 <= now - at <= AUTH_TOGETHER_S
                for other, at in self._refused_at.items()
                if other != key
            )
        return AuthVerdict.OUTAGE if is_outage else AuthVerdict.DISABLE_KEY
