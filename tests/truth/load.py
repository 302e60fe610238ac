"""A scenario's clients on real sockets: the same crowds, the same dice, real time."""

import trio

from trio_gateway.chaos.crowd import Crowd, Question
from trio_gateway.chaos.scenarios.wire_clients import Answered, End, ask
from trio_gateway.chaos.tally import RouteTally, Tally
from trio_gateway.chaos.world import World


class Load:
    """Everybody who comes to one gateway.

    Args:
        world: whose clients.
        seed: of their dice.
        port: the gateway's, on this machine.
    """

    def __init__(self, world: World, seed: int, port: int) -> None:
        self._world = world
        self._seed = seed
        self._port = port
        self._began_at = 0.0
        self._tally = Tally(str(seed), world.duration_s)
        for route in world.routes:
            self._tally.route(route.slug)

    async def run(self) -> RouteTally:
        """Let everybody come, and wait until all have been served."""
        self._began_at = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number, clients in enumerate(self._world.clients):
                crowd = Crowd(clients, f"{self._seed}/{number}")
                nursery.start_soon(self._come, crowd, nursery)
        return self._tally.result().total

    async def _come(self, crowd: Crowd, nursery: trio.Nursery) -> None:
        at = crowd.first_at()
        while at < self._world.duration_s:
            await trio.sleep_until(self._began_at + at)
            question = crowd.question(at)
            self._tally.asked(crowd.clients.slug, at)
            nursery.start_soon(self._visit, question, crowd.patience_s())
            at = crowd.next_at(at)

    async def _visit(self, question: Question, patience_s: float) -> None:
        slug = question.crowd.clients.slug
        with trio.move_on_after(patience_s) as patience:
            if await self._ask_until_done(question):
                self._tally.answered(slug, self._now())
            else:
                self._tally.failed(slug, self._now())
        if patience.cancelled_caught:
            self._tally.left(slug)

    async def _ask_until_done(self, question: Question) -> bool:
        while True:
            question.tries += 1
            ticket = f"{question.name}/{question.tries}"
            asked_at = trio.current_time()
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", self._port)
                async with stream:
                    answered = await ask(stream, question, ticket)
            except OSError:  # nobody is there: as bad as an answer that broke
                return False
            self._opened(question, answered, asked_at)
            match answered.end:
                case End.WHOLE:
                    return True
                case End.BROKEN:
                    return False
                case End.REFUSED | End.TIMED_OUT:
                    after_s = question.crowd.asks_again_s(question, answered.refuse)
                    if after_s is None:
                        return False
                    await trio.sleep(after_s)

    def _opened(self, question: Question, answered: Answered, asked_at: float) -> None:
        if answered.opened_at is not None:
            since_s = answered.opened_at - self._began_at
            self._tally.opened(
                question.crowd.clients.slug,
                first_token_s=answered.opened_at - asked_at,
                wait_s=since_s - question.asked_at,
            )

    def _now(self) -> float:
        return trio.current_time() - self._began_at
