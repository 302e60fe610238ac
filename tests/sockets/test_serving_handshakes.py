"""Why a client could not agree with us on TLS, as OpenSSL and either loop see it."""

import socket
import ssl
from collections.abc import Awaitable, Callable

import pytest
import trio

from tests.serving.doors import OURS, STUCK_S, Kind, dial, happens, read, reset
from tests.serving.toy import request
from tests.sockets.test_serving_tls import AT_ONCE_S, Secured, secured, trust
from trio_gateway.serving.handshakes import Handshakes, Reason
from trio_gateway.serving.limits import Limits

pytestmark = pytest.mark.parametrize("kind", OURS)

Attempt = Callable[[Secured], Awaitable[None]]


class Noted:
    """What was counted, and when it is the first."""

    def __init__(self) -> None:
        self.reasons: list[Reason] = []
        self.one = trio.Event()

    def count(self, reason: Reason) -> None:
        self.reasons.append(reason)
        self.one.set()


async def shake(server: Secured, context: ssl.SSLContext) -> None:
    stream = trio.SSLStream(
        await dial(server.port), context, server_hostname="localhost"
    )
    with trio.fail_after(AT_ONCE_S), pytest.raises(trio.BrokenResourceError):
        await stream.do_handshake()
    await trio.aclose_forcefully(stream)


async def distrust(server: Secured) -> None:
    """As an ordinary client does; Trio's says nothing, and leaves."""

    def connect() -> None:
        with (
            socket.create_connection(("127.0.0.1", server.port)) as sock,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")

    await trio.to_thread.run_sync(connect)


async def distrust_without_a_word(server: Secured) -> None:
    await shake(server, ssl.create_default_context())


async def speak_an_old_version(server: Secured) -> None:
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old = trust(version=ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    await shake(server, old)


async def know_no_common_cipher(server: Secured) -> None:
    odd = trust(version=ssl.TLSVersion.TLSv1_2)
    odd.set_ciphers("ECDHE-RSA-AES128-SHA")  # and our key is no RSA
    await shake(server, odd)


def say(data: bytes) -> Attempt:
    async def said(server: Secured) -> None:
        client = await dial(server.port)
        await client.send_all(data)
        await read(client, within_s=AT_ONCE_S)
        await client.aclose()

    return said


async def look_and_leave(server: Secured) -> None:
    await (await dial(server.port)).aclose()


async def leave_rudely(server: Secured) -> None:
    client = await dial(server.port)
    await client.send_all(b"\x16\x03\x01")
    await trio.sleep(0.05)
    await reset(client)


@pytest.mark.parametrize(
    ("attempt", "reason"),
    [
        (distrust, Reason.CERTIFICATE),
        (speak_an_old_version, Reason.VERSION),
        (know_no_common_cipher, Reason.CIPHER),
        (say(request("/hi")), Reason.PLAIN_HTTP),
        (say(b"SSH-2.0-OpenSSH_9.2\r\n"), Reason.OTHER),
        (distrust_without_a_word, Reason.LEFT),
        (look_and_leave, Reason.LEFT),
        (leave_rudely, Reason.LEFT),
        (say(b""), Reason.TIMEOUT),
    ],
    ids=lambda value: str(value) if isinstance(value, Reason) else "",
)
async def test_a_failed_handshake_is_noted_once_with_its_reason(
    attempt: Attempt, reason: Reason, kind: Kind
) -> None:
    noted = Noted()
    async with secured(kind, Limits(handshake_s=1.0)) as server:
        server.tls.handshakes = Handshakes(noted.count)
        await attempt(server)
        assert await happens(noted.one, within_s=AT_ONCE_S)
    assert noted.reasons == [reason]


async def test_neither_a_good_handshake_nor_one_that_we_end_is_noted(
    kind: Kind,
) -> None:
    noted = Noted()
    async with secured(kind, Limits(handshake_s=STUCK_S)) as server:
        server.tls.handshakes = Handshakes(noted.count)
        client = await server.client()
        await client.aclose()
        silent = await dial(server.port)
        await trio.sleep(0.05)
        server.shutdown.request()
        assert await read(silent, within_s=AT_ONCE_S) == (b"", "end")
        await silent.aclose()
    assert noted.reasons == []
