"""`serve --tls-cert` as a process: real clients, new certificates, several workers."""

import os
import signal
import socket
import ssl
from functools import partial
from pathlib import Path
from typing import Any, get_args

import httpx
import openai
import pytest
import trio
import trustme

from tests.factories import KEY
from tests.serving.doors import dial
from tests.sockets.gateway import (
    STUCK_S,
    chat_body,
    chat_request,
    curl_can,
    eventually,
)
from tests.sockets.test_gateway_process import (
    ENDLESS,
    Served,
    serve_in_a_process,
)
from tests.sockets.test_workers import pids
from trio_gateway.chaos.provider.seen import RequestEnding, SeenRequest
from trio_gateway.chaos.vocabulary.answers import DONE, Pace
from trio_gateway.serving.server import ServerKind

AUTHORITY = trustme.CA()
SOME = Pace(tokens=10, gap_s=0.02)
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}


def write_certificate(path: Path, *names: str) -> None:
    """As careful operators do: all at once, by a rename."""
    leaf = AUTHORITY.issue_cert(*names, "127.0.0.1")
    new = path.with_suffix(".new")
    new.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    new.rename(path)


def trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


async def serve_tls(
    nursery: trio.Nursery, folder: Path, *options: str, **how: Any
) -> tuple[Served, Path]:
    pem = folder / "both.pem"
    write_certificate(pem, "one")
    options = ("--tls-cert", str(pem), *options)
    return await serve_in_a_process(nursery, folder, options=options, **how), pem


def is_shown(name: str, port: int) -> bool:
    """Whether a new connection is shown a certificate of this name."""
    try:
        stream = socket.create_connection(("127.0.0.1", port), STUCK_S)
        with trust().wrap_socket(stream, server_hostname=name):
            return True
    except ssl.SSLCertVerificationError:
        return False


@pytest.mark.parametrize("is_http_2", [False, True])
@pytest.mark.parametrize("server", get_args(ServerKind))
async def test_clients_that_verify_get_answers_and_streams_and_may_leave(
    server: ServerKind, is_http_2: bool, nursery: trio.Nursery, tmp_path: Path
) -> None:
    version = "HTTP/2" if is_http_2 and server == "hypercorn" else "HTTP/1.1"
    seen: list[SeenRequest] = []
    served, _ = await serve_tls(
        nursery, tmp_path, "--server", server, pace=SOME, seen=seen
    )
    assert served.clients.startswith("https://127.0.0.1:")
    assert served.admin.startswith("http://127.0.0.1:")

    async with httpx.AsyncClient(
        base_url=served.clients,
        verify=trust(),
        trust_env=False,
        headers=HEADERS,
        http2=is_http_2,
    ) as client:
        url = "/v1/chat/completions"
        answer = await client.post(url, content=chat_body(stream=False))
        assert (answer.http_version, answer.status_code) == (version, 200)
        async with client.stream("POST", url, content=chat_body(stream=True)) as flow:
            assert (await flow.aread()).endswith(DONE)
        assert (await client.get(f"{served.admin}/readyz")).status_code == 200
    ask = partial(_ask_officially, served.clients, is_http_2=is_http_2)
    assert await trio.to_thread.run_sync(ask)

    stream = await a_tls_stream(served)
    await trio.aclose_forcefully(stream)
    assert await eventually(lambda: len(seen) == 4)
    endings = [request.ending for request in seen]
    assert endings == [RequestEnding.ANSWERED] * 3 + [RequestEnding.CLIENT_LEFT]
    await served.says("exchange", words='"cancelled"')


def _ask_officially(clients: str, *, is_http_2: bool) -> str:
    with (
        httpx.Client(verify=trust(), trust_env=False, http2=is_http_2) as http,
        openai.OpenAI(
            api_key=KEY, base_url=f"{clients}/v1", http_client=http
        ) as client,
    ):
        chunks = client.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_who_cannot_agree_on_tls_is_counted_and_told_to_the_log(
    workers: str, nursery: trio.Nursery, tmp_path: Path
) -> None:
    served, _ = await serve_tls(nursery, tmp_path, "--workers", workers)
    client = await dial(served.port)
    await client.send_all(b"GET / HTTP/1.1\r\n\r\n")
    with trio.fail_after(STUCK_S):
        assert (await client.receive_some()).startswith(b"HTTP/1.1 400 ")
    await client.aclose()

    line = await served.says("handshake_failed")
    assert "reason=plain_http client=127.0.0.1 " in line["message"]
    metrics = (await trio.to_thread.run_sync(httpx.get, f"{served.admin}/metrics")).text
    counted = 'trio_gateway_tls_handshakes_failed_total{reason="plain_http"} 1.0'
    assert counted in metrics


