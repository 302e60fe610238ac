"""How the text of each effect is read; what it means stands at the top of `faults`."""

import re
from collections.abc import Callable
from typing import Final

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
    StrayBytes,
    TokenGap,
    WrongBody,
    WrongContentType,
    WrongLength,
)
from trio_gateway.chaos.vocabulary.script import Aftermath, Ending, Refusal
from trio_gateway.chaos.vocabulary.values import count_of, one_of, seconds_of


def _breaks(ending: Ending) -> Callable[[str, str | None], Effect]:
    def read(name: str, value: str | None) -> Effect:
        if value is None and ending is Ending.RESET:
            return Refuse(Refusal.RESET)
        return Break(ending, at=0 if value is None else count_of(name, value))

    return read


def _plain(effect: Effect) -> Callable[[str, str | None], Effect]:
    def read(name: str, value: str | None) -> Effect:
        if value is not None:
            raise ValueError(f"{name} takes no value")
        return effect

    return read


def _timed(make: Callable[[float], Effect]) -> Callable[[str, str | None], Effect]:
    return lambda name, value: make(seconds_of(name, value))


def _counted(
    make: Callable[[int], Effect], *, usual: int | None = None, least: int = 0
) -> Callable[[str, str | None], Effect]:
    """Read a whole number, or take what is usual where none is given."""

    def read(name: str, value: str | None) -> Effect:
        number = usual if value is None and usual is not None else count_of(name, value)
        if not least <= number <= BYTES_MAX:
            raise ValueError(f"{name}={number} is not from {least} to {BYTES_MAX}")
        return make(number)

    return read


# No fault sends more than the largest answer that any gateway takes.
BYTES_MAX: Final = 64 * 1024 * 1024


def _stall(name: str, value: str | None) -> Effect:
    time, at, tokens = (value or "").partition("@")
    return Stall(seconds_of(name, time), count_of(name, tokens) if at else None)


def _slow(name: str, value: str | None) -> Effect:
    match = _FACTOR.fullmatch(value or "")
    if match is None or not 0.0 < float(match[1]) <= SLOW_MAX:
        raise ValueError(f"{name} needs a factor, such as {name}=8")
    return Slow(float(match[1]))


_FACTOR: Final = re.compile(r"(\d+(?:\.\d+)?)x?")

# Ten thousand times a second is longer than anybody waits.
SLOW_MAX: Final = 10_000.0


def _wrong_length(name: str, value: str | None) -> Effect:
    if value is None:
        return WrongLength()
    by = (
        -count_of(name, value[1:])
        if value[:1] == "-"
        else count_of(name, value.lstrip("+"))
    )
    if by == 0:
        raise ValueError(f"{name}=0 is the right length: write +100 or -1")
    return WrongLength(by)


def _interim(name: str, value: str | None) -> Effect:
    status = 103 if value is None else count_of(name, value)
    # 101 would be a promise to speak another protocol.
    if not 100 <= status <= 199 or status == 101:
        raise ValueError(f"{name}={status} is not an interim status: 100, 102 or 103")
    return InterimHead(status)


def _stray(name: str, value: str | None) -> Effect:
    if value is None:
        return StrayBytes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    effect = _counted(lambda size: StrayBytes(b"x" * size), least=1)
    return effect(name, value)


def _error_in_200(name: str, value: str | None) -> Effect:
    return ErrorIn200(at=0 if value is None else count_of(name, value))


def _role_only(_: str, value: str | None) -> Effect:
    word = one_of(value or "hang", [end.value for end in Ending], what="ending")
    return RoleOnly(Ending(word))


def _heartbeats(name: str, value: str | None) -> Effect:
    every_s = 1.0 if value is None else seconds_of(name, value)
    if every_s <= 0:
        raise ValueError(f"{name} needs a time above zero, such as {name}=1s")
    return Heartbeats(every_s)


def _no_finish(_: str, value: str | None) -> Effect:
    return NoFinish(says_done=one_of(value or "no", ["done", "no"], what="end") != "no")


def _wrong_content_type(_: str, value: str | None) -> Effect:
    return WrongContentType(value) if value else WrongContentType()


EFFECTS: Final[dict[str, Callable[[str, str | None], Effect]]] = {
    "delay": _timed(Delay),
    "slow_head": _timed(DripHead),
    "slow_first_token": _timed(SlowFirstToken),
    "gap": _timed(TokenGap),
    "stall": _stall,
    "slow": _slow,
    "slices": _counted(Slices, least=1),
    "cut": _breaks(Ending.CUT),
    "reset": _breaks(Ending.RESET),
    "eof": _breaks(Ending.EOF),
    "hang": _breaks(Ending.HANG),
    "unterminated": _counted(
        lambda at: Break(Ending.UNTERMINATED, at), usual=BYTES_MAX
    ),
    "silence": _plain(Refuse(Refusal.SILENCE)),
    "close": _plain(Refuse(Refusal.CLOSE)),
    "refuse": _plain(Refuse(Refusal.CONNECT_REFUSED)),
    "dns": _plain(Refuse(Refusal.NAME_UNKNOWN)),
    "connect_hang": _plain(Refuse(Refusal.CONNECT_HANG)),
    "error_in_200": _error_in_200,
    "role_only": _role_only,
    "heartbeats": _heartbeats,
    "no_finish": _no_finish,
    "filtered": _counted(Filtered, usual=0),
    "huge_token": _counted(HugeToken, usual=HugeToken().size, least=1),
    "wrong_content_type": _wrong_content_type,
    "wrong_length": _wrong_length,
    "interim": _interim,
    "stray": _stray,
    "half_open": _plain(Aftermath.DEAF),
    "stale": _plain(Aftermath.GONE),
    **{wrong.value: _plain(wrong) for wrong in (*WrongBody, *Disorder)},
}
"""How each effect's value is read, by its name; `faults` says what they mean."""
