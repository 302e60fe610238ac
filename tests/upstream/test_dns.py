"""Names into addresses: remembered, asked for once at a time, never lost to nothing."""

import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from trio_gateway.upstream.dns import (
    Address,
    Answer,
    Resolver,
    in_a_thread,
)

UNKNOWN = socket.gaierror(socket.EAI_NONAME, "not known")
NEVER = float("inf")


def v4(number: int) -> Address:
    return Address(socket.AF_INET, (f"192.0.2.{number}", 443))


def v6(number: int) -> Address:
    return Address(socket.AF_INET6, (f"2001:db8::{number}", 443, 0, 0))


@dataclass
class NameServer:
    """Answers after a while; what is being asked now, and how often each was asked."""

    nursery: trio.Nursery
    answers: dict[str, Answer] = field(default_factory=dict)
    takes_s: dict[str, float] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    def look_up(self, host: str, port: int, deliver: Callable[[Answer], None]) -> None:
        self.asked[host] += 1
        self.nursery.start_soon(self._answer, host, deliver)

    async def _answer(self, host: str, deliver: Callable[[Answer], None]) -> None:
        await trio.sleep(self.takes_s.get(host, 0.01))
        deliver(self.answers[host])


@pytest.fixture
def names(nursery: trio.Nursery) -> NameServer:
    return NameServer(nursery, answers={"a.test": [v4(1)], "b.test": [v4(2)]})


@pytest.fixture
def resolver(names: NameServer) -> Resolver:
    return Resolver(names.look_up)


async def test_an_answer_is_good_for_a_minute(
    autojump_clock: trio.testing.MockClock, names: NameServer, resolver: Resolver
) -> None:
    assert await resolver.addresses("a.test", 443) == [v4(1)]
    names.answers["a.test"] = [v4(9)]
    await trio.sleep(59)
    assert await resolver.addresses("a.test", 443) == [v4(1)]
    assert names.asked["a.test"] == 1
    await trio.sleep(2)
    assert await resolver.addresses("a.test", 443) == [v4(9)]
    assert names.asked["a.test"] == 2


@pytest.mark.parametrize("bad", [UNKNOWN, OSError("no network"), []])
async def test_an_old_answer_is_better_than_none_for_an_hour(
    autojump_clock: trio.testing.MockClock,
    names: NameServer,
    resolver: Resolver,
    bad: Answer,
) -> None:
    await resolver.addresses("a.test", 443)
    names.answers["a.test"] = bad
    for _ in range(59):
        await trio.sleep(61)
        assert await resolver.addresses("a.test", 443) == [v4(1)]
    await trio.sleep(10)
    with pytest.raises(OSError, match=r"not known|no network|no address"):
        await resolver.addresses("a.test", 443)


async def test_a_name_server_that_fails_is_not_asked_by_every_exchange(
    autojump_clock: trio.testing.MockClock, names: NameServer, resolver: Resolver
) -> None:
    await resolver.addresses("a.test", 443)
    names.answers["a.test"] = UNKNOWN
    await trio.sleep(61)
    for _ in range(100):
        await resolver.addresses("a.test", 443)
        await trio.sleep(0.1)
    assert 2 <= names.asked["a.test"] <= 4


async def test_a_name_server_that_hangs_holds_nobody_up_who_has_an_old_answer(
    autojump_clock: trio.testing.MockClock, names: NameServer, resolver: Resolver
) -> None:
    await resolver.addresses("a.test", 443)
    names.takes_s["a.test"] = 30
    await trio.sleep(61)
    started_at = trio.current_time()
    assert await resolver.addresses("a.test", 443) == [v4(1)]
    assert trio.current_time() == started_at + 0.5
    for _ in range(40):  # for as long as it trusts the old one again
        await trio.sleep(0.1)
        before = trio.current_time()
        await resolver.addresses("a.test", 443)
        assert trio.current_time() == before
    assert names.asked["a.test"] == 2


async def test_many_ask_at_once_and_the_name_server_is_asked_once(
    autojump_clock: trio.testing.MockClock, names: NameServer, resolver: Resolver
) -> None:
    found: list[object] = []

    async def ask() -> None:
        found.append(await resolver.addresses("a.test", 443))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
    assert found == [[v4(1)]] * 20
    assert names.asked["a.test"] == 1


