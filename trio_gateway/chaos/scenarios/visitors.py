"""Everybody who comes to a gateway that answers in bytes, in memory as on sockets.

They come when their crowds' dice say, ask again as their libraries would, leave when
their patience is over, and are counted as the simulator counts its own.
"""

from collections.abc import Awaitable, Callable

import trio

from trio_gateway.chaos.clock import sleep_until
from trio_gateway.chaos.scenarios.wire_clients import Answered, End
from trio_gateway.chaos.simulation.crowd import Crowd, Question
from trio_gateway.chaos.simulation.tally import Tally
from trio_gateway.chaos.worlds.world import World

# Carries a question to the gateway once, under the ticket of this try.
AskOnce = Callable[[Question, str], Awaitable[Answered]]


class Visitors:
    """All clients of one run.

    Args:
        world: whose clients.
        seed: of their dice.
        tally: where they are counted.
        ask_once: how they reach the gateway.
        began_at: what instant of Trio's clock is the world's 0.
    """

    def __init__(
        self,
        world: World,
        seed: int,
        tally: Tally,
        ask_once: AskOnce,
        *,
        began_at: float = 0.0,
    ) -> None:
        self._world = world
        self._seed = seed
        self._tally = tally
        self._ask_once = ask_once
        self._began_at = began_at

    async def come(self) -> None:
        """Let everybody come, and wait until all have been served or have left."""
        async with trio.open_nursery() as nursery:
            for number, clients in enumerate(self._world.clients):
                crowd = Crowd(clients, f"{self._seed}/{number}")
                nursery.start_soon(self._come, crowd, nursery)

    async def _come(self, crowd: Crowd, nursery: trio.Nursery) -> None:
        at = crowd.first_at()
        while at < self._world.duration_s:
            await sleep_until(self._began_at + at)
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
            answered = await self._ask_once(question, ticket)
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

    def _now(self) -> float:
        return trio.current_time() - self._began_at
