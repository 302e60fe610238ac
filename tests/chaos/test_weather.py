import hashlib
import subprocess
import sys
from collections import Counter

import pytest

from trio_gateway.chaos.vocabulary.answers import ChatRequest
from trio_gateway.chaos.vocabulary.faults import parse_fault
from trio_gateway.chaos.vocabulary.script import Behaviour, Ending, Refusal, Script
from trio_gateway.chaos.worlds.presets import PRESETS
from trio_gateway.chaos.worlds.weather import Weather

STREAM = ChatRequest("/v1/chat/completions", b'{"model":"m","stream":true}')


def weather(*texts: str, provider: str = "a") -> Weather:
    return Weather(provider=provider, faults=tuple(map(parse_fault, texts)))


def run(of: Weather, *, seed: int = 7, requests: int = 1000) -> list[Behaviour]:
    return [
        of.behaviour_for(STREAM, seed=seed, number=number)
        for number in range(1, requests + 1)
    ]


def status(behaviour: Behaviour) -> int | None:
    return behaviour.status if isinstance(behaviour, Script) else None


def test_the_same_seed_gives_the_same_weather() -> None:
    flaky = Weather(faults=PRESETS["flaky"].faults)
    assert run(flaky, requests=200) == run(flaky, requests=200)
    assert run(flaky, requests=200, seed=8) != run(flaky, requests=200)


def test_providers_of_one_seed_do_not_fail_in_step() -> None:
    one, other = (
        [status(behaviour) for behaviour in run(weather("status=503,rate=50%"))],
        [
            status(behaviour)
            for behaviour in run(weather("status=503,rate=50%", provider="b"))
        ],
    )
    both = sum(a == b for a, b in zip(one, other, strict=True))
    assert 400 < both < 600


def test_weather_does_not_depend_on_the_process() -> None:
    program = (
        "from tests.chaos.test_weather import *\n"
        "print(hash_of(run(Weather(faults=PRESETS['flaky'].faults), requests=50)))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    here = hash_of(run(Weather(faults=PRESETS["flaky"].faults), requests=50))
    assert found == {f"{here}\n"}


def hash_of(behaviours: list[Behaviour]) -> str:
    return hashlib.sha256(repr(behaviours).encode()).hexdigest()


def test_rates_are_kept() -> None:
    seen = Counter(map(status, run(weather("status=503,rate=30%", "reset,rate=20%"))))
    assert 250 < seen[503] < 350
    assert 150 < seen[None] < 250
    assert 450 < seen[200] < 550


def test_a_later_fault_does_not_change_whom_the_first_one_strikes() -> None:
    alone = run(weather("status=503,rate=30%"))
    joined = run(weather("status=503,rate=30%", "reset,rate=20%"))
    struck = [number for number, one in enumerate(alone) if status(one) == 503]
    assert struck == [number for number, one in enumerate(joined) if status(one) == 503]


def test_windows_follow_each_other() -> None:
    behaviours = run(weather("status=503,times=2", "reset,after=2,times=1"), requests=4)
    assert behaviours[2] is Refusal.RESET
    assert [status(behaviour) for behaviour in behaviours] == [503, 503, None, 200]


def test_rates_that_cannot_share_one_draw_are_refused() -> None:
    with pytest.raises(ValueError, match=r"add up to 1\.3 at request 6"):
        weather("status=503,rate=50%", "reset,rate=80%,after=5")
    weather(*["status=503,rate=10%"] * 10)
    weather("status=503,times=5", "reset,after=5")


def test_an_unreadable_request_is_refused_whatever_the_weather() -> None:
    nonsense = ChatRequest("/v1/chat/completions", b"{")
    behaviour = weather("silence").behaviour_for(nonsense, seed=1, number=1)
    assert status(behaviour) == 400


def test_flaky_strikes_half_of_all_requests_before_their_first_token() -> None:
    good = run(Weather())
    flaky = run(Weather(faults=PRESETS["flaky"].faults))
    struck = [one for one, other in zip(flaky, good, strict=True) if one != other]

    assert 450 < len(struck) < 550
    for behaviour in struck:
        if isinstance(behaviour, Script) and behaviour.ending is Ending.CLEAN:
            is_late = behaviour.head_after_s == 0.3
            assert is_late or b'"content":"' not in behaviour.body
        elif isinstance(behaviour, Script):
            assert b'"content":""' in behaviour.body
            assert behaviour.body.count(b"data: ") == 1
