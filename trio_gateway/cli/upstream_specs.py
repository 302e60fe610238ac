"""The providers that `trio-gateway upstream` is asked for, read from its options."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from trio_gateway.chaos.provider.seen import SeenRequest
from trio_gateway.chaos.provider.server import House, Room, SimulatedProvider
from trio_gateway.chaos.vocabulary.answers import Dialect, Pace
from trio_gateway.chaos.vocabulary.climate import Day
from trio_gateway.chaos.vocabulary.faults import Fault, parse_fault
from trio_gateway.chaos.vocabulary.values import count_of, one_of, seconds_of
from trio_gateway.chaos.worlds.presets import PRESETS, Preset
from trio_gateway.chaos.worlds.spread import FIRST_TOKENS
from trio_gateway.chaos.worlds.weather import Weather
from trio_gateway.chaos.worlds.world import Capacity

# One process has one core; more providers than this are another tool's business.
PROVIDERS_MAX: Final = 32

PORT_MAX: Final = 65_535


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """One provider as asked for."""

    name: str = "upstream"
    port: int = 9001
    dialect: Dialect = Dialect.OPENAI
    has_tls: bool = False
    preset: str | None = None
    domain: str | None = None
    tokens: int | None = None  # None: the preset's, or 24
    gap_s: float | None = None  # None: the preset's, or 20 ms
    first_token: str | None = None  # a model whose times it has
    block_tokens: int = 1
    day: Day | None = None
    slots: int | None = None
    line_max: int | None = None
    notices_departures: bool = True
    needs_key: bool = False
    faults: tuple[Fault, ...] = field(default=())

    def provider(
        self,
        *,
        seed: int,
        speed: float,
        on_request: Callable[[SeenRequest], None],
    ) -> SimulatedProvider:
        """Make it.

        Raises:
            ValueError: its faults cannot be together.
        """
        ready = PRESETS[self.preset] if self.preset else Preset("as it is")
        pace = ready.pace or Pace(tokens=24, gap_s=0.02)
        spread = ready.first_token
        if self.first_token is not None:
            spread = FIRST_TOKENS[self.first_token]
        weather = Weather(
            provider=self.name,
            faults=(*ready.faults, *self.faults),
            pace=replace(
                pace,
                tokens=pace.tokens if self.tokens is None else self.tokens,
                gap_s=pace.gap_s if self.gap_s is None else self.gap_s,
                block_tokens=self.block_tokens,
            ),
            dialect=self.dialect,
            domain=self.domain,
            first_token=spread,
            day=self.day,
        )
        capacity = ready.capacity
        if self.slots is not None:
            capacity = Capacity(self.slots, self.line_max, self.notices_departures)
        house = House(
            dialect=self.dialect,
            needs_key=self.needs_key,
            room=None if capacity is None else Room(capacity, ready.shrinks),
            speed=speed,
        )
        return SimulatedProvider.in_weather(
            weather, seed=seed, house=house, preset=self.preset, on_request=on_request
        )


def read_providers(
    texts: Sequence[str], faults: Sequence[str], usual: ProviderSpec
) -> tuple[ProviderSpec, ...]:
    """Read `--provider` and `--fault`; without the former, there is the usual one.

    A fault may be for one provider: `openai:status=503`; else it is for all of them.

    Raises:
        ValueError: with what to write instead.
    """
    specs = [_read(text, usual) for text in texts] or [usual]
    names = [spec.name for spec in specs]
    if len(specs) > PROVIDERS_MAX:
        raise ValueError(f"{len(specs)} providers: {PROVIDERS_MAX} at most")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two providers are called {name}")
    by_name: dict[str, list[Fault]] = {name: [] for name in names}
    for text in faults:
        match = _ADDRESSED.match(text)
        named = [one_of(match[1], names, what="provider")] if match else names
        fault = parse_fault(text[match.end() :] if match else text)
        for name in named:
            by_name[name].append(fault)
    return tuple(replace(spec, faults=tuple(by_name[spec.name])) for spec in specs)


_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ADDRESSED: Final = re.compile(rf"({_NAME.pattern}):")


def _read(text: str, usual: ProviderSpec) -> ProviderSpec:
    given: dict[str, str | None] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = item.partition("=")
        one_of(key, _KEYS, what="key of a provider")
        if key in given:
            raise ValueError(f"{key} is there twice in {text!r}")
        given[key] = value if equals else None
    if "name" not in given:
        raise ValueError(f"a provider needs a name, such as name=openai,{text}")
    if "port" not in given:
        raise ValueError(f"a provider needs a port, or 0 for a free one: port=0,{text}")
    spec = usual
    for key, said in given.items():
        spec = _KEYS[key](spec, said)
    return spec


Read = Callable[[ProviderSpec, str | None], ProviderSpec]


def _named(spec: ProviderSpec, value: str | None) -> ProviderSpec:
    if not _NAME.fullmatch(value or ""):
        raise ValueError("a provider's name is made of letters, digits, . _ and -")
    return replace(spec, name=value or "")


def _port(spec: ProviderSpec, value: str | None) -> ProviderSpec:
    port = count_of("port", value)
    if port > PORT_MAX:
        raise ValueError(f"port={port} is no port: 0 to {PORT_MAX}")
    return replace(spec, port=port)


def _capacity(spec: ProviderSpec, value: str | None) -> ProviderSpec:
    return replace(spec, slots=_least("capacity", value))


def _day(spec: ProviderSpec, value: str | None) -> ProviderSpec:
    peak, _, period = (value or "").partition("/")
    if not re.fullmatch(r"\d+(\.\d+)?", peak) or not 1 <= float(peak) <= 100:
        raise ValueError("day needs how much slower its peak is, such as day=3/24h")
    period_s = seconds_of("day", period) if period else 86_400.0
    if not period_s:
        raise ValueError("day needs a period above zero, such as day=3/24h")
    return replace(spec, day=Day(float(peak), period_s))


def _least(name: str, value: str | None) -> int:
    number = count_of(name, value)
    if not number:
        raise ValueError(f"{name} needs a number above zero, such as {name}=8")
    return number


def _flag(name: str, change: Callable[[ProviderSpec], ProviderSpec]) -> Read:
    def read(spec: ProviderSpec, value: str | None) -> ProviderSpec:
        if value is not None:
            raise ValueError(f"{name} takes no value")
        return change(spec)

    return read


_KEYS: Final[Mapping[str, Read]] = {
    "name": _named,
    "port": _port,
    "dialect": lambda spec, value: replace(
        spec, dialect=Dialect(one_of(value or "", list(Dialect), what="dialect"))
    ),
    "tls": _flag("tls", lambda spec: replace(spec, has_tls=True)),
    "preset": lambda spec, value: replace(
        spec, preset=one_of(value or "", PRESETS, what="preset")
    ),
    "domain": lambda spec, value: replace(spec, domain=value or None),
    "tokens": lambda spec, value: replace(spec, tokens=_least("tokens", value)),
    "gap": lambda spec, value: replace(spec, gap_s=seconds_of("gap", value)),
    "first_token": lambda spec, value: replace(
        spec, first_token=one_of(value or "", FIRST_TOKENS, what="model")
    ),
    "block": lambda spec, value: replace(spec, block_tokens=_least("block", value)),
    "day": _day,
    "capacity": _capacity,
    "line": lambda spec, value: replace(spec, line_max=_least("line", value)),
    "ignores_departures": _flag(
        "ignores_departures", lambda spec: replace(spec, notices_departures=False)
    ),
    "needs_key": _flag("needs_key", lambda spec: replace(spec, needs_key=True)),
}
