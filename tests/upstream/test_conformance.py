"""What every `Upstream` does alike: the real one, here and on sockets, and chaos's.

The cases are scripts. Against the real upstream they are played by a raw server here.
"""

import math
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from tests.upstream.peers import (
    Authority,
    Peer,
    Place,
    a_call,
    a_port_nobody_listens_on,
    a_port_that_swallows,
    in_memory,
    on_sockets,
)
from trio_gateway.chaos.upstream import ScriptedUpstream
from trio_gateway.chaos.vocabulary.script import (
    Behaviour,
    Ending,
    Pause,
    Refusal,
    Script,
    Send,
)
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.relay.leash import Leash
from trio_gateway.relay.port import Upstream, UpstreamStream
from trio_gateway.upstream.http import HttpUpstream
from trio_gateway.upstream.pool import PooledUpstream

HELLO = (Send(b"hel"), Send(b"lo"))
NOT_CONNECTING = (Refusal.CONNECT_REFUSED, Refusal.CONNECT_HANG)
LENGTH_5 = (("Content-Type", "text/plain"), ("Content-Length", "5"))


@dataclass
class World:
    """An upstream, and what its provider will do with the next calls."""

    behaviours: deque[Behaviour] = field(default_factory=deque)
    base_url: str = "http://provider.test"
    has_seam: bool = True
    place: Place | None = None
    ca_file: str | None = None
    upstream: Upstream = field(init=False)

    async def open(
        self, behaviour: Behaviour, *, connect_by: float = math.inf
    ) -> UpstreamStream | Failure:
        self.behaviours.append(behaviour)
        with self.url_for(behaviour) as base_url:
            call = a_call(base_url, connect_by=connect_by, ca_file=self.ca_file)
            return await self.upstream.open(call)

    @contextmanager
    def url_for(self, behaviour: Behaviour) -> Iterator[str]:
        """Lead elsewhere where nothing but an address can: on bare sockets."""
        if self.has_seam or behaviour not in NOT_CONNECTING:
            yield self.base_url
        elif behaviour is Refusal.CONNECT_REFUSED:
            yield f"http://127.0.0.1:{a_port_nobody_listens_on()}"
        else:
            with a_port_that_swallows() as port:
                yield f"http://127.0.0.1:{port}"

    async def stream(self, behaviour: Behaviour) -> UpstreamStream:
        stream = await self.open(behaviour)
        assert not isinstance(stream, Failure)
        return stream

    async def serve(self, peer: Peer) -> None:
        while await peer.request() is not None:
            await play(self.behaviours.popleft(), peer)

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        assert self.place is not None
        if self.behaviours[0] is Refusal.CONNECT_HANG:
            await trio.sleep_forever()
        if self.behaviours[0] is Refusal.CONNECT_REFUSED:
            port = a_port_nobody_listens_on()
        return await self.place.connect(host, port)

    async def assert_nothing_is_open(self) -> None:
        """All connections are closed, as soon as the provider can have noticed."""
        if isinstance(self.upstream, ScriptedUpstream):
            assert not self.upstream.left_open
        else:
            assert self.place is not None
            with trio.fail_after(5):
                await self.place.wait_all_closed()


async def play(behaviour: Behaviour, peer: Peer) -> None:
    match behaviour:
        case Refusal.RESET:
            peer.reset()
        case Refusal.CLOSE:
            await peer.stream.aclose()
        case Script():
            await play_script(behaviour, peer)
        case _:
            await peer.until_the_client_leaves()


async def play_script(script: Script, peer: Peer) -> None:
    """Frame a body by its declared length, else by its end, else in chunks."""
    is_chunked = (
        script.ending is not Ending.EOF
        and "content-length" not in dict(script.headers)
        and "Content-Length" not in dict(script.headers)
    )
    fields = [*script.headers]
    if is_chunked:
        fields.append(("transfer-encoding", "chunked"))
    lines = [f"HTTP/1.1 {script.status} Whatever"]
    lines += [f"{name}: {value}" for name, value in fields]
    await trio.sleep(script.head_after_s)
    await peer.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
    for step in script.steps:
        match step:
            case Pause(seconds):
                await trio.sleep(seconds)
            case Send(data):
                chunk = b"%x\r\n%b\r\n" % (len(data), data)
                await peer.send(chunk if is_chunked else data)
    match script.ending:
        case Ending.CLEAN:
            await peer.send(b"0\r\n\r\n" if is_chunked else b"")
        case Ending.CUT | Ending.EOF | Ending.UNTERMINATED:
            await peer.stream.aclose()
        case Ending.RESET:
            await trio.sleep(0.01)  # so that what was sent is read
            peer.reset()
        case Ending.HANG:
            await peer.until_the_client_leaves()


@pytest.fixture(
    params=[
        "http in memory",
        "http on sockets",
        "pool in memory",
        "pool in memory over TLS",
        "pool on streams",
        "pool on sockets",
        "pool on sockets over TLS",
        "scripted",
    ]
)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock(kind: str) -> trio.testing.MockClock | None:
    """Virtual time, where there are no sockets."""
    is_real = "in memory" not in kind and kind != "scripted"
    return None if is_real else trio.testing.MockClock(autojump_threshold=0)


