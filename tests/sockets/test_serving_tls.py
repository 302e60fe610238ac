"""TLS in front of the same connection."""

import ssl
from typing import get_args

import pytest
import trio
import trustme

from tests.serving.doors import dial, read
from tests.serving.toy import Toy, request
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.process import listen
from trio_gateway.serving.server import Server, ServerKind


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize("kind", get_args(ServerKind))
async def test_a_client_of_http_2_gets_http_1_and_a_silent_one_is_dropped(
    kind: ServerKind, authority: trustme.CA
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    trust.set_alpn_protocols(["h2", "http/1.1"])

    (listener,) = await listen("127.0.0.1:0")
    assert isinstance(listener, trio.SocketListener)
    port = listener.socket.getsockname()[1]
    secure = trio.SSLListener(listener, context, https_compatible=True)
    server = Server(Toy(), Limits(handshake_s=0.2), kind=kind)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_listeners, [secure], nursery)

        client = trio.SSLStream(
            await dial(port), trust, server_hostname="localhost", https_compatible=True
        )
        await client.send_all(request("/hi", "connection: close"))
        got = b"".join([data async for data in client])
        assert got.endswith(b"hi")
        assert client.selected_alpn_protocol() in {None, "http/1.1"}
        await client.aclose()

        silent = await dial(port)
        assert await read(silent, within_s=10) == (b"", "end")
        await silent.aclose()
        nursery.cancel_scope.cancel()
    await secure.aclose()
