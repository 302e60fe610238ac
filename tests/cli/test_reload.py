"""A changed file is taken over, a wrong one is not; whatever comes, the gateway serves.

Files are real and read in real threads; the time between two looks is virtual.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.factories import KEY
from tests.relay.driver import a_body
from tests.web.house import House, a_house
from trio_gateway.cli.reload import Reloader
from trio_gateway.cli.vigil import POLL_S, SETTLE_S
from trio_gateway.cli.watch import WatchedFiles
from trio_gateway.policy.files.problems import PROBLEMS_SHOWN_MAX
from trio_gateway.policy.load import load_policy
from trio_gateway.policy.route import Account, Policy
from trio_gateway.web.gateway import PolicyNews, PolicyRefusal

GOOD = """\
version: 1
providers: {a: {base_url: "http://a.test/v1", api_key: "${file:secret}"}}
access_keys: [{name: tester, key: "${KEY}"}]
models: {chat: {targets: [{provider: a, model: m}]}}
"""
STUCK_S = 30.0
# Long enough for a change to be seen, to come to rest and to be read.
SOON_S = 10 * (POLL_S + SETTLE_S)


@dataclass
class Told:
    """What the reloader said, in order."""

    said: list[object] = field(default_factory=list)
    kept: list[list[str]] = field(default_factory=list)
    loads: int = 0

    def loaded(self, policy: Policy, news: PolicyNews) -> None:
        self.said.append(news.changes)

    def refused(self, refusal: PolicyRefusal) -> None:
        self.said.append(refusal)

    def unchanged(self) -> None:
        self.said.append("unchanged")

    async def retain(self, accounts: object) -> None:
        assert isinstance(accounts, type({}.values()))
        kept: list[Account] = list(accounts)
        self.kept.append([account.name for account in kept])
        await trio.lowlevel.checkpoint()


@dataclass
class Served:
    """A gateway whose policy is watched."""

    folder: Path
    house: House
    told: Told
    reloader: Reloader

    @property
    def path(self) -> Path:
        return self.folder / "policy.yaml"

    async def settled(self) -> None:
        """Wait until every change so far was seen and dealt with."""
        await trio.sleep(SOON_S)
        await self.until(lambda: self.reloader.files.look() == self.reloader.seen)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for what a thread does, which takes no virtual time."""
        ends_at = time.monotonic() + STUCK_S
        while not is_so():
            assert time.monotonic() < ends_at, self.told.said
            await trio.sleep(POLL_S)

    def metric(self, name: str) -> float:
        for line in self.house.gateway.metrics.render().decode().splitlines():
            if line.startswith(f"trio_gateway_policy_{name}"):
                return float(line.rpartition(" ")[2])
        return 0.0


async def serving(nursery: trio.Nursery, folder: Path) -> Served:
    (folder / "secret").write_text("sk-one")
    path = folder / "policy.yaml"
    path.write_text(GOOD)
    files, told = WatchedFiles(path, {}), Told()
    files.scan()
    seen = files.look()
    load = partial(load_policy, path, environ={"KEY": KEY})
    house = a_house(load(), a=[a_body()])

    def counted() -> Policy:
        told.loads += 1
        return load()

    reloader = Reloader(
        files=files,
        seen=seen,
        load=counted,
        gateway=house.gateway,
        retain=told.retain,
        on_loaded=told.loaded,
        on_refused=told.refused,
        on_unchanged=told.unchanged,
    )
    nursery.start_soon(reloader.run)
    await trio.testing.wait_all_tasks_blocked()
    return Served(folder, house, told, reloader)


