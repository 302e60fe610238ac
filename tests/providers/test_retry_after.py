import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_gateway.providers.retry_after import HINT_S_MAX, hint_s

NOW = 1_000_000_000.0  # Sun, 09 Sep 2001 01:46:40 GMT
DATE = "Sun, 09 Sep 2001 01:46:40 GMT"


def of(
    message: str = "", error: object = None, **fields: str | list[str]
) -> float | None:
    headers = [
        (name.replace("_", "-").encode(), value.encode("latin-1"))
        for name, values in fields.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return hint_s(headers, error, message, wall_now=NOW)


def retry_info(delay: object) -> dict[str, object]:
    kind = "type.googleapis.com/google.rpc."
    quota = {"@type": f"{kind}QuotaFailure", "violations": [{"quotaId": "PerMinute"}]}
    return {"details": [quota, {"@type": f"{kind}RetryInfo", "retryDelay": delay}]}


def test_nothing_said_is_no_hint() -> None:
    assert of() is None
    assert of("You exceeded your current quota.", {"code": "x"}, date=DATE) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5", 5.0),
        ("0", 0.0),
        ("1.5", 1.5),
        (".5", 0.5),
        (" 7 ", 7.0),
        ("86400", 86400.0),
        ("604800", 604800.0),
        ("2678400", HINT_S_MAX),
        ("20s", 20.0),
        ("1m30s", 90.0),
        ("5 s", 5.0),
        ("Sun, 09 Sep 2001 01:47:10 GMT", 30.0),
        ("Sunday, 09-Sep-01 01:47:10 GMT", 30.0),
        ("Sun Sep  9 01:47:10 2001", 30.0),
        ("Sun, 09 Sep 2001 03:47:10 +0200", 30.0),
        ("Sun, 09 Sep 2001 01:47:10 -0000", 30.0),
        ("Sun, 09 Sep 2001 01:00:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_duration_or_a_date(
    value: str, seconds: float
) -> None:
    assert of(retry_after=value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "NaN",
        "nan",
        "inf",
        "-1",
        "-0",
        "+5",
        "1e3",
        "1_0",
        "0x5",
        "²",
        "2678401",
        "1000000000",
        "9" * 60,
        "9" * 5000,
        "5 s later",
        "5, 10",
        "5;",
        "1.2.3",
        "Wed, 10 Oct 2001 01:46:41 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 10 Sep 99999999999999999999 01:46:41 GMT",
        DATE[:-9],
    ],
)
def test_a_malformed_hint_was_not_given(value: str) -> None:
    assert of(retry_after=value) is None
    assert of(retry_after=value, error=retry_info("3s")) == 3.0


@pytest.mark.parametrize("value", ["", "NaN", "-5", "1e3", "2678400001", DATE])
def test_malformed_milliseconds_were_not_given(value: str) -> None:
    assert of(retry_after_ms=value) is None
    assert of(retry_after_ms=value, retry_after="2") == 2.0


def test_a_date_is_compared_with_the_answers_own() -> None:
    skewed = "Sun, 09 Sep 2001 05:00:00 GMT"
    assert of(retry_after="Sun, 09 Sep 2001 05:00:20 GMT", date=skewed) == 20.0
    assert of(retry_after="Sun, 09 Sep 2001 01:47:00 GMT", date="nonsense") == 20.0


def test_the_first_value_that_can_be_read_counts() -> None:
    assert of(retry_after=["x", "5", "9"]) == 5.0
    assert of(retry_after=["10000000", "5"]) == 5.0


def test_names_come_in_any_case() -> None:
    assert hint_s([(b"Retry-After", b"5")], None, "", wall_now=NOW) == 5.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("1500", 1.5), ("0.5", 0.0005), ("86400000", 86400.0), ("2678400000", HINT_S_MAX)],
)
def test_milliseconds_are_read(value: str, seconds: float) -> None:
    assert of(retry_after_ms=value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("59s", 59.0), ("34.074824224s", 34.074824224), ("0s", 0.0), ("2 s", 2.0)],
)
def test_googles_retry_info_is_read(delay: str, seconds: float) -> None:
    assert of(error=retry_info(delay)) == pytest.approx(seconds)


ODD_DELAYS: list[object] = [None, 5, {}, "", "s", "-5s", "inf s", "99999999s"]


