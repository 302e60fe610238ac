"""A `Connect` that goes through an HTTP proxy, by asking it for a tunnel.

Also plain-HTTP upstreams are reached through a tunnel, so that a proxy's refusal is a
failed connect and never looks like an upstream's answer. httpcore's own tunnels are not
used: one whose TLS fails, or is cancelled, stays in its pool for ever.
"""

import base64
import re
import ssl
from typing import Final

import httpx
import trio

from trio_gateway.relay.port import Connect
from trio_gateway.upstream.network import secure

# The head of a proxy's answer: a status line, a few fields, perhaps a challenge. Common
# servers stop at 8 to 100 KiB; nobody who grants a tunnel says that much.
HEAD_BYTES_MAX: Final = 16 * 1024

_BEGINNING: Final = b"HTTP/1."
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[0-9] ([0-9]{3})[ \r]")
_NO_ANSWER: Final = "not an answer of a proxy"


class ProxyRefusedError(OSError):
    """The proxy did not open a tunnel; `cause` says why, without a word of its own."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def through_proxy(connect: Connect, url: str, trust: ssl.SSLContext) -> Connect:
    """Reach hosts through the HTTP or HTTPS proxy at `url`, which may hold a password.

    The names of hosts are left to the proxy to resolve.

    Returns:
        A `Connect` that raises `ProxyRefusedError` if the proxy opens no tunnel.
    """
    proxy = httpx.URL(url)
    is_tls = proxy.scheme == "https"
    proxy_port = proxy.port or (443 if is_tls else 80)

    async def tunnel(host: str, port: int) -> trio.abc.Stream:
        stream = await connect(proxy.host, proxy_port)
        if is_tls:
            stream = await secure(stream, trust, proxy.host)
        try:
            await stream.send_all(_connect_request(proxy, host, port))
            await _receive_consent(stream)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream

    return tunnel


def _connect_request(proxy: httpx.URL, host: str, port: int) -> bytes:
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.username or proxy.password:
        credential = f"{proxy.username}:{proxy.password}".encode()
        basic = base64.b64encode(credential).decode("ascii")
        lines.append(f"Proxy-Authorization: Basic {basic}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


async def _receive_consent(stream: trio.abc.Stream) -> None:
    """Read the head of the answer, after which the tunnel belongs to us.

    In a tunnel we speak first, with TLS as without; whatever follows the head by itself
    is not of a tunnel.
    """
    head = b""
    while b"\r\n\r\n" not in head:
        received = await stream.receive_some()
        if not received:
            raise ProxyRefusedError("closed by the proxy")
        head += received
        is_http = head.startswith(_BEGINNING) or _BEGINNING.startswith(head)
        if not is_http or len(head) > HEAD_BYTES_MAX:
            raise ProxyRefusedError(_NO_ANSWER)
    answer = _STATUS_LINE.match(head)
    if answer is None:
        raise ProxyRefusedError(_NO_ANSWER)
    status = int(answer[1])
    if not 200 <= status <= 299:
        raise ProxyRefusedError(f"proxy answered {status}")
    if not head.endswith(b"\r\n\r\n"):
        raise ProxyRefusedError(_NO_ANSWER)