async def test_nothing_is_read_while_nothing_changes(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    served = await serving(nursery, tmp_path)
    await served.settled()
    assert served.told.loads == 0
    assert served.told.said == []


async def test_a_saved_file_is_taken_over_with_all_that_hangs_on_it(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    served = await serving(nursery, tmp_path)
    gateway, old = served.house.gateway, served.house.gateway.policy
    new = GOOD.replace("chat:", "talk:").replace("name: tester", "name: other")
    served.path.write_text(new)
    await served.settled()

    assert gateway.policy != old
    assert list(gateway.policy.routes) == ["talk"]
    assert gateway.metrics.slugs is gateway.policy.routes
    key = gateway.keyring.find(f"Bearer {KEY}", wall_now=0.0)
    assert key is not None
    assert key.name == "other"
    assert served.told.kept == [["a"]]
    assert gateway.news.number == 2
    assert gateway.news.loaded_at > 0
    assert served.told.said == [gateway.news.changes]
    assert "model talk: added" in gateway.news.changes
    assert served.metric('reloads_total{outcome="loaded"}') == 1
    assert (await served.house.chat(model="talk")).status == 200


async def test_a_wrong_file_changes_nothing_and_is_reported_once_in_whole(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    served = await serving(nursery, tmp_path)
    gateway, old = served.house.gateway, served.house.gateway.policy
    served.path.write_text("version: 1\nmodls: {}\nproviders: {}\n")
    await served.settled()
    await served.settled()

    assert gateway.policy is old
    assert gateway.is_ready
    (refusal,) = served.told.said
    assert isinstance(refusal, PolicyRefusal)
    assert any("Did you mean models?" in line for line in refusal.report)
    assert any("providers" in line for line in refusal.report)
    assert gateway.news.last_refusal is refusal
    assert gateway.news.are_files_refused
    assert gateway.news.number == 1
    assert served.metric("refused") == 1
    assert served.metric('reloads_total{outcome="refused"}') == 1
    assert (await served.house.chat()).status == 200


async def test_the_old_text_again_ends_the_refusal_and_is_no_new_policy(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    served = await serving(nursery, tmp_path)
    old = served.house.gateway.policy
    served.path.write_text("nonsense")
    await served.settled()
    served.path.write_text(GOOD)
    await served.settled()

    assert served.told.said[1:] == ["unchanged"]
    assert served.house.gateway.policy is old
    assert not served.house.gateway.news.are_files_refused
    assert served.house.gateway.news.last_refusal is not None
    assert served.metric("refused") == 0


async def test_a_changed_secret_is_read_again(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    served = await serving(nursery, tmp_path)
    (tmp_path / "secret").write_text("sk-two")
    await served.settled()

    api_key = served.house.gateway.policy.accounts["a"].api_key
    assert api_key is not None
    assert api_key.reveal == "sk-two"
    assert served.told.said == [("provider a: api_key changed",)]


async def test_a_hangup_reads_at_once_and_says_so_even_of_nothing_new(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    served = await serving(nursery, tmp_path)
    served.reloader.hangup()
    await served.until(lambda: served.told.said == ["unchanged"])
    assert served.told.loads == 1

    served.path.write_text("nonsense")
    await served.until(lambda: len(served.told.said) == 2)
    served.reloader.hangup()
    await served.until(lambda: len(served.told.said) == 3)
    assert isinstance(served.told.said[2], PolicyRefusal)  # whoever asks is answered


async def test_a_file_that_is_written_in_steps_is_read_when_it_rests(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    served = await serving(nursery, tmp_path)
    lines = GOOD.replace("model: m", "model: m2").splitlines(keepends=True)
    with served.path.open("w") as file:
        for line in lines:
            file.write(line)
            file.flush()
            await trio.sleep(SETTLE_S * 0.6)
    await served.settled()

    assert served.told.said == [("model chat: targets: a/m -> a/m2",)]
    assert served.told.loads == 1


async def test_a_folder_that_is_gone_for_a_while_is_waited_for(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    served = await serving(nursery, tmp_path)
    served.path.unlink()
    await served.settled()
    (refusal,) = served.told.said
    assert isinstance(refusal, PolicyRefusal)
    assert "cannot be read" in refusal.report[0]

    served.path.write_text(GOOD.replace("model: m", "model: m2"))
    await served.settled()
    assert served.told.said[1:] == [("model chat: targets: a/m -> a/m2",)]


async def test_a_report_without_end_is_cut_short(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    served = await serving(nursery, tmp_path)
    junk = "".join(f"junk{number}: 1\n" for number in range(1000))
    served.path.write_text(junk)
    await served.settled()

    (refusal,) = served.told.said
    assert isinstance(refusal, PolicyRefusal)
    assert len(refusal.report) == PROBLEMS_SHOWN_MAX + 1
    assert refusal.report[-1].endswith(" more")


class LoaderError(Exception):
    """A bug of ours."""


async def test_a_bug_of_ours_in_judging_it_does_not_stop_the_gateway(
    nursery: trio.Nursery,
    tmp_path: Path,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> Policy:
        raise LoaderError

    served = await serving(nursery, tmp_path)
    served.reloader.load = broken
    served.path.write_text(GOOD + "\n")
    await served.settled()

    (refusal,) = served.told.said
    assert isinstance(refusal, PolicyRefusal)
    assert refusal.report == ("it could not be judged: see the log",)
    assert "LoaderError" in caplog.text
    assert (await served.house.chat()).status == 200


async def test_a_bug_of_ours_in_telling_it_does_not_stop_the_gateway(
    nursery: trio.Nursery,
    tmp_path: Path,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    served = await serving(nursery, tmp_path)
    load: Callable[[], Policy] = served.reloader.load

    def untellable() -> Policy:
        """A key whose end is no date, as no file can have it."""
        policy = load()
        (key,) = policy.access_keys
        return replace(policy, access_keys=(replace(key, expires_at=1e12),))

    served.reloader.load = untellable
    served.path.write_text(GOOD + "\n")
    await served.settled()

    (refusal,) = served.told.said
    assert isinstance(refusal, PolicyRefusal)
    assert refusal.report == ("it could not be judged: see the log",)
    assert "out of range" in caplog.text
    assert (await served.house.chat()).status == 200


async def test_what_changes_while_it_is_read_is_read_again(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    served = await serving(nursery, tmp_path)
    load: Callable[[], Policy] = served.reloader.load

    def slow() -> Policy:
        """The file is saved again right after it was read."""
        policy = load()
        if "m3" not in served.path.read_text():
            served.path.write_text(GOOD.replace("model: m", "model: m3"))
        return policy

    served.reloader.load = slow
    served.path.write_text(GOOD.replace("model: m", "model: m2"))
    await served.settled()

    assert list(served.told.said) == [
        ("model chat: targets: a/m -> a/m2",),
        ("model chat: targets: a/m2 -> a/m3",),
    ]
