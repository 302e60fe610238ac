"""How the operators' pages are written: in JSON of many lines, and as metrics.

Not `json.dumps(indent=2)`, which takes Python's own encoder: 20 ms for the last 200
exchanges, in which no request goes on. Here a page is in lines to a certain depth, and
what is deeper stands in one line, where it can be searched like a log.
"""

import json
from collections.abc import Iterable

import trio
from quart import Response

from trio_gateway.telemetry.exposition import CONTENT_TYPE, Families, text_of

_MARGIN = "  "


def page_response(page: object, *, depth: int) -> Response:
    """Return a page of which so many levels have a line for each of their entries."""
    return Response(f"{in_lines(page, depth)}\n", content_type="application/json")


async def metrics_response(parts: Iterable[Families]) -> Response:
    """Write what was counted, and let requests go on between its parts."""
    texts = []
    for part in parts:
        texts.append(text_of(part))
        await trio.lowlevel.checkpoint()
    return Response("".join(texts), content_type=CONTENT_TYPE)


def in_lines(value: object, depth: int, margin: str = "") -> str:
    """Write a value as JSON: to this depth, each member and entry in its own line."""
    inner = margin + _MARGIN
    match value:
        case dict() if value and depth:
            members = (
                f"{inner}{json.dumps(name)}: {in_lines(one, depth - 1, inner)}"
                for name, one in value.items()
            )
            return "{\n" + ",\n".join(members) + f"\n{margin}}}"
        case list() | tuple() if value and depth:
            entries = (inner + in_lines(one, depth - 1, inner) for one in value)
            return "[\n" + ",\n".join(entries) + f"\n{margin}]"
        case _:
            return json.dumps(value)
