import pytest

from trio_gateway.chaos.provider.sky import FAULTS_MAX, Sky
from trio_gateway.chaos.vocabulary.answers import ChatRequest
from trio_gateway.chaos.vocabulary.climate import Day
from trio_gateway.chaos.vocabulary.faults import Fault, Group, parse_fault
from trio_gateway.chaos.vocabulary.script import Pause, Refusal, Script, taken_apart
from trio_gateway.chaos.worlds.presets import PRESETS
from trio_gateway.chaos.worlds.spread import FIRST_TOKENS
from trio_gateway.chaos.worlds.weather import Weather

HOUR_S = 3600.0


def faults(*texts: str) -> tuple[Fault, ...]:
    return tuple(map(parse_fault, texts))


def a_sky(
    *texts: str, speed: float = 1.0, provider: str = "a", domain: str | None = None
) -> Sky:
    weather = Weather(provider=provider, faults=faults(*texts), domain=domain)
    return Sky(weather, seed=7, speed=speed)


def outcome(sky: Sky, number: int, now: float, model: str = "m") -> int | Refusal:
    body = f'{{"model":"{model}","stream":true}}'.encode()
    decided = sky.behaviour_for(ChatRequest("/v1/chat/completions", body), number, now)
    behaviour, _ = taken_apart(decided)
    return behaviour.status if isinstance(behaviour, Script) else behaviour


def course(sky: Sky, seconds: int, model: str = "m") -> list[int | Refusal]:
    sky.begin(1000.0)
    return [outcome(sky, at + 1, 1000.0 + at, model) for at in range(seconds)]


def test_a_fault_reigns_from_the_providers_start_on() -> None:
    assert course(a_sky("status=503,from=2s,until=4s"), 6) == [
        *(200, 200, 503, 503, 200, 200)
    ]
    assert course(a_sky("refuse,flap=1s/2s"), 5) == [
        *(Refusal.CONNECT_REFUSED, 200, 200, Refusal.CONNECT_REFUSED, 200)
    ]


def test_speed_makes_hours_of_weather_short() -> None:
    assert course(a_sky("status=503,from=1h,until=2h", speed=HOUR_S), 3) == [
        *(200, 503, 200)
    ]


def test_a_fault_may_be_about_one_model() -> None:
    sky = a_sky("status=404,model=gpt-4.1")
    assert course(sky, 1, "gpt-4.1") == [404]
    assert course(sky, 1, "gpt-4.1-mini") == [200]


def test_groups_of_models_share_all_names_among_them() -> None:
    for number in range(100):
        struck = [
            course(a_sky(f"status=500,model={place}/3"), 1, f"model-{number}") == [500]
            for place in (1, 2, 3)
        ]
        assert struck.count(True) == 1


def test_providers_of_a_domain_fail_together_and_others_do_not() -> None:
    def run(provider: str, domain: str) -> list[int | Refusal]:
        sky = a_sky("status=503,outages=60s/20s", provider=provider, domain=domain)
        return course(sky, 600)

    assert 503 in run("a", "eu")
    assert run("a", "eu") == run("b", "eu")
    assert run("a", "eu") != run("a", "us")


def test_the_same_seed_gives_the_same_course_and_another_another() -> None:
    def run(seed: int) -> list[int | Refusal]:
        weather = Weather(faults=faults("status=503,rate=50%,bursts=9s/9s"))
        return course(Sky(weather, seed=seed), 500)

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_what_is_told_counts_its_own_requests_and_seconds_and_ends() -> None:
    sky = a_sky("status=500,after=100")
    course(sky, 5)
    sky.tell(
        faults("status=503,times=1", "refuse,after=1,from=2s"), lasts_s=5, now=1005
    )
    assert [outcome(sky, number, 1000.0 + number) for number in range(6, 12)] == [
        *(503, Refusal.CONNECT_REFUSED, Refusal.CONNECT_REFUSED),
        *(Refusal.CONNECT_REFUSED, 200, 200),
    ]
    assert outcome(sky, 101, 2000.0) == 500


def test_it_goes_back_when_it_is_told_to() -> None:
    sky = a_sky("status=500")
    sky.tell((), now=0.0)
    assert outcome(sky, 1, 1.0) == 200
    sky.restore()
    assert outcome(sky, 2, 2.0) == 500


