"""How the operators' pages are written: in JSON of many lines, and as metrics.

Not `json.dumps(indent=2)`, which takes Python's own encoder: 20 ms for the last 200
exchanges. Here a page is in lines to a certain depth, and what is deeper stands in one
line, where it can be searched like a log. Requests go on while a long one is written.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Final

import trio
from quart import Response

from trio_gateway.telemetry.exposition import CONTENT_TYPE, Families, text_of

_MARGIN: Final = "  "

# So many take a millisecond.
_PIECES_AT_ONCE: Final = 500


async def page_response(page: object, *, depth: int) -> Response:
    """Return a page of which so many levels have a line for each of their entries."""
    written = []
    for number, piece in enumerate(_pieces(page, depth), 1):
        written.append(piece)
        if number % _PIECES_AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
    return Response(f"{''.join(written)}\n", content_type="application/json")


async def metrics_response(parts: Iterable[Families]) -> Response:
    """Write what was counted, and let requests go on between its parts."""
    texts = []
    for part in parts:
        texts.append(text_of(part))
        await trio.lowlevel.checkpoint()
    return Response("".join(texts), content_type=CONTENT_TYPE)


def in_lines(value: object, depth: int) -> str:
    """Write a value as JSON: to this depth, each member and entry in its own line."""
    return "".join(_pieces(value, depth))


def _pieces(value: object, depth: int, margin: str = "") -> Iterator[str]:
    """The same, piece by piece."""
    inner, before = margin + _MARGIN, "\n"
    match value:
        case dict() if value and depth:
            yield "{"
            for name, one in value.items():
                yield f"{before}{inner}{json.dumps(name)}: "
                yield from _pieces(one, depth - 1, inner)
                before = ",\n"
            yield f"\n{margin}}}"
        case list() | tuple() if value and depth:
            yield "["
            for one in value:
                yield f"{before}{inner}"
                yield from _pieces(one, depth - 1, inner)
                before = ",\n"
            yield f"\n{margin}]"
        case _:
            yield json.dumps(value)
