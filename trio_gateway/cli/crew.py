"""Many workers: the supervisor's process of `serve --workers N`.

It is the one that operators talk to and whose files are watched, and it has what must
be the same for all workers: the policy, and what operators have done with targets. A
worker that starts is given both; one that serves is told each change, in one order.
What all have counted is added up when somebody asks, those that are gone included.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

import trio

from trio_gateway.cli.announce import announce
from trio_gateway.cli.certificate import CertificateKeeper, CertificateSource
from trio_gateway.cli.house import House
from trio_gateway.cli.operators import ADMIN_LIMITS, host_of
from trio_gateway.cli.orders import Act, Adopt, Renew, Serve
from trio_gateway.cli.source import PolicySource
from trio_gateway.cli.vigil import Keeper, hang_up
from trio_gateway.failover.view import targets_of
from trio_gateway.policy.route import Account, Policy, Target
from trio_gateway.policy.share import Share
from trio_gateway.serving.process import (
    LAST_WORDS_S,
    Shutdown,
    Site,
    address_of,
    listen,
    serve,
)
from trio_gateway.serving.server import Listener
from trio_gateway.serving.tls import Certificate
from trio_gateway.serving.workers.child import Child, Spawner, ask_all
from trio_gateway.serving.workers.messages import Answer
from trio_gateway.serving.workers.supervisor import NeverReadyError, Supervisor
from trio_gateway.serving.workers.turns import Places
from trio_gateway.serving.workers.worker import PARTING_S
from trio_gateway.telemetry.exposition import Families
from trio_gateway.telemetry.log import Field, Level, event_line
from trio_gateway.telemetry.metrics import Metrics
from trio_gateway.telemetry.names import Names
from trio_gateway.telemetry.sums import Sums
from trio_gateway.telemetry.workers import WorkersView, show_workers
from trio_gateway.web.crew import create_crew_app
from trio_gateway.web.gateway import PolicyNews
from trio_gateway.web.targets import Action, changed_line

_COMMAND: Final = (sys.executable, "-m", "trio_gateway.cli.worker")

# A worker whose loop is so late is left out of an answer: the others' are wanted now.
_ANSWER_S: Final = 2.0

# Of metrics it may be as long as a scraper waits, who asks for them in the background:
# for one that is left out, what was last read stands.
_COUNTED_S: Final = 8.0

# A worker's last word may be an exception's text.
_CHARS_MAX: Final = 1000

# While it serves well, a line for each worker that comes and goes is noise to a person.
_QUIET: Final = Level.INFO


class Crew:
    """All workers together: what they live by, and what is asked of them."""

    def __init__(
        self,
        house: House,
        source: PolicySource,
        policy: Policy,
        tls: CertificateSource | None = None,
    ) -> None:
        self.policy = policy
        self.news = PolicyNews(str(house.options.policy), loaded_at=time.time())
        self._house = house
        self._source = source
        self._deeds: dict[str, Action] = {}
        self._tls = tls
        self._certificate = None if tls is None else tls.certificate
        self._sums = Sums()
        self._children: dict[Child, int] = {}
        # In a roll there are twice as many for a while, if they drain slowly.
        self._places = Places(4 * house.options.workers)
        self._spawner: Spawner | None = None
        self._shutdown = Shutdown()
        self._supervisor = Supervisor(
            house.options.workers, self._spawn, drain_s=self._drain_s, say=self._say
        )

    async def serve(self) -> int:
        """Serve until told to end; return the exit code.

        Raises:
            BindError: Before anything was started.
            NeverReadyError: No worker can serve.
        """
        options = self._house.options
        doors = await listen(options.bind)
        try:
            admin = [] if options.admin is None else await listen(options.admin)
        except BaseException:
            _close(doors)
            raise
        try:
            return await self._serve_behind(doors, admin)
        finally:
            _close([*doors, *admin])
            self._places.close()

    async def _serve_behind(
        self, doors: Sequence[Listener], admin: Sequence[Listener]
    ) -> int:
        reloader = self._source.keeper(
            self._house, self, retain=_retain_nothing, on_loaded=self._adopted
        )
        failure: NeverReadyError | None = None
        code = 1
        async with trio.open_nursery() as nursery:
            sockets = [d.socket for d in doors if isinstance(d, trio.SocketListener)]
            self._spawner = Spawner(_COMMAND, sockets, self._places, nursery)
            keepers: list[Keeper] = [reloader, *self._certificate_keepers()]
            await nursery.start(self._watch_signals, partial(hang_up, keepers))
            for keeper in keepers:
                nursery.start_soon(keeper.run)
            nursery.start_soon(self._close_at_the_end, doors)
            if admin:
                nursery.start_soon(self._serve_operators, admin)
            on_ready = partial(self._announce, [doors, admin] if admin else [doors])
            try:
                code = await self._supervisor.run(self._shutdown, on_ready=on_ready)
            except NeverReadyError as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return code

    def _announce(self, places: Iterable[Sequence[Listener]]) -> None:
        addresses = tuple(tuple(map(address_of, place)) for place in places)
        announce(self._house, addresses, self.policy)

    async def _serve_operators(self, listeners: Sequence[Listener]) -> None:
        options = self._house.options
        host = host_of(options.admin or "")
        app = create_crew_app(self, bind_host=host, key=options.admin_key)
        site = Site(app, listeners, ADMIN_LIMITS, options.server)
        await serve([site], shutdown=Shutdown())  # to the very end

    async def _close_at_the_end(self, doors: Sequence[Listener]) -> None:
        """Leave it to the workers how long there is somebody to listen."""
        await self._shutdown.draining.wait()
        _close(doors)

    async def _watch_signals(
        self,
        on_hangup: Callable[[], None],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        watched = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
        with trio.open_signal_receiver(*watched) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGHUP:
                    on_hangup()
                elif number == signal.SIGUSR2:
                    self._supervisor.roll()
                else:
                    if not self._shutdown.draining.is_set():
                        self._say("draining", limit_s=self.policy.gateway.drain_s)
                    self._shutdown.request()

    # Workers.

    async def _spawn(self, index: int) -> Child:
        assert self._spawner is not None, "there are sockets to be served"
        child = await self._spawner(partial(self._first_order, index), self._ended)
        self._children[child] = index  # without an await since its first order
        return child

    def _first_order(self, index: int) -> Serve:
        options = self._house.options
        share = Share(index, options.workers)
        policy, news, deeds = self.policy, self.news, dict(self._deeds)
        return Serve(options.inner, share, policy, news, deeds, self._certificate)

    def _ended(self, child: Child) -> None:
        if child.farewell is not None:
            self._sums.note(child, child.farewell.decode())
        self._sums.gone(child)
        del self._children[child]

    def _tell(self, order: object) -> None:
        for child in self._children:
            child.tell(order)

    def _drain_s(self) -> float:
        """How long a worker's drain takes at most, all its steps together."""
        notice_s, limit_s = self._house.options.notice_s, self.policy.gateway.drain_s
        return max(notice_s, PARTING_S) + limit_s + LAST_WORDS_S

    def _say(
        self, event: str, /, *, level: Level = Level.INFO, **fields: Field
    ) -> None:
        if self._house.options.is_text and level is _QUIET:
            return
        at, most = time.time(), _CHARS_MAX
        line = event_line(event, at=at, level=level, text_chars_max=most, **fields)
        self._house.write(line)

    # The policy.

    @property
    def metrics(self) -> Metrics:
        """What the supervisor itself counts: reloads."""
        return self._house.metrics

    def adopt(self, policy: Policy) -> None:
        """Let all go on under another policy; they are told by `_adopted`."""
        self.policy = policy
        targets = targets_of(policy.routes.values())
        # What is gone is forgotten, as by a single process.
        self._deeds = {t: deed for t, deed in self._deeds.items() if t in targets}
        self._sums.keep(Names.of(policy).have)

    def _adopted(self, policy: Policy, news: PolicyNews) -> None:
        self._tell(Adopt(policy, news))

    # The certificate.

    def _certificate_keepers(self) -> list[CertificateKeeper]:
        if self._tls is None:
            return []
        is_text, write = self._house.options.is_text, self._house.write
        return [CertificateKeeper(self._tls, self._renew, write, is_text=is_text)]

    def _renew(self, certificate: Certificate) -> None:
        self._certificate = certificate
        self._tell(Renew(certificate))

    # What operators ask and do.

    @property
    def is_draining(self) -> bool:
        """Whether all is about to end."""
        return self._shutdown.draining.is_set()

    @staticmethod
    def wall_clock() -> float:
        """Seconds since 1970 UTC."""
        return time.time()

    def standing(self) -> WorkersView:
        """How the workers are."""
        supervisor = self._supervisor
        return WorkersView(
            count=len(supervisor.slots),
            ready=supervisor.ready,
            looping=supervisor.looping,
            deaths=supervisor.deaths,
            rolls_done=supervisor.rolls["done"],
            rolls_stopped=supervisor.rolls["stopped"],
        )

    async def ask(self, path: str, query: bytes) -> list[tuple[int, Answer]]:
        """Ask all workers that serve; of those that answer in time, by number."""
        serving = {slot.worker: slot.index for slot in self._supervisor.slots}
        asked = [child for child in self._children if child in serving]
        answers = await ask_all(asked, path, query, within_s=_ANSWER_S)
        said = [(self._children.get(c, serving[c]), one) for c, one in answers]
        return sorted(said, key=lambda each: each[0])

    async def counted(self) -> Families:
        """What all workers have counted, those that are gone included."""
        asked = [child for child in self._children if child.ready.is_set()]
        for child, answer in await ask_all(asked, "/metrics", within_s=_COUNTED_S):
            if child in self._children and answer.status == 200:
                self._sums.note(child, answer.body.decode())
        own = self.metrics.families()
        show_workers(own, self.standing())
        return self._sums.families(own)

    def act(self, target: Target, action: Action) -> None:
        """Do this with a target in all workers, and in those that start later."""
        if action is Action.ENABLE:
            self._deeds.pop(target.id, None)
        else:
            self._deeds[target.id] = action
        self._tell(Act(target.id, action))
        self._house.write(changed_line(target, action, at=time.time()))


async def _retain_nothing(_: Iterable[Account]) -> None:
    """The supervisor has no connections to providers."""
    await trio.lowlevel.checkpoint()


def _close(listeners: Iterable[Listener]) -> None:
    for listener in listeners:
        if isinstance(listener, trio.SocketListener):
            listener.socket.close()