def test_what_cannot_be_told_changes_nothing() -> None:
    sky = a_sky("status=500")
    with pytest.raises(ValueError, match="add up to 2"):
        sky.tell(faults("status=503", "refuse"), now=0.0)
    with pytest.raises(ValueError, match="too many"):
        sky.tell(faults("refuse,rate=0.1%") * (FAULTS_MAX + 1), now=0.0)
    assert outcome(sky, 1, 0.0) == 500


def waits(weather: Weather, number: int, at_s: float) -> list[float]:
    chat = ChatRequest("/v1/chat/completions", b'{"stream":true}')
    script = weather.behaviour_for(chat, seed=1, number=number, at_s=at_s)
    assert isinstance(script, Script)
    return [step.seconds for step in script.steps if isinstance(step, Pause)]


def test_first_tokens_are_drawn_and_a_day_slows_everything() -> None:
    spread = FIRST_TOKENS["gpt-4.1"]
    usual = Weather(first_token=spread)
    firsts = [waits(usual, number, 0.0)[0] for number in range(1, 200)]
    assert len(set(firsts)) > 150
    assert 0.6 < sorted(firsts)[100] < 0.9

    busy = Weather(first_token=spread, day=Day(peak=3.0))
    assert waits(busy, 1, 43_200.0)[0] == pytest.approx(3 * firsts[0])


def preset(name: str, *, provider: str = "a") -> Sky:
    return Sky(Weather(provider=provider, faults=PRESETS[name].faults), seed=3)


def share(name: str, wanted: int | Refusal, *, from_h: float, to_h: float) -> float:
    sky = begun(name)
    found = [
        outcome(sky, number, (from_h + (to_h - from_h) * number / 1000) * HOUR_S)
        for number in range(1, 1000)
    ]
    return found.count(wanted) / len(found)


@pytest.mark.parametrize(
    ("name", "wanted", "from_h", "to_h", "expected"),
    [
        ("calm", 200, 0, 24, 0.9995),
        ("datadog", 429, 0, 24, 0.03),
        ("datadog", 500, 0, 24, 0.02),
        ("partial25", 500, 0, 0.01, 0.25),
        ("blackout", Refusal.CONNECT_HANG, 0, 3.99, 1.0),
        ("blackout", 200, 4, 8, 1.0),
        ("brownout", 200, 0, 1, 1.0),
        ("auth_storm", 401, 0, 1.29, 1.0),
        ("auth_storm", 200, 1.3, 2, 1.0),
        ("flap", Refusal.CONNECT_REFUSED, 0, 10, 0.5),
        ("control_plane_loss", 503, 2.34, 3.49, 0.4),
        ("slow_ramp", 500, 2.01, 9.99, 0.25),
        ("dns_loss", Refusal.NAME_UNKNOWN, 0, 2.99, 1.0),
        ("edge_loss", 502, 0, 3.99, 0.9),
    ],
)
def test_a_preset_has_the_shape_of_its_incident(
    name: str, wanted: int | Refusal, from_h: float, to_h: float, expected: float
) -> None:
    got = share(name, wanted, from_h=from_h, to_h=to_h)
    assert got == pytest.approx(expected, abs=0.05 if 0.1 < expected < 0.95 else 0.02)


SIX = tuple(f"model-{number}" for number in range(6))


def begun(name: str) -> Sky:
    sky = preset(name)
    sky.begin(0.0)
    return sky


@pytest.mark.parametrize("at", [0, 16, 18, 74, 76, 110, 112])
def test_models_come_back_one_after_the_other(at: int) -> None:
    sick = {
        name for name in SIX if outcome(begun("per_model"), 1, at * 60.0, name) != 200
    }
    groups = [{n for n in SIX if Group(place, 3).holds(n)} for place in (1, 2, 3)]
    assert all(groups)
    still = groups[(at > 17) + (at > 75) + (at > 111) :]
    assert sick == set().union(*still)


def test_a_retry_trap_is_a_matter_of_capacity() -> None:
    trap = PRESETS["retry_trap"]
    assert trap.capacity is not None
    assert not trap.capacity.notices_departures
    assert trap.pace is not None
    assert trap.pace.gap_s * (trap.pace.tokens - 1) == pytest.approx(2.0)


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_can_be_and_says_what_it_is(name: str) -> None:
    assert PRESETS[name].story
    Weather(faults=PRESETS[name].faults)
