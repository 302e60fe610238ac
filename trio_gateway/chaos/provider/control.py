"""The control endpoint of simulated providers: faults and the log, by HTTP and JSON.

    POST   /control/faults     {"faults": ["status=503,rate=30%"],
                                "preset": "flap", "for": "30s"}; all may be left out
    GET    /control/faults     what reigns now, by provider
    DELETE /control/faults     back to what each provider started with
    GET    /control/requests   what each provider saw; never a prompt nor a key
    DELETE /control/requests   forget it

On a provider's own port it is about that provider; on a port of its own it is about all
of them, or about one with `?provider=NAME`. Times in answers are seconds ago or from
now, because nobody else knows the clock they are taken from.
"""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from math import inf
from typing import Final, Protocol
from urllib.parse import parse_qs, urlsplit

import trio

from trio_gateway.chaos.provider.http1 import HttpRequest
from trio_gateway.chaos.provider.seen import RequestEnding, SeenRequest
from trio_gateway.chaos.provider.sky import Sky
from trio_gateway.chaos.provider.turns import AT_ONCE, Turn
from trio_gateway.chaos.vocabulary.answers import as_json, plain_script
from trio_gateway.chaos.vocabulary.errors import http_error_script
from trio_gateway.chaos.vocabulary.faults import Fault, parse_fault
from trio_gateway.chaos.vocabulary.script import Script
from trio_gateway.chaos.vocabulary.values import one_of, seconds_of
from trio_gateway.chaos.worlds.presets import PRESETS

ROOT: Final = "/control/"
_FAULTS: Final = "/control/faults"
_REQUESTS: Final = "/control/requests"
_KNOWN: Final = ("faults", "preset", "for")


class Controlled(Protocol):
    """A provider as far as its control goes."""

    sky: Sky | None

    seen: deque[SeenRequest]

    def forget(self) -> None:
        """Empty the log."""

    def weather_changed(self) -> None:
        """Let a weather that was told to its sky meet what is under way."""


class Control:
    """Answers for some providers, by name. A `Desk` for a port of its own."""

    def __init__(
        self, providers: Mapping[str, Controlled], *, only_near: bool = True
    ) -> None:
        self._providers = providers
        self._only_near = only_near

    def begin(
        self, request: HttpRequest, *, is_near: bool
    ) -> tuple[SeenRequest, Script, Turn]:
        """Take a request; it is in nobody's log."""
        seen = SeenRequest(
            number=0,
            method=request.method,
            path=request.path,
            has_key=request.has_key,
            body=None,
            started_at=trio.current_time(),
            is_control=True,
        )
        return seen, self.answer(request, is_near=is_near), AT_ONCE

    def end(self, seen: SeenRequest, ending: RequestEnding) -> None:
        """Take note of nothing."""

    def answer(self, request: HttpRequest, *, is_near: bool) -> Script:
        """Do what a request asks for, and say so."""
        if self._only_near and not is_near:
            return http_error_script(403, "Control is for clients on the same machine.")
        try:
            address = urlsplit(request.path)
            chosen = self._chosen(parse_qs(address.query))
            return self._do(request, address.path, chosen)
        except ValueError as error:
            return http_error_script(400, str(error))

    def _do(
        self, request: HttpRequest, path: str, chosen: Mapping[str, Controlled]
    ) -> Script:
        match path, request.method:
            case "/control/faults", "GET":
                pass
            case "/control/faults", "POST":
                _tell(chosen, request.body)
            case "/control/faults", "DELETE":
                for sky in _skies(chosen).values():
                    sky.restore()
                _let_it_begin(chosen)
            case "/control/requests", "GET":
                return _said({"requests": _log(chosen)})
            case "/control/requests", "DELETE":
                for provider in chosen.values():
                    provider.forget()
                return _said({"requests": []})
            case _:
                is_known = path in (_FAULTS, _REQUESTS)
                return http_error_script(405 if is_known else 404)
        return _said({"providers": _reigning(chosen)})

    def _chosen(self, query: Mapping[str, Sequence[str]]) -> Mapping[str, Controlled]:
        names = query.get("provider", self._providers)
        return {
            one_of(name, self._providers, what="provider"): self._providers[name]
            for name in names
        }


def _skies(chosen: Mapping[str, Controlled]) -> Mapping[str, Sky]:
    """Leave out those whose behaviour is a program's, not a weather's."""
    return {name: one.sky for name, one in chosen.items() if one.sky is not None}


def _tell(chosen: Mapping[str, Controlled], body: bytes) -> None:
    """Change faults as a JSON text says, for all or for none."""
    faults, preset, lasts_s = _read(body)
    now = trio.current_time()
    for sky in _skies(chosen).values():
        sky.tell(faults, preset=preset, lasts_s=lasts_s, now=now)
    _let_it_begin(chosen)


def _let_it_begin(chosen: Mapping[str, Controlled]) -> None:
    for provider in chosen.values():
        provider.weather_changed()


def _read(body: bytes) -> tuple[tuple[Fault, ...], str | None, float]:
    example = 'such as {"faults": ["status=503,rate=30%"], "for": "30s"}'
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise ValueError(f"this is no JSON object, {example}")  # noqa: TRY004 - it is the text that is wrong
    for key in said:
        one_of(key, _KNOWN, what="key")
    texts, preset, lasts = (said.get(key) for key in _KNOWN)
    texts = [] if texts is None else texts
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise ValueError(f"faults must be a list of texts, {example}")
    if preset is not None:
        one_of(str(preset), PRESETS, what="preset")
    lasts_s = inf if lasts is None else seconds_of("for", str(lasts))
    return tuple(map(parse_fault, texts)), preset, lasts_s


def _reigning(chosen: Mapping[str, Controlled]) -> dict[str, object]:
    now = trio.current_time()
    found: dict[str, object] = {}
    for name, sky in _skies(chosen).items():
        reign = sky.reign(now)
        found[name] = {
            "faults": [fault.text for fault in reign.weather.faults],
            "preset": reign.preset,
            "ends_in_s": None if reign.ends_at == inf else reign.ends_at - now,
        }
    return found


def _log(chosen: Mapping[str, Controlled]) -> list[dict[str, object]]:
    now = trio.current_time()
    return [
        {
            "provider": name,
            "number": seen.number,
            "method": seen.method,
            "path": seen.path.partition("?")[0],  # some put keys behind it
            "model": seen.model,
            "has_key": seen.has_key,
            "status": seen.status,
            "ending": seen.ending.value if seen.ending else None,
            "bytes": seen.bytes_sent,
            "started_ago_s": round(now - seen.started_at, 6),
            "took_s": round(_took_s(seen, now), 6),
        }
        for name, provider in chosen.items()
        for seen in provider.seen
    ]


def _took_s(seen: SeenRequest, now: float) -> float:
    ended_at = now if seen.ended_at is None else seen.ended_at
    return ended_at - seen.started_at


def _said(value: object) -> Script:
    return plain_script(as_json(value))
