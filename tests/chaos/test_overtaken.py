"""Answers in bytes that an outage overtakes: reset, or silent from then on."""

import json

import pytest
import trio
import trio.testing

from tests.chaos.client import Got
from tests.chaos.test_control import FAULTS, call
from tests.chaos.test_server import ask, serving
from trio_gateway.chaos.network import MemoryNetwork
from trio_gateway.chaos.provider.control import Control
from trio_gateway.chaos.provider.seen import RequestEnding
from trio_gateway.chaos.provider.server import House, Room, SimulatedProvider
from trio_gateway.chaos.vocabulary.answers import ChatRequest, Pace
from trio_gateway.chaos.vocabulary.faults import parse_fault
from trio_gateway.chaos.vocabulary.script import (
    Behaviour,
    Onset,
    Overtaken,
    Pause,
    Refusal,
    Script,
    Send,
    UnderWay,
)
from trio_gateway.chaos.worlds.weather import Weather
from trio_gateway.chaos.worlds.world import Capacity

Clock = trio.testing.MockClock

RESET, SILENT = UnderWay.RESET, UnderWay.SILENT
# Its head comes after a second, then a piece each second.
HELLO = Script(
    head_after_s=1.0,
    steps=(Send(b"one"), Pause(1.0), Send(b"two"), Pause(1.0), Send(b"three")),
)


def overtaken(at_s: float, under_way: UnderWay, what: Behaviour = HELLO) -> Overtaken:
    return Overtaken(what, Onset(at_s, under_way))


@pytest.mark.parametrize(
    ("decided", "body", "ending"),
    [
        (overtaken(0.5, RESET), b"", "reset"),
        (overtaken(1.5, RESET), b"one", "reset"),
        (overtaken(2.5, RESET), b"onetwo", "reset"),
        (overtaken(9.0, RESET), b"onetwothree", "whole"),
        (overtaken(0.5, SILENT), b"", "silent"),
        (overtaken(2.5, SILENT), b"onetwo", "silent"),
        (overtaken(9.0, SILENT), b"onetwothree", "whole"),
        (overtaken(5.0, RESET, Refusal.SILENCE), b"", "reset"),
        # A network that is gone brings nobody's reset.
        (overtaken(0.0, SILENT, Refusal.RESET), b"", "silent"),
    ],
    ids=repr,
)
async def test_an_answer_comes_as_it_is_until_an_outage_begins(
    autojump_clock: Clock,
    nursery: trio.Nursery,
    decided: Overtaken,
    body: bytes,
    ending: str,
) -> None:
    provider = SimulatedProvider(lambda *_: decided)
    network, _ = await serving(nursery, provider)
    got = await ask(network)

    assert (got.body, got.ending) == (body, ending)
    (seen,) = provider.seen
    is_whole = ending == "whole"
    assert seen.ending is (RequestEnding.ANSWERED if is_whole else RequestEnding.FAULT)


async def test_who_stands_in_line_is_reset_as_well(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    provider = SimulatedProvider(
        lambda *_: overtaken(4.5, RESET), house=House(room=Room(Capacity(1)))
    )
    network, _ = await serving(nursery, provider)
    bodies = [(got.body, got.ending) for got in await three(network)]
    assert sorted(bodies) == [
        *((b"", "reset"), (b"one", "reset"), (b"onetwothree", "whole"))
    ]
    assert provider.in_flight == 0


async def three(network: MemoryNetwork) -> list[Got]:
    found: list[Got] = []

    async def one() -> None:
        found.append(await ask(network))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(one)
    return found


# What `--fault` and the control endpoint say


def a_provider(*texts: str, speed: float = 1.0) -> SimulatedProvider:
    """A provider whose streams take ten seconds."""
    pace = Pace(tokens=10, first_token_s=1.0, gap_s=1.0)
    weather = Weather("a", tuple(map(parse_fault, texts)), pace=pace)
    provider = SimulatedProvider.in_weather(weather, house=House(speed=speed))
    provider.control = Control({"a": provider})
    return provider


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("refuse,from=5s", "reset"),
        ("connect_hang,from=5s", "silent"),
        ("refuse,flap=1s/4s,after=1", "whole"),  # counted: it is about what follows
        ("dns,from=5s", "whole"),
        ("status=503,from=5s", "whole"),
        ("status=503,from=5s,under_way=reset", "reset"),
        ("refuse,from=5s,under_way=goes_on", "whole"),
        ("refuse,from=5s,model=another", "whole"),
        ("refuse,from=50s", "whole"),
        ("refuse,from=5s,rate=0", "whole"),
    ],
)
async def test_a_fault_says_what_becomes_of_what_is_under_way(
    autojump_clock: Clock, nursery: trio.Nursery, text: str, ending: str
) -> None:
    network, _ = await serving(nursery, a_provider(text))
    assert (await ask(network)).ending == ending


async def test_speed_brings_it_sooner(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    network, _ = await serving(nursery, a_provider("refuse,from=5m", speed=60.0))
    await ask(network)
    assert trio.current_time() == pytest.approx(5.0, abs=0.01)


@pytest.mark.parametrize(
    ("told", "ending"),
    [
        (["refuse"], "reset"),
        (["connect_hang"], "silent"),
        (["status=503"], "whole"),
        (["refuse,from=2s"], "reset"),
        (["refuse,from=20s"], "whole"),
    ],
)
async def test_an_outage_that_is_told_meets_what_is_under_way(
    autojump_clock: Clock, nursery: trio.Nursery, told: list[str], ending: str
) -> None:
    network, _ = await serving(nursery, a_provider())
    nursery.start_soon(tell_at, network, 3.0, told)
    assert (await ask(network)).ending == ending


async def test_an_outage_that_is_taken_back_meets_nobody(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    network, _ = await serving(nursery, a_provider())
    nursery.start_soon(tell_at, network, 3.0, ["refuse,from=4s"])
    nursery.start_soon(tell_at, network, 5.0, None)
    assert (await ask(network)).ending == "whole"


async def tell_at(network: MemoryNetwork, at_s: float, told: list[str] | None) -> None:
    await trio.sleep_until(at_s)
    method = "DELETE" if told is None else "POST"
    await call(network, method, FAULTS, json.dumps({"faults": told}).encode())


async def test_the_same_seed_meets_the_same_and_a_rate_spares_some(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    weather = Weather("a", (parse_fault("refuse,from=5s,rate=50%"),))
    onsets = [
        weather.onset_for("m", seed=seed, number=number, after_s=0.0) is not None
        for seed in (1, 1, 2)
        for number in range(100)
    ]
    assert onsets[:100] == onsets[100:200] != onsets[200:]
    assert 30 < sum(onsets[:100]) < 70


def test_what_is_no_json_has_no_outage_to_meet() -> None:
    provider = a_provider("refuse,from=5s")
    assert provider.sky is not None
    request = ChatRequest("/v1/chat/completions", b"[")
    assert isinstance(provider.sky.behaviour_for(request, 1, 0.0), Script)