async def a_tls_stream(served: Served) -> trio.SSLStream[trio.SocketStream]:
    """Ask for a stream, and wait until it flows."""
    client = trio.SSLStream(
        await dial(served.port), trust(), server_hostname="127.0.0.1"
    )
    with trio.fail_after(STUCK_S):
        await client.send_all(chat_request(stream=True))
        assert (await client.receive_some()).startswith(b"HTTP/1.1 200 ")
    return client


async def test_a_new_certificate_is_taken_over_and_a_wrong_one_is_not(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    served, pem = await serve_tls(nursery, tmp_path, pace=ENDLESS, drain="100ms")
    client = await a_tls_stream(served)

    write_certificate(pem, "two")
    served.process.send_signal(signal.SIGHUP)
    await served.says("certificate_reloaded")
    assert is_shown("two", served.port)

    pem.write_text("not a certificate")
    line = await served.says("certificate_refused")
    assert f"--tls-cert {pem}: no certificate in it" in line["why"]
    assert is_shown("two", served.port)

    with trio.fail_after(STUCK_S):  # the old connection has lived on
        assert await client.receive_some()
    await trio.aclose_forcefully(client)


async def test_all_workers_have_the_last_good_certificate_also_those_that_start_later(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    served, pem = await serve_tls(nursery, tmp_path, "--workers", "2")
    assert await eventually(lambda: len(pids(served)) == 2)
    write_certificate(pem, "two")
    served.process.send_signal(signal.SIGHUP)
    await served.says("certificate_reloaded")
    # An order is on its way to each of them; whoever accepts has it soon.
    assert await eventually(lambda: is_shown("two", served.port))
    pem.unlink()
    await served.says("certificate_refused")
    assert all(is_shown("two", served.port) for _ in range(8))

    first = pids(served)[0]
    os.kill(first, signal.SIGKILL)
    assert await eventually(lambda: pids(served)[0] != first)
    assert all(is_shown("two", served.port) for _ in range(8))
    lines = [line["event"] for line in served.said]
    assert lines.count("certificate_refused") == 1  # by the supervisor alone


@pytest.mark.skipif(not curl_can("HTTP2"), reason="needs a curl that speaks HTTP/2")
async def test_a_rolling_restart_over_http_2_loses_no_request_of_a_real_client(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    options = ("--server", "hypercorn", "--workers", "2")
    served, _ = await serve_tls(nursery, tmp_path, *options, pace=Pace(tokens=2))
    assert await eventually(lambda: len(pids(served)) == 2)
    url = f"{served.clients}/v1/chat/completions"
    asked: list[str] = []
    is_over = trio.Event()

    async def keep_asking() -> None:
        while not is_over.is_set():  # each round over a connection of its own
            asked.extend(await _by_curl(tmp_path, f"{url}?n=[1-100]"))

    async with trio.open_nursery() as clients:
        for _ in range(3):
            clients.start_soon(keep_asking)
        await served.says("exchange")
        served.process.send_signal(signal.SIGUSR2)
        with trio.fail_after(4 * STUCK_S):
            await served.says("roll_done")
        is_over.set()

    assert set(asked) == {"200 over HTTP/2"}
    assert len(asked) >= 300


async def _by_curl(folder: Path, urls: str) -> list[str]:
    """Ask for each, one after the other and by one connection while it lasts."""
    ca = folder / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(ca))
    command = [
        "curl",
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--cacert",
        str(ca),
    ]
    for name, value in HEADERS.items():
        command += ["--header", f"{name}: {value}"]
    command += ["--data-binary", chat_body(stream=False).decode()]
    command += [
        "--output",
        os.devnull,
        "--write-out",
        "%{http_code} over HTTP/%{http_version}\n",
    ]
    done = await trio.run_process([*command, urls], capture_stdout=True)
    return done.stdout.decode().splitlines()
