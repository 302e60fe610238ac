"""The operators' page of targets: how each one is, and what to do with it.

The fleet speaks of instants on the engine's clock; here they become dates, by the
distance of that clock to the wall's at the moment of looking.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import trio
from quart import Blueprint, Response, request

from trio_gateway.failover.cooldown import Disabled
from trio_gateway.failover.view import (
    BreakerView,
    Load,
    RouteView,
    SpeedView,
    TargetView,
    describe_target,
    targets_of,
)
from trio_gateway.policy.route import Policy, Target
from trio_gateway.telemetry.log import event_line, iso
from trio_gateway.web import answers
from trio_gateway.web.answers import RefusedError
from trio_gateway.web.gateway import Gateway
from trio_gateway.web.nearest import near_to
from trio_gateway.web.page import page_response
from trio_gateway.wire.headers import header

# An action is a few bytes; an operator's tool sends them at once.
_BODY_S: Final = 5.0


class Action(StrEnum):
    """What an operator may do with a target."""

    DRAIN = "drain"  # nothing new is sent there; what was sent goes on to its end
    DISABLE = "disable"  # nor does anybody wait any longer for a first token there
    ENABLE = "enable"  # back into use, whoever took it out


_REASONS: Final = {Action.DRAIN: Disabled.DRAINED, Action.DISABLE: Disabled.OPERATOR}


def operators_targets(gateway: Gateway) -> Blueprint:
    """Return the views of `/admin/targets`."""
    views = Blueprint("targets", __name__)

    @views.get("/admin/targets")
    async def every() -> Response:
        view, dates = await gateway.view(), Dates.now(gateway)
        return await page_response(
            {
                "targets": [dates.of_target(target) for target in view.targets],
                "models": [_route(route) for route in view.routes],
            },
            depth=3,
        )

    @views.get("/admin/targets/<path:target_id>")
    async def one(target_id: str) -> Response:
        return await _shown(gateway, found(gateway.policy, target_id))

    @views.post("/admin/targets/<path:target_id>")
    async def act(target_id: str) -> Response:
        target = found(gateway.policy, target_id)
        action = action_of(await body())
        act_on(gateway, target, action)
        gateway.write(changed_line(target, action, at=gateway.relay.wall_clock()))
        return await _shown(gateway, target)

    return views


def act_on(gateway: Gateway, target: Target, action: Action) -> None:
    """Do with a target of the gateway's what an operator wants done."""
    fleet, now = gateway.relay.fleet, trio.current_time()
    if action is Action.ENABLE:
        fleet.enable(target, now)
    else:
        fleet.disable(target, _REASONS[action], now)
    gateway.relay.deliver_calls()


def changed_line(target: Target, action: Action, *, at: float) -> str:
    """Tell the log of it."""
    event = "target_changed_by_operator"
    return event_line(event, at=at, target=target.id, action=action)


def found(policy: Policy, target_id: str) -> Target:
    """The target of a policy that a request names.

    Raises:
        RefusedError: There is none.
    """
    targets = targets_of(policy.routes.values())
    if target_id not in targets:
        near = near_to(answers.shortened(target_id), targets)
        raise RefusedError(answers.unknown_target(target_id, near))
    return targets[target_id]


async def body() -> bytes:
    """The body of a request, which another site's page could not send unasked.

    Raises:
        RefusedError: It says that it is something else than JSON, or does not come.
    """
    content_type = header(request.scope["headers"], b"content-type") or b""
    if content_type.partition(b";")[0].strip().lower() != b"application/json":
        raise RefusedError(answers.unsupported_media_type())
    with trio.move_on_after(_BODY_S):
        data = await request.get_data(as_text=False)
        assert isinstance(data, bytes)
        return data
    raise RefusedError(answers.body_too_slow())


def action_of(data: bytes) -> Action:
    """What a body asks for.

    Raises:
        RefusedError: It asks for nothing that there is.
    """
    try:
        wanted = json.loads(data)
    except (ValueError, RecursionError):
        raise RefusedError(answers.wrong_value({"error": "Invalid JSON"})) from None
    said = wanted.get("action") if isinstance(wanted, dict) else None
    if said not in list(Action):
        why = f"must be one of {', '.join(Action)}"
        raise RefusedError(answers.wrong_value({"action": why}))
    return Action(said)


async def _shown(gateway: Gateway, target: Target) -> Response:
    routes = gateway.policy.routes.values()
    now = trio.current_time()
    view = describe_target(gateway.relay.fleet, routes, target.id, now)
    assert view is not None, "it was found in these routes"
    return await page_response(Dates.now(gateway).of_target(view), depth=2)


@dataclass(frozen=True, slots=True)
class Dates:
    """How far the wall's clock is ahead of the engine's."""

    ahead_s: float

    @classmethod
    def now(cls, gateway: Gateway) -> "Dates":
        """Compare the two clocks."""
        return cls(gateway.relay.wall_clock() - trio.current_time())

    def of_target(self, target: TargetView) -> dict[str, object]:
        """A target as JSON."""
        standing = target.standing
        cooldown = {
            "until": self._date(target.cooldown_until),
            "waiting": target.cooldown_waiters,
        }
        return {
            "id": target.id,
            "models": target.models,
            "state": standing.state,
            "why": standing.why,
            "since": self._date(standing.since),
            "until": self._date(standing.until),
            "breaker": self._of_breaker(target.breaker),
            "cooldown": None if target.cooldown_until is None else cooldown,
            **_load(target.load),
            "waiting": target.waiting,
            "provider": {"name": target.account, **_load(target.account_load)},
            "budget_tokens": target.tokens,
            "passed_over": {why.value: count for why, count in target.passed_over},
            "speeds": [_speed(speed) for speed in target.speeds],
        }

    def _of_breaker(self, breaker: BreakerView) -> dict[str, object]:
        return {
            "state": breaker.state,
            "since": self._date(breaker.since),
            "until": self._date(breaker.until),
            "last_cause": breaker.cause or None,
            "trips": breaker.trips,
            "share": _rounded(breaker.share),
        }

    def _date(self, at: float | None) -> str | None:
        return None if at is None else iso(at + self.ahead_s)


def _load(load: Load) -> dict[str, object]:
    limit = None if load.limit is None else int(load.limit)
    return {"in_flight": load.in_flight, "limit": limit}


def _speed(speed: SpeedView) -> dict[str, object]:
    return {
        "until": "whole answer" if speed.is_whole else "first token",
        "prompt_tokens": speed.prompt,
        "samples": speed.samples,
        "p50_ms": _ms(speed.p50_s),
        "p95_ms": _ms(speed.p95_s),
        "p99_ms": _ms(speed.p99_s),
        "limits": [
            {
                "models": limits.models,
                "soft_ms": _ms(limits.soft_s),
                "hard_ms": _ms(limits.hard_s),
            }
            for limits in speed.limits
        ],
    }


def _route(route: RouteView) -> dict[str, object]:
    return {
        "model": route.slug,
        "in_flight": route.in_flight,
        "budgets": {
            "retry": _budget(route.retries_left, route.retries_denied),
            "extra": _budget(route.extras_left, route.extras_denied),
            "last_resort": {"in_flight": route.panic_live, "limit": route.panic_limit},
        },
    }


def _budget(left: float, denied: int) -> dict[str, object]:
    return {"left": _rounded(left), "denied": denied}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _rounded(value: float) -> float:
    return round(value, 2)
