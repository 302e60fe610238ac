"""What an open stream keeps while its upstream thinks."""

import json
import sys
from functools import partial

import trio
from trio.testing import MockClock

from tests.relay.driver import a_body, a_stream, an_event
from tests.web.house import a_house
from trio_gateway.chaos.vocabulary.script import Ending

LONG = 1024 * 1024


async def test_the_prompt_is_let_go_of_once_an_answer_has_begun(
    autojump_clock: MockClock,
) -> None:
    said = {"model": "chat", "stream": True, "messages": [{"content": "x" * LONG}]}
    prompt = json.dumps(said).encode()
    house = a_house(a=[a_stream(an_event("hi"), ending=Ending.HANG)])

    before = sys.getrefcount(prompt)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.post, prompt)
        await trio.sleep(1)
        assert house.gateway.in_flight == 1
        assert sys.getrefcount(prompt) == before + 1  # by who asks, in the test
        nursery.cancel_scope.cancel()
    assert house.record.first_token_s is not None


async def test_a_long_prompt_is_let_go_of_while_a_whole_answer_is_read_slowly(
    autojump_clock: MockClock,
) -> None:
    said = {"model": "chat", "messages": [{"content": "x" * LONG}]}
    prompt = json.dumps(said).encode()
    house = a_house(a=[a_body()])

    before = sys.getrefcount(prompt)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(house.post, prompt, reads_for_s=0.0))
        await trio.sleep(1)
        assert house.gateway.in_flight == 1
        assert sys.getrefcount(prompt) == before + 1  # by who asks, in the test
        nursery.cancel_scope.cancel()
