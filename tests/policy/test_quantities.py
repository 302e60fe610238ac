import pytest

from trio_gateway.policy.format.quantities import (
    DURATION_FORM,
    QuantityError,
    parse_duration,
    parse_share,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("1.5s", 1.5), ("10m", 600), ("1h", 3600)],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("5", '"5" is not a duration. Write 5s.'),
        (5, "5 is not a duration. Write 5s."),
        (0.5, "0.5 is not a duration. Write 0.5s."),
        (True, "true is not a duration. Write a number"),
        ("1m30s", '"1m30s" is not a duration. Write 90s'),
        ("-5s", '"-5s" is not a duration. Write a number'),
        ("\N{ARABIC-INDIC DIGIT FIVE}s", "is not a duration. Write a number"),
        ("0ms", '"0ms" is not a duration above 0s and up to 24h. Write'),
        ("25h", '"25h" is not a duration above 0s and up to 24h. Write'),
        ("9" * 400 + "s", "is not a duration. Write a number"),
        (float("nan"), "is not a duration. Write a number"),
        (float("inf"), "is not a duration. Write a number"),
        ([], "is not a duration. Write a number"),
        (None, "is not a duration. Write a number"),
    ],
)
def test_what_is_no_duration_says_what_to_write(value: object, message: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_duration(value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("512B", 512), ("64KiB", 65536), ("4MiB", 4 << 20), ("20MB", 20_000_000)],
)
def test_a_size_is_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("value", [20, "20", "2GiB", "0MiB", "1 MiB", "4Mib", None])
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(QuantityError, match="is not a size"):
        parse_size(value)


@pytest.mark.parametrize(
    ("value", "share"),
    [("5%", 0.05), (0.05, 0.05), ("0.05", 0.05), (1, 1), ("100%", 1)],
)
def test_a_share_is_a_fraction(value: object, share: float) -> None:
    assert parse_share(value) == share


@pytest.mark.parametrize("value", [0, "0%", 1.5, "101%", "-1%", "5 %", "half", True])
def test_what_is_no_share_is_refused(value: object) -> None:
    with pytest.raises(QuantityError, match="is not a share"):
        parse_share(value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("60 s", "60s"),
        ("60sec", "60s"),
        ("2min", "2m"),
        ("1m30s", "90s"),
        ("1h 30m", "90m"),
        ("1.5 hours", "1.5h"),
        ("250 msec", "250ms"),
        ("0.5S", "0.5s"),
    ],
)
def test_a_duration_in_the_words_of_others_is_told_in_ours(
    written: str, meant: str
) -> None:
    with pytest.raises(QuantityError) as raised:
        parse_duration(written)
    assert raised.value.remedy == f"Write {meant}."
    assert parse_duration(meant) > 0


@pytest.mark.parametrize(
    ("written", "meant"),
    [("20mb", "20MB"), ("20 MB", "20MB"), ("20M", "20MiB"), ("64k", "64KiB")],
)
def test_a_size_in_the_words_of_others_is_told_in_ours(
    written: str, meant: str
) -> None:
    with pytest.raises(QuantityError) as raised:
        parse_size(written)
    assert raised.value.remedy == f"Write {meant}."
    assert parse_size(meant) > 0


@pytest.mark.parametrize("written", ["100d", "-5s", "30 h", "s", "5s!", "5 5s"])
def test_what_nobody_can_tell_is_told_by_examples(written: str) -> None:
    with pytest.raises(QuantityError) as raised:
        parse_duration(written)
    assert raised.value.remedy == DURATION_FORM
