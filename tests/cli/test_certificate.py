"""A changed certificate is taken over, a wrong one is not and is told once.

Files are real and read in real threads; the time between two looks is virtual.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from trio.testing import MockClock

from trio_gateway.cli.certificate import CertificateKeeper, CertificateSource
from trio_gateway.cli.vigil import POLL_S, SETTLE_S
from trio_gateway.serving.tls import Certificate, TlsFiles

STUCK_S = 30.0


NOW, DAY = datetime(2027, 3, 1, tzinfo=UTC), timedelta(days=1)


def a_pem(begins: datetime = NOW - DAY, ends: datetime = NOW + 100 * DAY) -> bytes:
    leaf = trustme.CA().issue_cert("localhost", not_before=begins, not_after=ends)
    return bytes(leaf.private_key_and_cert_chain_pem.bytes())


ONE, OTHER = a_pem(), a_pem()
EXPIRED, STALE = a_pem(ends=NOW - DAY / 2), a_pem(ends=NOW - DAY / 4)
EARLY = a_pem(begins=NOW + DAY)


@dataclass
class Kept:
    path: Path
    keeper: CertificateKeeper
    adopted: list[Certificate] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for what a thread does, which takes no virtual time."""
        ends_at = time.monotonic() + STUCK_S
        while not is_so():
            assert time.monotonic() < ends_at, self.lines
            await trio.sleep(POLL_S)

    async def says(self, event: str) -> dict[str, Any]:
        """Wait for one more line; it must be this one, and nothing may follow."""
        before = len(self.lines)
        await self.until(lambda: len(self.lines) > before)
        await trio.sleep(10 * (POLL_S + SETTLE_S))
        assert [line["event"] for line in self.said[before:]] == [event]
        return self.said[-1]


def keep(
    nursery: trio.Nursery, folder: Path, *, is_text: bool = False, pem: bytes = ONE
) -> Kept:
    path = folder / "both.pem"
    path.write_bytes(pem)
    source = CertificateSource.begin(TlsFiles(path))
    adopted: list[Certificate] = []
    lines: list[str] = []
    keeper = CertificateKeeper(
        source,
        adopted.append,
        lines.append,
        is_text=is_text,
        wall_clock=lambda: NOW.timestamp() + trio.current_time(),
    )
    nursery.start_soon(keeper.run)
    return Kept(path, keeper, adopted, lines)


async def test_a_changed_file_is_adopted(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    kept = keep(nursery, tmp_path)
    kept.path.write_bytes(OTHER)
    line = await kept.says("certificate_reloaded")

    assert line["file"] == str(kept.path)
    assert [each.chain for each in kept.adopted] == [OTHER]
    assert "PRIVATE" not in "".join(kept.lines)


async def test_a_wrong_file_changes_nothing_and_is_told_once(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    kept = keep(nursery, tmp_path)
    kept.path.write_bytes(ONE[: len(ONE) // 2])
    line = await kept.says("certificate_refused")
    assert (line["level"], kept.adopted) == ("error", [])
    assert str(kept.path) in line["why"]

    kept.path.unlink()
    assert "No such file" in (await kept.says("certificate_refused"))["why"]
    kept.path.write_bytes(ONE)
    await kept.says("certificate_unchanged")
    assert kept.adopted == []


async def test_a_hangup_reads_it_again_and_says_so(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    kept = keep(nursery, tmp_path)
    kept.keeper.hangup()
    await kept.says("certificate_unchanged")
    assert kept.adopted == []


@pytest.mark.parametrize(
    ("pem", "said"),
    [
        (OTHER, "certificate reloaded"),
        (b"", "certificate refused, the last good one goes on: --tls-cert "),
    ],
)
async def test_a_person_reads_sentences(
    pem: bytes,
    said: str,
    nursery: trio.Nursery,
    tmp_path: Path,
    autojump_clock: MockClock,
) -> None:
    kept = keep(nursery, tmp_path, is_text=True)
    kept.path.write_bytes(pem)
    await kept.until(lambda: bool(kept.lines))
    assert kept.lines[0].startswith(said)


# Dates


@pytest.mark.parametrize(
    ("pem", "why"),
    [
        (EXPIRED, "expired on 2027-02-28 12:00 UTC"),
        (EARLY, "is not valid before 2027-03-02 00:00 UTC"),
    ],
    ids=["expired", "early"],
)
async def test_one_that_is_out_of_its_dates_is_served_and_said_to_be(
    pem: bytes,
    why: str,
    nursery: trio.Nursery,
    tmp_path: Path,
    autojump_clock: MockClock,
) -> None:
    kept = keep(nursery, tmp_path, pem=pem)
    line = await kept.says("certificate_not_valid")

    assert line["level"] == "warning"
    said = f"--tls-cert {kept.path}: {why}: clients will refuse it; renew it"
    assert (line["file"], line["why"]) == (str(kept.path), said)


async def test_one_that_expires_while_it_is_served_is_told_once(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    kept = keep(nursery, tmp_path, pem=a_pem(ends=NOW + timedelta(minutes=5)))
    await trio.sleep(299)
    assert kept.lines == []
    await kept.says("certificate_not_valid")
    await trio.sleep(300)
    assert len(kept.lines) == 1


@pytest.mark.parametrize("pem", [EXPIRED, EARLY], ids=["expired", "early"])
async def test_one_that_clients_accept_is_not_replaced_by_one_that_they_refuse(
    pem: bytes, nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    kept = keep(nursery, tmp_path)
    kept.path.write_bytes(pem)
    line = await kept.says("certificate_refused")

    assert line["why"].startswith(f"--tls-cert {kept.path}: ")
    assert kept.adopted == []


async def test_of_two_that_have_expired_the_newer_is_served(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    kept = keep(nursery, tmp_path, pem=EXPIRED)
    await kept.says("certificate_not_valid")
    kept.path.write_bytes(STALE)
    await kept.until(lambda: len(kept.lines) == 3)

    said = [line["event"] for line in kept.said[1:]]
    assert said == ["certificate_reloaded", "certificate_not_valid"]
    assert [each.chain for each in kept.adopted] == [STALE]


async def test_a_person_reads_a_warning(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    kept = keep(nursery, tmp_path, is_text=True, pem=EXPIRED)
    await kept.until(lambda: bool(kept.lines))
    assert kept.lines[0].startswith(f"warning: --tls-cert {kept.path}: expired on")
