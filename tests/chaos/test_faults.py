from dataclasses import replace

import pytest

from trio_gateway.chaos.vocabulary.climate import Bursts, Flaps, Incident, Outages, When
from trio_gateway.chaos.vocabulary.effect_words import BYTES_MAX
from trio_gateway.chaos.vocabulary.effects import (
    Break,
    Delay,
    Disorder,
    DripHead,
    Effect,
    ErrorIn200,
    Filtered,
    Heartbeats,
    HugeToken,
    InterimHead,
    NoFinish,
    Refuse,
    RoleOnly,
    Slices,
    Slow,
    SlowFirstToken,
    Stall,
    Status,
    StrayBytes,
    TokenGap,
    WrongBody,
    WrongContentType,
    WrongLength,
)
from trio_gateway.chaos.vocabulary.errors import Hint, HintForm
from trio_gateway.chaos.vocabulary.faults import Fault, Group, parse_fault
from trio_gateway.chaos.vocabulary.script import Aftermath, Ending, Refusal, UnderWay


@pytest.mark.parametrize(
    ("text", "effects"),
    [
        ("status=503", (Status(503),)),
        ("error=quota", (Status(error="quota"),)),
        ("status=400,error=quota", (Status(400, "quota"),)),
        (
            "status=429,retry_after=2s",
            (Status(429, hint=Hint(HintForm.SECONDS, 2.0)),),
        ),
        (
            "hint=date,retry_after=1m,status=429",
            (Status(429, hint=Hint(HintForm.DATE, 60.0)),),
        ),
        (
            "status=429,retry_after=NaN",
            (Status(429, hint=Hint(HintForm.RAW, raw="NaN")),),
        ),
        ("delay=300ms", (Delay(0.3),)),
        ("slow_first_token=1.5s", (SlowFirstToken(1.5),)),
        ("cut=100", (Break(Ending.CUT, 100),)),
        ("cut", (Break(Ending.CUT, 0),)),
        ("reset", (Refuse(Refusal.RESET),)),
        ("reset=0", (Break(Ending.RESET, 0),)),
        ("eof=5", (Break(Ending.EOF, 5),)),
        ("hang", (Break(Ending.HANG, 0),)),
        ("silence", (Refuse(Refusal.SILENCE),)),
        ("close", (Refuse(Refusal.CLOSE),)),
        ("refuse", (Refuse(Refusal.CONNECT_REFUSED),)),
        ("connect_hang", (Refuse(Refusal.CONNECT_HANG),)),
        ("error_in_200", (ErrorIn200(0),)),
        ("error_in_200=3", (ErrorIn200(3),)),
        ("role_only", (RoleOnly(Ending.HANG),)),
        ("role_only=cut", (RoleOnly(Ending.CUT),)),
        ("heartbeats", (Heartbeats(1.0),)),
        ("heartbeats=15s", (Heartbeats(15.0),)),
        ("no_finish", (NoFinish(says_done=False),)),
        ("no_finish=done", (NoFinish(says_done=True),)),
        ("wrong_content_type", (WrongContentType("text/plain"),)),
        ("wrong_content_type=text/html", (WrongContentType("text/html"),)),
        ("html", (WrongBody.HTML,)),
        ("dns", (Refuse(Refusal.NAME_UNKNOWN),)),
        ("slow_head=2s", (DripHead(2.0),)),
        ("gap=10ms", (TokenGap(0.01),)),
        ("stall=1m", (Stall(60.0, None),)),
        ("stall=1m@7", (Stall(60.0, 7),)),
        ("slow=8x", (Slow(8.0),)),
        ("slow=1.5", (Slow(1.5),)),
        ("slices=1", (Slices(1),)),
        ("unterminated=9", (Break(Ending.UNTERMINATED, 9),)),
        ("unterminated", (Break(Ending.UNTERMINATED, BYTES_MAX),)),
        ("filtered", (Filtered(0),)),
        ("huge_token", (HugeToken(2 * 1024 * 1024),)),
        ("huge_token=9", (HugeToken(9),)),
        ("wrong_length", (WrongLength(100),)),
        ("wrong_length=+7", (WrongLength(7),)),
        ("wrong_length=-7", (WrongLength(-7),)),
        ("interim", (InterimHead(103),)),
        ("stray=2", (StrayBytes(b"xx"),)),
        ("half_open", (Aftermath.DEAF,)),
        ("stale", (Aftermath.GONE,)),
        ("delay=1s, cut=9", (Delay(1.0), Break(Ending.CUT, 9))),
    ],
)
def test_a_text_names_effects(text: str, effects: tuple[Effect, ...]) -> None:
    fault = replace(parse_fault(text), under_way=UnderWay.GOES_ON)
    assert fault == Fault(effects)


