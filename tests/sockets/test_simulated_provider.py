import errno
import json
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing

from tests.chaos.client import Got, Reader, a_request, read_behind_the_port
from trio_gateway.chaos.provider.certificates import ServerTls, make_server_tls
from trio_gateway.chaos.provider.seen import RequestEnding, SeenRequest
from trio_gateway.chaos.provider.server import open_sockets, port_of, serve_provider
from trio_gateway.chaos.vocabulary.answers import ChatRequest, Pace
from trio_gateway.chaos.vocabulary.faults import Fault, parse_fault
from trio_gateway.chaos.worlds.weather import Weather

STREAM = b'{"model":"m","stream":true}'

# What is measured in virtual time elsewhere must at least happen here.
SOON_S = 5.0

FAULTS = (
    *("delay=10ms", "status=529", "error_in_200=1", "malformed_sse", "broken_gzip"),
    *("cut=0", "cut=300", "reset=0", "reset=300", "eof=300", "hang=300"),
    *("reset", "close", "silence", "role_only", "no_finish", "html"),
)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ServerTls:
    return make_server_tls(tmp_path_factory.mktemp("tls"))


async def a_provider(
    nursery: trio.Nursery,
    *faults: Fault,
    on_request: Callable[[SeenRequest], None] | None = None,
    tls: ServerTls | None = None,
) -> int:
    async def serve(*, task_status: trio.TaskStatus[int]) -> None:
        await serve_provider(
            port=0,
            faults=faults,
            pace=Pace(tokens=5),
            tls=tls,
            on_request=on_request,
            task_status=task_status,
        )

    port = await nursery.start(serve)
    assert isinstance(port, int)
    return port


async def connect(port: int, tls: ServerTls | None) -> trio.abc.Stream:
    if tls is None:
        return await trio.open_tcp_stream("127.0.0.1", port)
    context = ssl.create_default_context(cafile=str(tls.ca_pem))
    return await trio.open_ssl_over_tcp_stream(
        "localhost", port, ssl_context=context, https_compatible=True
    )


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest) -> Fault:
    return parse_fault(request.param)


@pytest.fixture
def wanted(fault: Fault) -> Got:
    """What the fault gives in memory, in virtual time."""
    weather = Weather(faults=(fault,), pace=Pace(tokens=5))
    chat = ChatRequest("/v1/chat/completions", STREAM)
    behaviour = weather.behaviour_for(chat, seed=0, number=1)
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(read_behind_the_port, behaviour, clock=clock)


@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "tls"])
async def test_a_fault_on_sockets_is_the_fault_in_memory(
    nursery: trio.Nursery, tls: ServerTls, fault: Fault, wanted: Got, is_secure: bool
) -> None:
    used = tls if is_secure else None
    port = await a_provider(nursery, fault, tls=used)
    stream = await connect(port, used)
    await stream.send_all(a_request(STREAM))
    silent_after = len(wanted.body) if wanted.ending == "silent" else None
    got = await Reader(stream).read(silent_after=silent_after)
    await trio.aclose_forcefully(stream)

    assert (got.status, got.body, got.ending) == (
        wanted.status,
        wanted.body,
        wanted.ending,
    )


async def drain(stream: trio.abc.Stream) -> None:
    while await stream.receive_some():
        pass


async def test_a_reset_is_a_reset_and_not_a_close(nursery: trio.Nursery) -> None:
    port = await a_provider(nursery, parse_fault("reset=10"))
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.send_all(a_request(STREAM))
    with pytest.raises(trio.BrokenResourceError) as broken:
        await drain(stream)
    assert isinstance(broken.value.__cause__, ConnectionResetError)
    await stream.aclose()


async def test_a_cut_over_tls_says_no_goodbye_and_an_end_does(
    nursery: trio.Nursery, tls: ServerTls
) -> None:
    context = ssl.create_default_context(cafile=str(tls.ca_pem))
    for text, is_clean in (("eof=10", True), ("cut=10", False)):
        port = await a_provider(nursery, parse_fault(text), tls=tls)
        stream = await trio.open_ssl_over_tcp_stream(
            "localhost", port, ssl_context=context, https_compatible=False
        )
        await stream.send_all(a_request(STREAM))
        if is_clean:
            await drain(stream)
        else:
            with pytest.raises(trio.BrokenResourceError):
                await drain(stream)
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("text", ["silence", "hang=300", "delay=1m"])
@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "tls"])
async def test_a_client_that_leaves_is_noticed(
    nursery: trio.Nursery, tls: ServerTls, text: str, is_secure: bool
) -> None:
    seen: list[SeenRequest] = []
    has_ended = trio.Event()

    def note(request: SeenRequest) -> None:
        seen.append(request)
        has_ended.set()

    used = tls if is_secure else None
    port = await a_provider(nursery, parse_fault(text), tls=used, on_request=note)
    stream = await connect(port, used)
    await stream.send_all(a_request(STREAM))
    with trio.move_on_after(0.05):
        await drain(stream)
    assert not has_ended.is_set()
    await trio.aclose_forcefully(stream)
    with trio.fail_after(SOON_S):
        await has_ended.wait()
    assert seen[0].ending is RequestEnding.CLIENT_LEFT


async def test_an_http_library_understands_it(
    nursery: trio.Nursery, tls: ServerTls
) -> None:
    seen: list[SeenRequest] = []
    port = await a_provider(nursery, tls=tls, on_request=seen.append)
    context = ssl.create_default_context(cafile=str(tls.ca_pem))
    async with httpx.AsyncClient(
        base_url=f"https://localhost:{port}/v1", verify=context, trust_env=False
    ) as client:
        catalog = await client.get("/models")
        plain = await client.post("/chat/completions", json={"model": "m"})
        stream = await client.post("/chat/completions", content=STREAM)

    assert catalog.json()["object"] == "list"
    assert plain.json()["choices"][0]["finish_reason"] == "stop"
    events = stream.text.strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    assert json.loads(events[0].removeprefix("data: "))["model"] == "m"
    assert [request.ending for request in seen] == [RequestEnding.ANSWERED] * 3


async def test_a_port_in_use_is_said_so(nursery: trio.Nursery) -> None:
    port = await a_provider(nursery)
    with pytest.raises(OSError, match=f"127.0.0.1:{port} is in use; choose") as error:
        await serve_provider(port=port)
    assert error.value.errno == errno.EADDRINUSE


async def test_a_host_with_two_addresses_gets_one_free_port(tls: ServerTls) -> None:
    listeners = await open_sockets("localhost", 0, tls=tls)
    assert len(listeners) == 1
    assert port_of(listeners[0]) > 0
    await listeners[0].aclose()


def test_only_the_authoritys_certificate_is_written_down(tmp_path: Path) -> None:
    tls = make_server_tls(tmp_path)
    assert list(tmp_path.iterdir()) == [tls.ca_pem]
    assert b"PRIVATE KEY" not in tls.ca_pem.read_bytes()
