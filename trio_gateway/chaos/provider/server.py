"""A simulated provider on byte streams: plays behaviours as HTTP/1.1, byte for byte.

It serves any stream, so it runs on sockets for the demo, for the command line and for
the socket tests, and in memory for everything in virtual time. It notices at once when
its client leaves, for that is what its tests measure, and it keeps a log of what it
saw. What is said in an answer, and what goes wrong with it, is decided elsewhere.
"""

import errno
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from trio_gateway.chaos.provider.certificates import ServerTls
from trio_gateway.chaos.provider.connection import Connection, reset
from trio_gateway.chaos.provider.control import ROOT, Control
from trio_gateway.chaos.provider.door import Door, Hours
from trio_gateway.chaos.provider.http1 import HttpRequest
from trio_gateway.chaos.provider.seen import RequestEnding, SeenRequest
from trio_gateway.chaos.provider.sky import Play, Sky
from trio_gateway.chaos.provider.slots import Slots
from trio_gateway.chaos.provider.turns import AT_ONCE, Turn
from trio_gateway.chaos.vocabulary.answers import (
    Asked,
    ChatRequest,
    Dialect,
    Pace,
    Voice,
    as_json,
    plain_script,
)
from trio_gateway.chaos.vocabulary.errors import error_script, http_error_script
from trio_gateway.chaos.vocabulary.faults import Fault
from trio_gateway.chaos.vocabulary.script import (
    Behaviour,
    Overtaken,
    Pause,
    Script,
    taken_apart,
)
from trio_gateway.chaos.worlds.weather import Weather
from trio_gateway.chaos.worlds.world import Capacity, Spell

# The log forgets its oldest requests beyond this.
SEEN_MAX: Final = 2_000

# A request's body is kept for tests to look at, unless it is so large that a full log
# of such bodies would be felt.
BODY_KEPT_BYTES_MAX: Final = 16 * 1024

# Beyond this, connections are reset: a runaway client must not take the demo down.
CONNECTIONS_MAX: Final = 4_096


Behave = Callable[[ChatRequest, int], Behaviour | Overtaken]
"""Decides what is done with the chat completion of a number."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many requests can be worked on at once, and when there is less room."""

    capacity: Capacity
    shrinks: tuple[Spell, ...] = ()


@dataclass(frozen=True, slots=True)
class House:
    """What a provider is, whatever the weather.

    A provider that `needs_key` refuses who has none; which one is nobody's business.
    """

    dialect: Dialect = Dialect.OPENAI
    models: tuple[str, ...] = ("simulated",)
    needs_key: bool = False
    room: Room | None = None  # for all models together; None: for everybody
    rooms: Mapping[str, Room] = field(default_factory=dict)  # for single models
    speed: float = 1.0  # how many of its seconds pass in one of ours
    hours: Hours | None = None  # when its port is shut; None: never