@pytest.mark.parametrize(
    "error",
    [retry_info(value) for value in ODD_DELAYS]
    + ["text", [], {"details": {}}, {"details": "x"}, {"details": [1, None, []]}],
)
def test_other_details_say_nothing(error: object) -> None:
    assert of(error=error) is None


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Limit 1, used 1. Please try again in 6m0s. Visit our pages.", 360.0),
        ("Please try again in 20ms.", 0.02),
        ("Please try again in 1.5s", 1.5),
        ("Please try again in 5.289s.", 5.289),
        ("Please try again in 7m12.5s.", 432.5),
        ("Please try again in 1h2m3s.", 3723.0),
        ("Please retry after 20 seconds.", 20.0),
        ("Please retry in 34.074824224s.", 34.074824224),
        ("Try again in 1 minute", 60.0),
        ("Try again in 2 minutes and", 120.0),
        ("Please retry your request in 3 hours", 10800.0),
        ("Try again in soon. Try again in 4s", 4.0),
    ],
)  # fmt: skip
def test_a_sentence_is_read(message: str, seconds: float) -> None:
    assert of(message) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "message",
    [
        "Please try again later.",
        "try again in 5",
        "try again in 5 sheep",
        "in 5s",
        "Limit 5s, used 6s",
        "try again in 90 days",
        "try again in -5s",
    ],
)
def test_other_sentences_say_nothing(message: str) -> None:
    assert of(message) is None


@pytest.mark.parametrize(
    ("reset", "seconds"), [("20ms", 0.02), ("6m0s", 360), ("2", 2)]
)
def test_the_reset_of_an_exhausted_limit_is_read(reset: str, seconds: float) -> None:
    fields = {
        "x_ratelimit_remaining_requests": "0",
        "x_ratelimit_reset_requests": reset,
        "x_ratelimit_remaining_tokens": "100",
        "x_ratelimit_reset_tokens": "9h",
    }
    assert of(**fields) == pytest.approx(seconds)


def test_the_later_of_two_resets_counts() -> None:
    fields = {
        "x_ratelimit_remaining_requests": "0",
        "x_ratelimit_reset_requests": "1s",
        "x_ratelimit_remaining_tokens": "0",
        "x_ratelimit_reset_tokens": "3s",
    }
    assert of(**fields) == 3.0


def test_anthropics_resets_are_moments() -> None:
    fields = {
        "anthropic_ratelimit_input_tokens_remaining": "0",
        "anthropic_ratelimit_input_tokens_reset": "2001-09-09T01:47:10Z",
    }
    assert of(**fields) == 30.0
    assert of(**fields, date="Sun, 09 Sep 2001 01:47:00 GMT") == 10.0


@pytest.mark.parametrize(
    ("left", "reset"),
    [
        ("1", "5s"),
        ("x", "5s"),
        ("", "5s"),
        ("-1", "5s"),
        ("0", "x"),
        ("0", "5x"),
        ("0", "2020-99-99"),
        ("0", "1700000000"),
        ("0", ""),
    ],
)
def test_other_resets_say_nothing(left: str, reset: str) -> None:
    fields = {
        "x_ratelimit_remaining_tokens": left,
        "x_ratelimit_reset_tokens": reset,
    }
    assert of(**fields) is None


def test_a_limit_without_its_reset_says_nothing() -> None:
    assert of(x_ratelimit_remaining_tokens="0") is None
    assert of(x_ratelimit_reset_tokens="5s") is None


def test_the_ways_to_say_it_are_asked_in_order() -> None:
    message, error = "try again in 4s", retry_info("3s")
    fields = {
        "x_ratelimit_remaining_tokens": "0",
        "x_ratelimit_reset_tokens": "5s",
        "retry_after": "2",
        "retry_after_ms": "1000",
    }
    for expected, said in [(1.0, "retry_after_ms"), (2.0, "retry_after")]:
        assert of(message, error, **fields) == expected
        del fields[said]
    assert of(message, error, **fields) == 3.0
    assert of(message, **fields) == 4.0
    assert of(**fields) == 5.0


names = st.sampled_from(
    [
        "retry-after",
        "Retry-After-Ms",
        "date",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
        "other",
    ]
).map(str.encode)
odd = st.sampled_from(
    [
        "0",
        "NaN",
        "inf",
        "-1",
        "1e999",
        "9" * 400,
        DATE,
        DATE.replace("2001", "0001"),
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 99 Foo 99999 99:99:99",
        "0001-01-01",
        "9999-12-31T23:59:59-23:59",
        "6m0s",
        "(" * 60,
        "5s5s5s",
        "1,1",
        "\x00",
    ]
).map(str.encode)


@given(
    st.lists(st.tuples(names, odd | st.binary(max_size=70)), max_size=8),
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["details", "retryDelay", "x"]), inner)
        ),
    ),
    st.text() | st.text("try again in 0123456789.smh "),
    st.floats(0, 1e11),
)
@example([(b"retry-after", b"Mon, 1 Jan 0001 00:00:00 +2359")], None, "", 0.0)
@example([(b"retry-after", DATE.encode() * 3)], None, "try again in " + "1s" * 999, 0.0)
def test_no_hint_raises_or_leaves_its_bounds(
    headers: list[tuple[bytes, bytes]], error: object, message: str, wall_now: float
) -> None:
    hint = hint_s(headers, error, message, wall_now=wall_now)
    assert hint is None or 0 <= hint <= HINT_S_MAX
