"""Weathers by name, with the shape and the numbers of real incidents.

Their times are the real ones, of hours: a provider that runs at `speed` 60 goes through
an hour in a minute.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from trio_gateway.chaos.vocabulary.answers import Pace
from trio_gateway.chaos.vocabulary.faults import Fault, parse_fault
from trio_gateway.chaos.worlds.spread import FIRST_TOKENS, Spread
from trio_gateway.chaos.worlds.world import Capacity, Shrinks, Spell


@dataclass(frozen=True, slots=True)
class Preset:
    """One ready weather, and what it does to a provider's pace and capacity."""

    story: str
    faults: tuple[Fault, ...] = ()
    pace: Pace | None = None  # None: as it would be
    first_token: Spread | None = None
    capacity: Capacity | None = None
    shrinks: tuple[Spell, ...] = ()  # of the capacity


def _preset(story: str, *texts: str) -> Preset:
    return Preset(story, tuple(map(parse_fault, texts)))


PRESETS: Final[Mapping[str, Preset]] = {
    "calm": Preset(
        "a good day: half a percent of errors, one answer in a thousand cut",
        tuple(
            map(
                parse_fault,
                (
                    "status=503,rate=0.25%",
                    "status=429,rate=0.25%",
                    "cut=1500,rate=0.1%",
                    "silence,rate=0.05%",
                ),
            )
        ),
        first_token=FIRST_TOKENS["gpt-4.1"],
    ),
    # Half of all requests suffer, each before its first token: whoever fails over well
    # answers every one of them.
    "flaky": _preset(
        "half of all requests fail or are late, each before its first token",
        "status=503,rate=11%",
        "status=429,retry_after=1s,rate=10%",
        "reset,rate=8%",
        "error_in_200,rate=8%",
        "role_only=cut,rate=8%",
        "delay=300ms,rate=5%",
    ),
    "datadog": _preset(
        "5 % errors, most of them throttles: many customers' February 2026",
        "status=429,rate=3%",
        "status=500,rate=2%",
    ),
    "partial25": _preset(
        "a quarter fails, for as long as OpenAI's incidents last: 75 minutes or hours",
        "status=500,rate=25%,incident=75m",
    ),
    "blackout": _preset("nothing answers for four hours", "connect_hang,until=4h"),
    "brownout": _preset(
        "8 times slower, and 3 % stop after their first frame",
        "role_only,rate=3%",
        "slow=8,rate=97%",
    ),
    "auth_storm": _preset(
        "every key is refused for 78 minutes: Anthropic, April 2026",
        "status=401,until=78m",
    ),
    "per_model": _preset(
        "models come back after 17, 75 and 111 minutes: Anthropic, June 2026",
        *(
            f"{error},rate=50%,model={place}/3,until={minutes}m"
            for place, minutes in ((1, 17), (2, 75), (3, 111))
            for error in ("status=500", "status=529")
        ),
    ),
    "correlated": _preset(
        "outages that all providers of a domain have together, drawn from the seed",
        "status=503,outages=6h/20m",
    ),
    "retry_trap": Preset(
        "100 slots, a deep line, and no eye for those who leave; 80 % of the slots are "
        "gone for the second minute. Enough load and retries, and it never recovers",
        pace=Pace(tokens=21, gap_s=0.1),
        capacity=Capacity(slots=100, notices_departures=False),
        shrinks=(Spell(Shrinks(0.2), from_s=60.0, until_s=120.0),),
    ),
    "flap": _preset("20 s down, 20 s up", "refuse,flap=20s/20s"),
    "control_plane_loss": _preset(
        "nearly everything fails, back in stages: OpenAI, December 2024",
        "status=503,rate=95%,until=140m",
        "status=503,rate=40%,from=140m,until=210m",
        "status=503,rate=5%,from=210m,until=262m",
    ),
    "slow_ramp": _preset(
        "5 %, then a quarter fails, for 13 hours: OpenAI, June 2025",
        "status=500,rate=5%,until=2h",
        "status=500,rate=25%,from=2h,until=10h",
        "status=500,rate=10%,from=10h,until=13h",
    ),
    "dns_loss": _preset(
        "a region without DNS: AWS us-east-1, October 2025",
        "dns,until=3h",
        "status=500,rate=30%,from=3h,until=15h",
    ),
    "edge_loss": _preset(
        "the front door is gone, the machines are well: Azure, October 2025",
        "status=502,rate=90%,until=4h",
        "status=504,rate=30%,from=4h,until=8h",
    ),
}
"""Every preset by its name."""
