"""A changed certificate is taken over, a wrong one is not and is told once.

Files are real and read in real threads; the time between two looks is virtual.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
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


def a_pem() -> bytes:
    leaf = trustme.CA().issue_cert("localhost")
    return bytes(leaf.private_key_and_cert_chain_pem.bytes())


ONE, OTHER = a_pem(), a_pem()


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


def keep(nursery: trio.Nursery, folder: Path, *, is_text: bool = False) -> Kept:
    path = folder / "both.pem"
    path.write_bytes(ONE)
    source = CertificateSource.begin(TlsFiles(path))
    adopted: list[Certificate] = []
    lines: list[str] = []
    keeper = CertificateKeeper(source, adopted.append, lines.append, is_text=is_text)
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
