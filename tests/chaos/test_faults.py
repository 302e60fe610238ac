import pytest

from trio_gateway.chaos.effects import (
    Break,
    Delay,
    Effect,
    ErrorIn200,
    Heartbeats,
    NoFinish,
    Refuse,
    RoleOnly,
    SlowFirstToken,
    Status,
    WrongBody,
    WrongContentType,
)
from trio_gateway.chaos.errors import Hint, HintForm
from trio_gateway.chaos.faults import Fault, parse_fault
from trio_gateway.chaos.script import Ending, Refusal


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
        ("delay=1s, cut=9", (Delay(1.0), Break(Ending.CUT, 9))),
    ],
)
def test_a_text_names_effects(text: str, effects: tuple[Effect, ...]) -> None:
    assert parse_fault(text) == Fault(effects)


@pytest.mark.parametrize("wrong", list(WrongBody))
def test_every_wrong_body_has_a_text(wrong: WrongBody) -> None:
    assert parse_fault(wrong.value).effects == (wrong,)


def test_options_say_how_often_and_when() -> None:
    effects = (Status(503),)
    assert parse_fault("status=503,rate=0.25") == Fault(effects, rate=0.25)
    assert parse_fault("rate=25%,status=503") == Fault(effects, rate=0.25)
    assert parse_fault("status=503,after=10,times=2") == Fault(
        effects, after=10, times=2
    )


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
        ("status=abc", "status needs a whole number, such as status=3"),
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