@pytest.fixture
async def world(kind: str, authority: Authority) -> AsyncIterator[World]:
    world = World()
    if kind == "scripted":
        world.upstream = ScriptedUpstream(lambda _: world.behaviours.popleft())
        yield world
        return
    serve = in_memory if "in memory" in kind else on_sockets
    trust = authority.server if "TLS" in kind else None
    world.has_seam = not kind.startswith("pool on sockets")
    world.ca_file = authority.ca_file if trust else None
    make = HttpUpstream if kind.startswith("http") else PooledUpstream
    connect = world.connect if world.has_seam else None
    async with (
        serve(world.serve, trust=trust) as place,
        make(connect=connect) as upstream,
    ):
        world.place, world.base_url, world.upstream = place, place.base_url, upstream
        yield world


Clock = trio.testing.MockClock | None


async def read(stream: UpstreamStream) -> tuple[bytes, Failure | None]:
    """Read to the end; the body, and how it failed."""
    body = b""
    while data := await stream.receive():
        if isinstance(data, Failure):
            return body, data
        body += data
    return body, None


# Answers


@pytest.mark.parametrize("headers", [LENGTH_5, ()], ids=["length", "chunked"])
async def test_a_clean_answer_is_whole_and_its_end_stays(
    world: World, clock: Clock, headers: tuple[tuple[str, str], ...]
) -> None:
    stream = await world.stream(Script(steps=HELLO, headers=headers))
    assert stream.status == 200
    assert await read(stream) == (b"hello", None)
    assert [await stream.receive() for _ in range(3)] == [b"", b"", b""]
    await stream.aclose()


async def test_the_fields_of_an_answer_are_exact_and_their_names_in_lower_case(
    world: World, clock: Clock
) -> None:
    headers = (*LENGTH_5, ("X-Name", "caf\xe9"), ("X-Twice", "1"), ("X-Twice", "2"))
    stream = await world.stream(Script(steps=HELLO, headers=headers))
    assert list(stream.headers) == [
        (b"content-type", b"text/plain"),
        (b"content-length", b"5"),
        (b"x-name", b"caf\xe9"),
        (b"x-twice", b"1"),
        (b"x-twice", b"2"),
    ]
    await stream.aclose()


@pytest.mark.parametrize("status", [302, 401, 429, 500])
async def test_an_answer_of_any_status_is_an_answer(
    world: World, clock: Clock, status: int
) -> None:
    stream = await world.stream(Script(status=status, steps=HELLO))
    assert stream.status == status
    assert await read(stream) == (b"hello", None)
    await stream.aclose()


async def test_an_empty_body_is_a_clean_end(world: World, clock: Clock) -> None:
    stream = await world.stream(Script(headers=(("content-length", "0"),)))
    assert await stream.receive() == b""
    await stream.aclose()


async def test_a_head_and_a_body_may_take_their_time(
    world: World, clock: Clock
) -> None:
    pauses = (Send(b"hel"), Pause(0.05), Send(b"lo"))
    started_at = trio.current_time()
    stream = await world.stream(Script(head_after_s=0.05, steps=pauses))
    assert trio.current_time() - started_at >= 0.049
    assert await stream.receive() == b"hel"
    assert await read(stream) == (b"lo", None)
    assert trio.current_time() - started_at >= 0.099
    await stream.aclose()


async def test_a_body_that_ends_with_its_connection_is_whole(
    world: World, clock: Clock
) -> None:
    stream = await world.stream(Script(steps=HELLO, ending=Ending.EOF))
    assert await read(stream) == (b"hello", None)
    await stream.aclose()


async def test_a_large_body_comes_whole(world: World, clock: Clock) -> None:
    pieces = [bytes([number]) * 100_000 for number in range(30)]
    stream = await world.stream(Script(steps=tuple(map(Send, pieces))))
    assert await read(stream) == (b"".join(pieces), None)
    await stream.aclose()


async def test_one_answer_after_another(world: World, clock: Clock) -> None:
    for _ in range(4):
        stream = await world.stream(Script(steps=HELLO))
        assert await read(stream) == (b"hello", None)
        await stream.aclose()
    assert world.place is None or world.place.connections == 1


# No answer


async def test_a_refused_connect_is_a_failure_to_connect(
    world: World, clock: Clock
) -> None:
    outcome = await world.open(Refusal.CONNECT_REFUSED)
    assert outcome == Failure(FailureClass.CONNECT, "connection refused")


async def test_a_hanging_connect_ends_when_it_was_to_be_made_by(
    world: World, clock: Clock
) -> None:
    limit = trio.current_time() + 0.05
    outcome = await world.open(Refusal.CONNECT_HANG, connect_by=limit)
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureClass.CONNECT
    assert trio.current_time() == limit if clock else trio.current_time() >= limit