class SimulatedProvider:
    """An OpenAI-compatible provider that does with each request what it is told to.

    It answers `POST .../chat/completions`, at OpenAI's paths as at Azure's, and
    `GET .../models`. Every key is good. `on_request` is called when a request ends.
    """

    def __init__(
        self,
        behave: Behave,
        *,
        house: House | None = None,
        sky: Sky | None = None,
        control: Control | None = None,
        on_request: Callable[[SeenRequest], None] | None = None,
    ) -> None:
        self._behave = behave
        self._house = house or House()
        self.sky = sky
        self.control = control  # what it answers below /control/; None: nothing
        self._on_request = on_request
        self._chats = 0
        self._slots: Slots | None = None
        self._slots_of: dict[str, Slots] = {}  # of single models
        self.seen: deque[SeenRequest] = deque(maxlen=SEEN_MAX)
        self._open_connections: set[Connection] = set()
        self.in_flight = 0  # requests that have not ended

    @classmethod
    def in_weather(
        cls,
        weather: Weather,
        *,
        seed: int = 0,
        house: House | None = None,
        preset: str | None = None,
        play: Play | None = None,
        on_request: Callable[[SeenRequest], None] | None = None,
    ) -> "SimulatedProvider":
        """Make a provider whose faults are chance, the same for the same seed.

        `play` decides in place of the weather, until it is told of faults.
        """
        house = house or House()
        sky = Sky(weather, seed=seed, speed=house.speed, preset=preset, play=play)

        def behave(request: ChatRequest, number: int) -> Behaviour | Overtaken:
            return sky.behaviour_for(request, number, trio.current_time())

        return cls(behave, house=house, sky=sky, on_request=on_request)

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._open_connections)

    def forget(self) -> None:
        """Empty the log; what has not ended yet is forgotten as well."""
        self.seen.clear()

    def weather_changed(self) -> None:
        """Let a weather that was told to its sky meet what is under way."""
        sky, now = self.sky, trio.current_time()
        for connection in self._open_connections:
            seen = connection.answering
            if sky is not None and seen is not None and seen.model is not None:
                onset = sky.onset_for(seen.model, seen.number, now, is_told=True)
                connection.befall(onset)

    async def serve(
        self,
        listeners: Sequence[trio.abc.Listener[trio.abc.Stream]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve every connection until cancelled; close the listeners then."""
        house = self._house
        if self.sky is not None:
            self.sky.begin(trio.current_time())
        async with trio.open_nursery() as nursery:
            if house.room is not None:
                self._slots = self._open(house.room, nursery)
            for model, room in house.rooms.items():
                self._slots_of[model] = self._open(room, nursery)
            if house.hours is None:
                await nursery.start(trio.serve_listeners, self.serve_stream, listeners)
            else:
                await self._open_door(house.hours, listeners, nursery)
            task_status.started()

    async def _open_door(
        self,
        hours: Hours,
        listeners: Sequence[trio.abc.Listener[trio.abc.Stream]],
        nursery: trio.Nursery,
    ) -> None:
        sockets = [each for each in listeners if isinstance(each, trio.SocketListener)]
        assert len(sockets) == len(listeners), "a port is shut, not a stream"
        door = Door(hours, speed=self._house.speed, lose_connections=self.lose)
        await nursery.start(door.run, self.serve_stream, sockets, nursery)

    def lose(self) -> None:
        """End all connections, each after the answer that is under way."""
        for connection in self._open_connections:
            connection.leave_soon()

    def _open(self, room: Room, nursery: trio.Nursery) -> Slots:
        slots = Slots(room.capacity, room.shrinks, speed=self._house.speed)
        nursery.start_soon(slots.run)
        return slots

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection until it ends; close it on every path."""
        connection = Connection(stream, self)
        self._open_connections.add(connection)
        try:
            if self.connections > CONNECTIONS_MAX:
                await reset(stream)
            else:
                await connection.run()
        finally:
            self._open_connections.discard(connection)

    def begin(
        self, request: HttpRequest, *, is_near: bool
    ) -> tuple[SeenRequest, Behaviour | Overtaken, Turn]:
        """Write a request into the log and decide what is done with it."""
        path = request.path.partition("?")[0]
        if path.startswith(ROOT) and self.control is not None:
            return self.control.begin(request, is_near=is_near)
        is_chat = path.endswith("/chat/completions")
        if is_chat and request.method == "POST":
            return self._begin_chat(request)
        seen = self._note(request, number=0)
        if path.endswith("/models") and request.method == "GET":
            return seen, self._catalog(), AT_ONCE
        is_known = is_chat or path.endswith("/models")
        return seen, http_error_script(405 if is_known else 404), AT_ONCE

    def _begin_chat(
        self, request: HttpRequest
    ) -> tuple[SeenRequest, Behaviour | Overtaken, Turn]:
        self._chats += 1
        chat = ChatRequest(path=request.path, body=request.body)
        seen = self._note(request, number=self._chats, chat=chat)
        refused = self._refused_at_the_door(request)
        if refused is not None:
            return seen, self._error(seen, name=refused), AT_ONCE
        decided = self._behave(chat, self._chats)
        behaviour, _ = taken_apart(decided)
        slots = self._slots_of.get(seen.model or "", self._slots)
        if slots is None or not isinstance(behaviour, Script):
            return seen, decided, AT_ONCE
        if behaviour.status != 200:
            return seen, decided, AT_ONCE  # to say no is no work
        turn = slots.join(_takes_s(behaviour))
        if turn is None:
            return seen, self._error(seen, status=503), AT_ONCE
        return seen, decided, turn

    def _refused_at_the_door(self, request: HttpRequest) -> str | None:
        """Name the error for a request that is not meant for such a provider."""
        is_azure = self._house.dialect is Dialect.AZURE
        if is_azure and not _is_path_at_azure(request.path):
            return "azure_path"
        if self._house.needs_key and not request.has_key:
            return "azure_auth" if is_azure else "auth"
        return None

    def _error(
        self, seen: SeenRequest, *, name: str | None = None, status: int | None = None
    ) -> Script:
        asked = Asked(model=seen.model or "simulated")
        voice = Voice(number=seen.number, dialect=self._house.dialect)
        return error_script(asked, voice, name=name, status=status)

    def end(self, seen: SeenRequest, ending: RequestEnding) -> None:
        """Close a request's entry in the log."""
        if seen.is_control:
            return
        seen.ending = ending
        seen.ended_at = trio.current_time()
        self.in_flight -= 1
        if self._on_request is not None:
            self._on_request(seen)

    def _note(
        self, request: HttpRequest, *, number: int, chat: ChatRequest | None = None
    ) -> SeenRequest:
        is_small = len(request.body) <= BODY_KEPT_BYTES_MAX
        seen = SeenRequest(
            number=number,
            method=request.method,
            path=request.path,
            has_key=request.has_key,
            body=request.body if is_small else None,
            started_at=trio.current_time(),
            model=None if chat is None else _model(chat),
        )
        self.seen.append(seen)
        self.in_flight += 1
        return seen

    def _catalog(self) -> Script:
        models = [
            {"id": name, "object": "model", "created": 0, "owned_by": "simulated"}
            for name in self._house.models
        ]
        return plain_script(as_json({"object": "list", "data": models}))


def _model(chat: ChatRequest) -> str | None:
    try:
        return Asked.of(chat).model[:MODEL_CHARS_MAX]
    except ValueError:
        return None


# A log of names, not of whatever somebody puts there.
MODEL_CHARS_MAX: Final = 200


def _takes_s(script: Script) -> float:
    """How long an answer keeps a slot busy."""
    pauses = (step.seconds for step in script.steps if isinstance(step, Pause))
    return script.head_after_s + sum(pauses)


def _is_path_at_azure(path: str) -> bool:
    """Say whether Azure serves this: its v1 API, or a deployment with a version."""
    path, _, query = path.partition("?")
    if path == "/openai/v1/chat/completions":
        return True
    is_deployment = path.startswith("/openai/deployments/")
    return is_deployment and "api-version=" in query


SocketListener = trio.SocketListener | trio.SSLListener[trio.SocketStream]


async def open_sockets(
    host: str, port: int, *, tls: ServerTls | None = None
) -> list[SocketListener]:
    """Listen on a host's addresses; port 0 takes a free one, on the first of them.

    Raises:
        OSError: with a message for the operator, where the port is in use, or the host
            has no name that can be.
    """
    try:
        sockets = await trio.open_tcp_listeners(port, host=host)
    except UnicodeError as error:  # of the codec for names
        raise OSError(errno.EINVAL, f"{host} is no name of a host") from error
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise OSError(
            errno.EADDRINUSE,
            f"{host}:{port} is in use; choose another port, or 0 for a free one",
        ) from error
    if port == 0:
        # The other addresses would each get a port of their own.
        for spare in sockets[1:]:
            await spare.aclose()
        sockets = sockets[:1]
    if tls is None:
        return list(sockets)
    # Trio's `https_compatible` would close without TLS's goodbye: a cut, for those who
    # look closely. Only a fault may do that here.
    return [trio.SSLListener(listener, tls.context) for listener in sockets]


def port_of(listener: SocketListener) -> int:
    """Say which port a listener has got."""
    if isinstance(listener, trio.SSLListener):
        transport = listener.transport_listener
        assert isinstance(transport, trio.SocketListener)
        listener = transport
    port = listener.socket.getsockname()[1]
    assert isinstance(port, int)
    return port


async def serve_provider(
    *,
    port: int,
    host: str = "127.0.0.1",
    name: str = "provider",
    faults: Sequence[Fault] = (),
    pace: Pace | None = None,
    seed: int = 0,
    tls: ServerTls | None = None,
    on_request: Callable[[SeenRequest], None] | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a simulated provider on a port until cancelled; `started` tells the port.

    `name` tells providers of one seed apart, so that they do not fail in step.

    Raises:
        ValueError: the faults' rates add up to more than one.
        OSError: it cannot listen there.
    """
    weather = Weather(provider=name, faults=tuple(faults), pace=pace or Pace())
    provider = SimulatedProvider.in_weather(weather, seed=seed, on_request=on_request)
    listeners = await open_sockets(host, port, tls=tls)
    task_status.started(port_of(listeners[0]))
    await provider.serve(listeners)
