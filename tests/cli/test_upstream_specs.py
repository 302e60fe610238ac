import pytest

from trio_gateway.chaos.vocabulary.answers import Dialect
from trio_gateway.chaos.vocabulary.climate import Day
from trio_gateway.cli.upstream_specs import ProviderSpec, read_providers

USUAL = ProviderSpec(tokens=9)


def read(*texts: str, faults: tuple[str, ...] = ()) -> tuple[ProviderSpec, ...]:
    return read_providers(texts, faults, USUAL)


def test_without_any_there_is_the_usual_one() -> None:
    assert read() == (USUAL,)


def test_a_text_says_everything_about_a_provider() -> None:
    text = (
        "name=eu,port=7,dialect=azure,tls,preset=calm,domain=d,tokens=3,gap=5ms,"
        "first_token=gpt-4.1,block=4,day=3/1h,capacity=8,line=50,ignores_departures,"
        "needs_key"
    )
    assert read(text) == (
        ProviderSpec(
            name="eu",
            port=7,
            dialect=Dialect.AZURE,
            has_tls=True,
            preset="calm",
            domain="d",
            tokens=3,
            gap_s=0.005,
            first_token="gpt-4.1",
            block_tokens=4,
            day=Day(3.0, 3600.0),
            slots=8,
            line_max=50,
            notices_departures=False,
            needs_key=True,
        ),
    )


def test_what_is_not_said_is_as_usual() -> None:
    assert read("name=a,port=1")[0].tokens == 9


def test_a_fault_is_for_all_or_for_the_named_one() -> None:
    faults = ("close,rate=1%", "a:status=503,rate=1%", "b:model=x:y,reset,rate=1%")
    first, second = read("name=a,port=1", "name=b,port=2", faults=faults)
    assert [fault.text for fault in first.faults] == ["close,rate=1%", faults[1][2:]]
    assert [fault.text for fault in second.faults] == ["close,rate=1%", faults[2][2:]]


def test_a_colon_in_a_value_addresses_nobody() -> None:
    (spec,) = read(faults=("reset,model=x:y",))
    assert spec.faults[0].models == "x:y"


def test_a_preset_brings_its_pace_unless_another_is_said() -> None:
    (spec,) = read_providers((), (), ProviderSpec(preset="retry_trap"))
    provider = spec.provider(seed=0, speed=1.0, on_request=lambda _: None)
    assert provider.sky is not None
    pace = provider.sky.reign(0.0).weather.pace
    assert (pace.tokens, pace.gap_s) == (21, 0.1)


def test_faults_that_cannot_be_together_are_refused() -> None:
    (spec,) = read_providers((), ("close",), ProviderSpec(preset="blackout"))
    with pytest.raises(ValueError, match="add up to 2"):
        spec.provider(seed=0, speed=1.0, on_request=lambda _: None)
