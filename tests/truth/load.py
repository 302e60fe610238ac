"""A scenario's clients on real sockets: the same crowds, the same dice, real time."""

import trio

from trio_gateway.chaos.scenarios.visitors import Visitors
from trio_gateway.chaos.scenarios.wire_clients import Answered, End, ask
from trio_gateway.chaos.simulation.crowd import Question
from trio_gateway.chaos.simulation.tally import RouteTally, Tally
from trio_gateway.chaos.worlds.world import World


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
        visitors = Visitors(
            self._world,
            self._seed,
            self._tally,
            self._ask_once,
            began_at=self._began_at,
        )
        await visitors.come()
        return self._tally.result().total

    async def _ask_once(self, question: Question, ticket: str) -> Answered:
        asked_at = trio.current_time()
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", self._port)
            async with stream:
                answered = await ask(stream, question, ticket)
        except OSError:  # nobody is there: as bad as an answer that broke
            return Answered(End.BROKEN)
        if answered.opened_at is not None:
            since_s = answered.opened_at - self._began_at
            self._tally.opened(
                question.crowd.clients.slug,
                first_token_s=answered.opened_at - asked_at,
                wait_s=since_s - question.asked_at,
            )
            is_cut = answered.end is End.BROKEN
            self._tally.route(question.crowd.clients.slug).interrupted += is_cut
        return answered