@pytest.mark.parametrize("wrong", [*WrongBody, *Disorder])
def test_every_wrong_body_has_a_text(wrong: WrongBody | Disorder) -> None:
    assert parse_fault(wrong.value).effects == (wrong,)


def test_options_say_how_often_and_when() -> None:
    effects = (Status(503),)
    assert parse_fault("status=503,rate=0.25") == Fault(effects, rate=0.25)
    assert parse_fault("rate=25%,status=503") == Fault(effects, rate=0.25)
    assert parse_fault("status=503,after=10,times=2") == Fault(
        effects, after=10, times=2
    )


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("from=2s,until=1h", When(2.0, 3600.0)),
        ("flap=20s/10s", When(rhythm=Flaps(20.0, 10.0))),
        ("incident=75m", When(rhythm=Incident(4500.0))),
        ("outages=5d/1h", When(rhythm=Outages(432_000.0, 3600.0))),
        ("from=1m,bursts=9s/300ms", When(60.0, rhythm=Bursts(9.0, 0.3))),
    ],
)
def test_options_say_when_it_reigns(text: str, when: When) -> None:
    assert parse_fault(f"refuse,{text}").when == when


def test_options_say_which_models_it_is_about() -> None:
    assert parse_fault("refuse,model=org/gpt-4.1").models == "org/gpt-4.1"
    assert parse_fault("refuse,model=2/3").models == Group(2, 3)


def test_a_fault_remembers_its_text() -> None:
    assert parse_fault("status=503, rate=30%").text == "status=503, rate=30%"


def test_after_spares_the_first_and_times_limits_the_rest() -> None:
    fault = parse_fault("silence,after=2,times=3")
    struck = [number for number in range(1, 10) if fault.is_possible(number)]
    assert struck == [3, 4, 5]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("statsu=503", "did you mean 'status'"),
        ("quux", "known: .*malformed_sse"),
        ("error=qouta", "did you mean 'quota'"),
        ("status", "status needs a value"),
        ("status=abc", "status needs a whole number, such as status=503"),
        ("status=²", "status needs a whole number"),
        ("status=99", "not a final status"),
        ("status=503,status=500", "status is there twice"),
        ("delay", "delay needs a time, such as delay=300ms"),
        ("delay=3", "delay needs a time"),
        ("delay=-3s", "delay needs a time"),
        ("cut=-1", "cut needs a whole number"),
        ("cut=", "cut needs a whole number"),
        ("silence=3", "silence takes no value"),
        ("role_only=cutt", "did you mean 'cut'"),
        ("heartbeats=0s", "above zero"),
        ("slow", "slow needs a factor, such as slow=8"),
        ("slow=0", "slow needs a factor"),
        ("slow=1e9", "slow needs a factor"),
        ("slices=0", "slices=0 is not from 1"),
        ("stall=1s@x", "stall needs a whole number"),
        ("huge_token=99999999999", "is not from 1 to"),
        ("wrong_length=0", "is the right length"),
        ("interim=101", "not an interim status"),
        ("interim=200", "not an interim status"),
        ("stale=1", "stale takes no value"),
        ("refuse,flap=20s", "flap needs 2 times, such as flap=20s/20s"),
        ("refuse,flap=20s/0s", "flap needs times above zero"),
        ("refuse,incident=1s/1s", "incident needs a time, such as incident=20s"),
        ("refuse,flap=1s/1s,bursts=1s/1s", "two rhythms: keep one"),
        ("refuse,from=2s,until=1s", "not after from"),
        ("refuse,from=noon", "from needs a time, such as from=300ms"),
        ("refuse,model=4/3", "is no group: write 1/3"),
        ("refuse,model", "model needs a value"),
        ("from=2s", "needs an effect"),
        ("no_finish=maybe", "known: done"),
        ("silence,rate=lots", "not a share: write 0.3 or 30%"),
        ("silence,rate=1.5", "not a share between 0 and 1"),
        ("silence,rate=nan", "not a share"),
        ("silence,rate", "rate needs a value"),
        ("silence,times", "times needs a whole number"),
        ("rate=0.5", "needs an effect"),
        ("", "needs an effect"),
        ("silence,retry_after=2s", "need a status"),
        ("status=429,hint=ms", "hint needs a time"),
        ("status=429,hint=ms,retry_after=soon", "hint=ms needs a time"),
        ("status=429,hint=dates,retry_after=2s", "did you mean 'date'"),
    ],
)
def test_a_wrong_text_says_what_to_write_instead(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_fault(text)
