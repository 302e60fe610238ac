"""Whom to turn away at the door, because this process itself has too much to do.

No target is known here. The shedder looks at how late the event loop is. Two seconds in
a row in which more than a quarter of the wake-ups came over 100 ms late, and a fifth of
the requests is turned away; each further such second a fifth more, and back by a fifth
for every five calm ones. (The shape is that of DAGOR, "Overload Control for Scaling
WeChat", 2018.)
"""

from typing import Final

# Later than this and tokens stutter for everybody, deadlines are missed, and the fault
# is ours alone.
_LATE_S: Final = 0.1
# Between calm and late nothing changes: on the edge a share would swing up and down.
_CALM_S: Final = 0.05
# The share of wake-ups that may be late. An overloaded loop is late nearly always; one
# that is now and then not given the CPU catches up by itself, and whoever is turned
# away for that would have been served.
_LATE_SHARE: Final = 0.25
# A calm second has none that is uneasy, or as few as a p99 leaves out.
_UNEASY_SHARE: Final = 0.01
# How long one judgement takes.
_WINDOW_S: Final = 1.0
# A fifth of the load is felt at once, and four steps of it are taken back within 20 s,
# so that shedding does not outlive its cause. One in five always gets in: even a share
# that is wrong must not be an outage.
_STEP: Final = 0.2
_STEPS_MAX: Final = 4
# Backwards slowly, for the load that was turned away comes again.
_CALM_WINDOWS: Final = 5


class LagShedder:
    """Which share of new requests to turn away, because the event loop is late."""

    __slots__ = (
        "_calm_windows",
        "_late",
        "_notes",
        "_uneasy",
        "_until",
        "_was_late",
        "steps",
    )

    def __init__(self, now: float) -> None:
        self._until = now + _WINDOW_S
        self._notes = self._late = self._uneasy = 0
        self._was_late = False
        self._calm_windows = 0
        self.steps = 0
        """How many fifths of the load are turned away: 0 to 4."""

    @property
    def share(self) -> float:
        """How much of the load is turned away: 0 to 0.8."""
        return self.steps * _STEP

    def should_shed(self, draw: float) -> bool:
        """Whether to turn this request away; the draw is uniform in [0, 1)."""
        return draw < self.steps * _STEP

    def note(self, lag_s: float, now: float) -> None:
        """A task that slept woke up so late. Note it several times a second."""
        self._notes += 1
        self._late += lag_s > _LATE_S
        self._uneasy += lag_s > _CALM_S
        if now >= self._until:
            # Who slept through a whole window was late in all of it.
            self._judge(has_slept_through=lag_s >= _WINDOW_S)
            self._until = now + _WINDOW_S

    def _judge(self, *, has_slept_through: bool) -> None:
        is_late = self._late > _LATE_SHARE * self._notes
        is_calm = self._uneasy <= _UNEASY_SHARE * self._notes
        self._calm_windows = self._calm_windows + 1 if is_calm else 0
        if is_late and (self._was_late or has_slept_through):
            # One late second alone may be a garbage collection.
            self.steps = min(self.steps + 1, _STEPS_MAX)
        elif self._calm_windows == _CALM_WINDOWS:
            self.steps = max(self.steps - 1, 0)
            self._calm_windows = 0
        self._was_late = is_late
        self._notes = self._late = self._uneasy = 0


# Spread, so that they do not come back together.
_RETRY_AFTER_S: Final = (1.0, 3.0)


def retry_after_s(draw: float, *, steps: int = 0) -> float:
    """When one who is turned away at the door may come back.

    Args:
        draw: uniform in [0, 1).
        steps: how many fifths of the load are turned away; the more, the later.
    """
    least_s, most_s = _RETRY_AFTER_S
    return (least_s + draw * (most_s - least_s)) * (1 + steps)
