"""Whether a chain holds, by the dates that stand in its certificates."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from trio_gateway.serving.tls import Certificate
from trio_gateway.serving.validity import Lapse, lapse_of

BEGINS, ENDS = datetime(2027, 3, 1, tzinfo=UTC), datetime(2027, 9, 1, 12, tzinfo=UTC)
AUTHORITY = trustme.CA()
MINUTE = timedelta(minutes=1)


def a_chain(
    begins: datetime = BEGINS, ends: datetime = ENDS, by: trustme.CA = AUTHORITY
) -> bytes:
    leaf = by.issue_cert("localhost", not_before=begins, not_after=ends)
    return b"".join(pem.bytes() for pem in leaf.cert_chain_pems)


def lapse_at(at: datetime, chain: bytes) -> Lapse | None:
    return lapse_of(chain, at.timestamp())


@pytest.mark.parametrize("at", [BEGINS, BEGINS + MINUTE, ENDS - MINUTE, ENDS])
def test_within_its_dates_a_certificate_holds(at: datetime) -> None:
    assert lapse_at(at, a_chain()) is None


def test_an_expired_one_says_since_when() -> None:
    said = "expired on 2027-09-01 12:00 UTC"
    assert lapse_at(ENDS + MINUTE, a_chain()) == Lapse(1, said)


def test_one_that_is_not_valid_yet_says_from_when() -> None:
    said = "is not valid before 2027-03-01 00:00 UTC"
    assert lapse_at(BEGINS - MINUTE, a_chain()) == Lapse(1, said)


@pytest.mark.parametrize("year", [1950, 2049, 2050, 2100])
def test_dates_of_every_form_are_read(year: int) -> None:
    ends = datetime(year, 6, 1, tzinfo=UTC)
    chain = a_chain(datetime(1950, 1, 1, tzinfo=UTC), ends)
    assert lapse_at(ends - MINUTE, chain) is None
    assert lapse_at(ends + MINUTE, chain) is not None


def test_who_stands_behind_it_in_the_chain_is_looked_at_too() -> None:
    chain = a_chain(BEGINS, ENDS) + a_chain(BEGINS, BEGINS + MINUTE)
    said = "certificate 2 of its chain expired on 2027-03-01 00:01 UTC"
    assert lapse_at(ENDS, chain) == Lapse(2, said)


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_what_cannot_be_read_is_left_to_openssl(cut: int) -> None:
    chain = a_chain()
    head, foot = b"-----BEGIN CERTIFICATE-----\n", b"\n-----END CERTIFICATE-----"
    body = chain.removeprefix(head)[:cut]
    assert lapse_at(ENDS + MINUTE, head + body + foot) in (
        None,
        lapse_at(ENDS + MINUTE, chain),
    )
    assert lapse_at(ENDS, b"") is None


def test_a_version_that_the_library_does_not_read_is_left_to_openssl() -> None:
    leaf = AUTHORITY.issue_cert("localhost", not_before=BEGINS, not_after=ENDS)
    third, second = bytes.fromhex("a003020102"), bytes.fromhex("a003020101")
    der = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())
    chain = ssl.DER_cert_to_PEM_cert(der.replace(third, second, 1)).encode()
    assert Certificate(chain, leaf.private_key_pem.bytes()).context()
    assert lapse_at(ENDS + MINUTE, chain) is None