async def test_all_who_wait_hear_of_a_failure_and_the_next_one_asks_anew(
    autojump_clock: trio.testing.MockClock, names: NameServer, resolver: Resolver
) -> None:
    names.answers["a.test"] = UNKNOWN
    failed = 0

    async def ask() -> None:
        nonlocal failed
        with pytest.raises(socket.gaierror):
            await resolver.addresses("a.test", 443)
        failed += 1

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
    assert failed == 5
    assert names.asked["a.test"] == 1
    names.answers["a.test"] = [v4(1)]
    assert await resolver.addresses("a.test", 443) == [v4(1)]


async def test_a_slow_answer_is_remembered_even_if_nobody_has_waited_for_it(
    autojump_clock: trio.testing.MockClock, names: NameServer, resolver: Resolver
) -> None:
    names.takes_s["a.test"] = 3
    for _ in range(2):
        with trio.move_on_after(1) as patience:
            await resolver.addresses("a.test", 443)
        assert patience.cancelled_caught
    await trio.sleep(1.5)
    started_at = trio.current_time()
    assert await resolver.addresses("a.test", 443) == [v4(1)]
    assert trio.current_time() == started_at
    assert names.asked["a.test"] == 1


async def test_a_name_that_hangs_does_not_hold_up_another(
    autojump_clock: trio.testing.MockClock, names: NameServer, resolver: Resolver
) -> None:
    names.takes_s["a.test"] = NEVER
    with trio.move_on_after(1):
        await resolver.addresses("a.test", 443)
    with trio.fail_after(1):
        assert await resolver.addresses("b.test", 443) == [v4(2)]


async def test_addresses_that_nobody_answered_at_are_asked_for_anew(
    autojump_clock: trio.testing.MockClock, names: NameServer, resolver: Resolver
) -> None:
    await resolver.addresses("a.test", 443)
    names.answers["a.test"] = [v4(9)]
    resolver.doubt("a.test", 443)
    resolver.doubt("unheard.test", 443)
    assert await resolver.addresses("a.test", 443) == [v4(9)]


async def test_the_families_take_turns_and_the_favourite_comes_first(
    autojump_clock: trio.testing.MockClock, names: NameServer, resolver: Resolver
) -> None:
    names.answers["a.test"] = [v6(1), v6(2), v6(3), v4(1)]
    assert await resolver.addresses("a.test", 443) == [v6(1), v4(1), v6(2), v6(3)]
    names.answers["b.test"] = [v4(number) for number in range(50)]
    assert len(await resolver.addresses("b.test", 443)) == 16


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.0.2.1", [v4(1)]),
        ("2001:db8::1", [v6(1)]),
        (
            "localhost",
            [
                Address(socket.AF_INET, ("127.0.0.1", 443)),
                Address(socket.AF_INET6, ("::1", 443, 0, 0)),
            ],
        ),
    ],
)
async def test_an_address_and_this_machine_need_no_name_server(
    names: NameServer, resolver: Resolver, host: str, expected: list[Address]
) -> None:
    assert await resolver.addresses(host, 443) == expected
    assert not names.asked


async def test_names_are_bounded_and_never_looked_up_twice_at_once(
    autojump_clock: trio.testing.MockClock, names: NameServer, resolver: Resolver
) -> None:
    for number in range(1_000):
        names.answers[f"{number}.test"] = [v4(1)]
        await resolver.addresses(f"{number}.test", 443)
    assert len(resolver._names) == 256

    for number in range(256):
        names.takes_s[f"hung{number}.test"] = NEVER
        with trio.move_on_after(0.001):
            await resolver.addresses(f"hung{number}.test", 443)
    with pytest.raises(OSError, match="too many"):
        await resolver.addresses("a.test", 443)


async def test_the_systems_resolver_is_asked_in_a_thread() -> None:
    resolver = Resolver(in_a_thread)
    with trio.fail_after(30):
        with pytest.raises(socket.gaierror):  # a label is never that long
            await resolver.addresses(f"{'a' * 64}.test", 443)


async def test_a_thread_that_answers_brings_addresses() -> None:
    answers: list[Answer] = []
    answered = trio.Event()

    def deliver(answer: Answer) -> None:
        answers.append(answer)
        answered.set()

    in_a_thread("127.0.0.1", 443, deliver)
    with trio.fail_after(30):
        await answered.wait()
    assert answers == [[Address(socket.AF_INET, ("127.0.0.1", 443))]]
