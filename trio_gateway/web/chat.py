"""One `POST /v1/chat/completions`, from its first byte to its record.

It speaks plain ASGI, because one coroutine must own an exchange for its whole life: a
web framework's view has returned before its body is sent. A client's departure cancels
everything that is done for it, and half-closing counts as leaving. A server that offers
to do so cancels us itself; beside any other, a second task watches.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Final, TypedDict, cast

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope

from trio_gateway.failover.commands import Refuse
from trio_gateway.failover.shedding import retry_after_s
from trio_gateway.policy.route import AccessKey, Route
from trio_gateway.relay.exchange import Exchange
from trio_gateway.relay.opening import ReadyAnswer
from trio_gateway.relay.record import Shed
from trio_gateway.relay.upstream_request import Winner
from trio_gateway.web import answers
from trio_gateway.web.answers import Answer, Headers
from trio_gateway.web.body import Reply
from trio_gateway.web.gateway import Gateway
from trio_gateway.web.rights import key_of, route_of
from trio_gateway.web.visit import Visit
from trio_gateway.wire.chat import ChatRequest, RequestError
from trio_gateway.wire.headers import Fields, to_client

PATH: Final = "/v1/chat/completions"

_JSON: Final = b"application/json"

# The largest body over a slow mobile uplink takes minutes; no exchange may last longer
# than that without having begun.
_BODY_S: Final = 300.0

# What cancelled an exchange whose client is still there: a second signal, a crash.
_ENDED: Final = "the gateway ended"

_log = logging.getLogger(__name__)


def serve_chat(
    gateway: Gateway,
    scope: HTTPScope,
    receive: ASGIReceiveCallable,
    send: ASGISendCallable,
) -> Awaitable[None]:
    """Serve one chat completion. Raises only `trio.Cancelled`, from outside.

    Returning without a last body message, after the first, means that the answer
    broke: the server must close uncleanly.
    """
    return _Chat(gateway, scope, receive, send).serve()


class _Chat:
    """What is known of the request so far, step by step."""

    def __init__(
        self,
        gateway: Gateway,
        scope: HTTPScope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
    ) -> None:
        self._gateway = gateway
        self._policy = gateway.policy
        self._receive = receive
        self._reply = Reply(send)
        self._cancels = _cancels_of(scope)
        self._visit = Visit.begin(gateway, Fields(tuple(scope["headers"])))
        self._key: AccessKey | None = None
        self._request: ChatRequest | None = None  # until its exchange begins
        self._is_stream = False
        self._is_deserted = False  # as far as our own watch has seen
        self._shed: Shed | None = None

    async def serve(self) -> None:
        key = key_of(
            self._visit.fields.pairs,
            self._gateway.keyring,
            wall_now=self._visit.admitted_at,
        )
        self._key = key
        if key is None:
            await self._turn_away(answers.unauthorized())
        elif (answer := self._judge_head()) is not None:
            await self._turn_away(answer)
        else:
            self._gateway.come_in()
            try:
                exchange = await self._begin(key)
                if exchange is not None:
                    await self._exchange(exchange)
            finally:
                self._gateway.go_out()

    async def _begin(self, key: AccessKey) -> Exchange | None:
        """Read and judge the body; None where there will be no exchange.

        Nothing but the exchange keeps the body, so that it is gone when that lets go.
        """
        body = await self._read_body()
        if body is None:
            self._record_no_body()
            return None
        if isinstance(body, Answer):
            await self._turn_away(body)
            return None
        try:
            entry = self._judge_body(key, body)
        except Exception:  # noqa: BLE001 - our bug, whatever it is, is a loud 500
            _log.exception("exchange %s failed at the door", self._visit.id)
            entry = answers.internal_error()
        if isinstance(entry, Answer):
            await self._turn_away(entry)
            return None
        route, request = entry
        self._request = None  # nobody is turned away any more
        self._is_stream = request.is_stream
        relay = self._gateway.relay
        return Exchange(relay, route, request, self._visit.admission(key))

    # At the door

    def _judge_head(self) -> Answer | None:
        """Say what is wrong before any of the body is read; None where nothing is."""
        fields = self._visit.fields
        content_type = fields.first(b"content-type") or b""
        if content_type != _JSON and _without_parameters(content_type) != _JSON:
            return answers.unsupported_media_type()
        coding = fields.first(b"content-encoding")
        if coding and coding.lower() != b"identity":
            return answers.unsupported_encoding()
        limit = self._policy.gateway.max_body_bytes
        length = fields.first(b"content-length") or b""
        if length.isdigit() and int(length) > limit:
            return answers.payload_too_large(limit)
        return self._judge_crowd()

    def _judge_crowd(self) -> Answer | None:
        """Turn the request away if there is too much at once, before its body comes."""
        gateway, shedder = self._gateway, self._gateway.shedder
        if not (gateway.is_full or shedder.share):
            return None
        dice = Random(f"{gateway.relay.seed}/{self._visit.id}/door")
        if gateway.is_full:
            self._shed = Shed.IN_FLIGHT
        elif shedder.should_shed(dice.random()):
            self._shed = Shed.LAG
        else:
            return None
        return answers.shed(retry_after_s(dice.random(), steps=shedder.steps))

    async def _read_body(self) -> bytes | Answer | None:
        """Read all of the body; None if none came and nothing is to be answered."""
        if self._cancels is not None:
            return await self._read_parts()  # the server keeps the limit
        with trio.move_on_after(_BODY_S):
            return await self._read_parts()
        return answers.body_too_slow()

    async def _read_parts(self) -> bytes | Answer | None:
        limit = self._policy.gateway.max_body_bytes
        before: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                return None
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                return answers.payload_too_large(limit)
            if not message.get("more_body", False):
                return b"".join((*before, part)) if before else part
            before.append(part)

    def _record_no_body(self) -> None:
        """Record that the client left, or what the server has against its body."""
        status = None if self._cancels is None else self._cancels["refused"]()
        words = {None: "left before its request", 408: answers.body_too_slow().detail}
        detail = words.get(status, "the request body is malformed")
        self._record_turned_away(status=status, detail=detail)

    def _judge_body(
        self, key: AccessKey, body: bytes
    ) -> tuple[Route, ChatRequest] | Answer:
        try:
            self._request = request = ChatRequest.parse(body)
        except RequestError as error:
            return answers.wrong_request(error)
        route = route_of(self._policy, key, request.model)
        return route if isinstance(route, Answer) else (route, request)

    async def _turn_away(self, answer: Answer) -> None:
        self._record_turned_away(status=answer.status, detail=answer.detail)
        await self._reply.refuse(answer, answers.identity(self._visit.request_id))

    def _record_turned_away(self, *, status: int | None, detail: str) -> None:
        self._gateway.relay.recorder(
            self._visit.turned_away(
                status=status,
                detail=detail,
                key=self._key,
                request=self._request,
                shed=self._shed,
                now=trio.current_time(),
            )
        )

    # Inside

    async def _exchange(self, exchange: Exchange) -> None:
        detail: str | None = _ENDED  # unless it was the client
        try:
            if self._cancels is not None:
                self._cancels["on_departure"]()
                self._reply.abandon = self._cancels["abandon"]
                detail = await self._answer(exchange)
            else:
                async with trio.open_nursery() as nursery:
                    self._reply.abandon = partial(self._abandon, nursery.cancel_scope)
                    nursery.start_soon(self._watch, nursery.cancel_scope)
                    detail = await self._answer(exchange)
                    nursery.cancel_scope.cancel()
        finally:
            if detail is _ENDED and self._has_left():
                detail = None  # which the exchange says by itself
            try:
                exchange.conclude(
                    status=self._reply.status,
                    bytes_out=self._reply.bytes_out,
                    detail=detail,
                    shed=self._shed,
                )
            finally:
                await exchange.aclose()

    def _has_left(self) -> bool:
        if self._cancels is not None:
            return self._cancels["has_left"]()
        return self._is_deserted

    async def _watch(self, scope: trio.CancelScope) -> None:
        """Cancel the exchange when the client leaves before its answer is out."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._reply.is_ending:
            self._is_deserted = True
            scope.cancel()

    def _abandon(self, scope: trio.CancelScope) -> None:
        self._is_deserted = True
        scope.cancel()

    async def _answer(self, exchange: Exchange) -> str | None:
        """Settle and deliver; return why it was refused, in one of our own phrases."""
        try:
            match await exchange.settle():
                case Refuse() as refuse:
                    if refuse.is_full:
                        self._shed = Shed.LINE
                    answer = answers.refused(refuse, exchange.attempts)
                case Winner() as winner:
                    await self._deliver(exchange, winner)
                    return None
        except RequestError as error:  # found where a target overrides its fields
            answer = answers.wrong_request(error)
        except Exception:  # noqa: BLE001 - our bug, whatever it is, is a loud 500
            _log.exception("exchange %s failed", self._visit.id)
            answer = answers.internal_error()
            if self._reply.status is not None:
                return answer.detail
        await self._reply.refuse(answer, self._identity(exchange))
        return answer.detail

    async def _deliver(self, exchange: Exchange, winner: Winner) -> None:
        self._reply.head = (
            *_framing(winner, is_stream=self._is_stream),
            *to_client(winner.stream.headers),
            *self._identity(exchange),
        )
        if not self._is_stream:
            await exchange.deliver(winner, self._reply)
            return
        self._gateway.metrics.stream_opened()
        try:
            await exchange.deliver(winner, self._reply)
        finally:
            self._gateway.metrics.stream_closed()

    def _identity(self, exchange: Exchange) -> Headers:
        return answers.identity(
            self._visit.request_id,
            target=exchange.target,
            attempts=exchange.attempts_made,
        )


def _without_parameters(content_type: bytes) -> bytes:
    return content_type.partition(b";")[0].strip().lower()


def _framing(winner: Winner, *, is_stream: bool) -> Headers:
    fields = [(b"content-type", _JSON)]
    if is_stream:
        fields = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),  # or nginx holds events back
        ]
    if isinstance(winner.opening, ReadyAnswer):
        fields.append((b"content-length", b"%d" % len(winner.opening.body)))
    return tuple(fields)


class _Cancels(TypedDict):
    """What a server offers to do for us; `serving.fast.exchange` does."""

    on_departure: Callable[[], None]  # from now on, a departure cancels us
    has_left: Callable[[], bool]  # whether that was it
    refused: Callable[[], int | None]  # what it answers to a body that is none
    abandon: Callable[[], None]  # count the client as gone, and cancel us


def _cancels_of(scope: HTTPScope) -> _Cancels | None:
    extensions = scope["extensions"] or {}
    return cast("_Cancels | None", extensions.get("trio_gateway.cancels"))
