import pytest

from trio_gateway.wire.headers import Fields, client_patience_s, is_client_retry

READ = b"x-stainless-read-timeout"  # openai-python's
WHOLE = b"x-stainless-timeout"  # openai-node's, and others'


@pytest.mark.parametrize("name", [READ, WHOLE])
@pytest.mark.parametrize(
    ("said", "patience_s"),
    [
        (b"600", 600.0),
        (b"2.5", 2.5),
        *((word, None) for word in (b"0", b"nan", b"inf", b"-1", b"NOT_GIVEN", b"")),
    ],
)
def test_a_librarys_timeout_is_its_patience(
    name: bytes, said: bytes, patience_s: float | None
) -> None:
    assert client_patience_s(Fields([(name, said)])) == patience_s


@pytest.mark.parametrize(
    ("read", "whole", "patience_s"),
    [(b"5", b"60", 5.0), (b"60", b"5", 5.0), (b"60", b"0", 60.0), (b"x", b"5", 5.0)],
)
def test_of_two_timeouts_the_shorter_one_counts(
    read: bytes, whole: bytes, patience_s: float
) -> None:
    assert client_patience_s(Fields([(READ, read), (WHOLE, whole)])) == patience_s


@pytest.mark.parametrize(
    ("said", "is_retry"), [(b"0", False), (b"1", True), (b"x", False), (b"", False)]
)
def test_a_librarys_count_tells_its_retries(said: bytes, *, is_retry: bool) -> None:
    assert is_client_retry(Fields([(b"x-stainless-retry-count", said)])) is is_retry


def test_a_client_that_says_nothing_has_no_known_patience() -> None:
    assert client_patience_s(Fields([])) is None
    assert not is_client_retry(Fields([]))