@pytest.mark.parametrize("refusal", [Refusal.CLOSE, Refusal.RESET])
async def test_a_new_connection_that_ends_without_an_answer_is_a_reset(
    world: World, clock: Clock, refusal: Refusal
) -> None:
    outcome = await world.open(refusal)
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureClass.RESET
    await world.assert_nothing_is_open()


async def test_silence_lasts_until_the_caller_leaves_and_then_frees_all(
    world: World, clock: Clock
) -> None:
    with trio.move_on_after(0.05) as scope:
        await world.open(Refusal.SILENCE)
    assert scope.cancelled_caught
    await world.assert_nothing_is_open()

    stream = await world.stream(Script(steps=HELLO))
    assert await read(stream) == (b"hello", None)
    await stream.aclose()


# Half an answer


@pytest.mark.parametrize("ending", [Ending.CUT, Ending.RESET])
@pytest.mark.parametrize(
    "headers", [(("content-length", "9"),), ()], ids=["length", "chunked"]
)
async def test_a_body_that_breaks_is_interrupted(
    world: World,
    clock: Clock,
    ending: Ending,
    headers: tuple[tuple[str, str], ...],
) -> None:
    stream = await world.stream(Script(steps=HELLO, ending=ending, headers=headers))
    body, failure = await read(stream)
    assert body == b"hello"
    assert failure is not None
    assert failure.kind is FailureClass.INTERRUPTED
    assert await stream.receive() == failure
    await stream.aclose()
    await world.assert_nothing_is_open()


async def test_a_body_that_hangs_is_left_and_freed(world: World, clock: Clock) -> None:
    stream = await world.stream(Script(steps=HELLO, ending=Ending.HANG))
    with trio.move_on_after(0.05) as scope:
        await read(stream)
    assert scope.cancelled_caught
    await stream.aclose()
    await world.assert_nothing_is_open()


async def test_an_answer_that_nobody_reads_is_freed(world: World, clock: Clock) -> None:
    stream = await world.stream(Script(steps=HELLO, ending=Ending.HANG))
    await stream.aclose()
    await world.assert_nothing_is_open()


@pytest.mark.parametrize("connect_hangs", [True, False], ids=["connect", "head"])
async def test_a_leash_that_is_cut_ends_the_wait_for_an_answer(
    world: World, clock: Clock, *, connect_hangs: bool
) -> None:
    behaviour = Refusal.CONNECT_HANG if connect_hangs else Refusal.SILENCE
    world.behaviours.append(behaviour)
    with world.url_for(behaviour) as base_url:
        connect_by = trio.current_time() + 60
        call = a_call(base_url, connect_by=connect_by, ca_file=world.ca_file)
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cut_later, call.leash)
                assert isinstance(await world.upstream.open(call), Failure)
    await world.assert_nothing_is_open()


async def test_a_leash_that_is_cut_ends_the_wait_for_more_of_a_body(
    world: World, clock: Clock
) -> None:
    script = Script(steps=(Send(b"hel"),), ending=Ending.HANG)
    world.behaviours.append(script)
    with world.url_for(script) as base_url:
        connect_by = trio.current_time() + 60
        call = a_call(base_url, connect_by=connect_by, ca_file=world.ca_file)
        stream = await world.upstream.open(call)
        assert not isinstance(stream, Failure)
        assert await stream.receive() == b"hel"
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cut_later, call.leash)
                assert isinstance(await stream.receive(), Failure)
        await stream.aclose()
    await world.assert_nothing_is_open()


async def test_a_leash_that_is_cut_after_the_close_spoils_nothing(
    world: World, clock: Clock
) -> None:
    for _ in range(3):
        script = Script(steps=HELLO)
        world.behaviours.append(script)
        with world.url_for(script) as base_url:
            connect_by = trio.current_time() + 60
            call = a_call(base_url, connect_by=connect_by, ca_file=world.ca_file)
            stream = await world.upstream.open(call)
            assert not isinstance(stream, Failure)
            assert await read(stream) == (b"hello", None)
            await stream.aclose()
            call.leash.cut()
    assert world.place is None or world.place.connections == 1


async def cut_later(leash: Leash) -> None:
    await trio.sleep(0.05)
    leash.cut()


@pytest.mark.parametrize("headers", [LENGTH_5, ()], ids=["length", "chunked"])
async def test_the_rest_is_all_or_nothing(
    world: World, clock: Clock, headers: tuple[tuple[str, str], ...]
) -> None:
    stream = await world.stream(Script(steps=HELLO, headers=headers))
    await trio.sleep(0.05)
    rest = stream.take_rest()
    assert rest in (None, b"hello")
    if rest is None:
        assert await read(stream) == (b"hello", None)
    assert await stream.receive() == b""
    await stream.aclose()


async def test_there_is_no_rest_of_a_body_that_is_still_to_come(
    world: World, clock: Clock
) -> None:
    script = Script(steps=(Send(b"hel"), Pause(0.05), Send(b"lo")))
    stream = await world.stream(script)
    assert stream.take_rest() is None
    assert await stream.receive() == b"hel"
    assert stream.take_rest() is None
    assert await read(stream) == (b"lo", None)
    assert stream.take_rest() is None
    await stream.aclose()
