"""Requests and answers of HTTP/2, and that one stream is no other's business."""

from functools import partial

import pytest
import trio
from h2.errors import ErrorCodes
from hyperframe.frame import DataFrame, RstStreamFrame, WindowUpdateFrame
from trio.testing import MockClock

from tests.serving.http2.client import GET, Answer, Client
from tests.serving.http2.visits import visit
from tests.serving.toy import Receive, Send, Toy, answer, begin, part, whole_body
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.linger import PAUSE_S

BIG = 1_000_000


# Answers.


async def test_a_request_is_answered_without_the_servers_name(
    autojump_clock: MockClock,
) -> None:
    async def story(client: Client) -> None:
        got = await client.get("/hi")
        assert (got.status, got.body, got.is_whole) == (200, b"hi", True)
        assert got.fields.keys() == {"content-length", "date"}

    await visit(Toy(), story)


async def test_without_a_date_an_answer_does_not_depend_on_the_clock(
    autojump_clock: MockClock,
) -> None:
    async def story(client: Client) -> None:
        assert "date" not in (await client.get("/hi")).fields

    await visit(Toy(), story, limits=Limits(sends_date=False))


async def test_an_app_sees_a_request_as_it_was_asked(autojump_clock: MockClock) -> None:
    seen: list[tuple[object, ...]] = []

    class Curious(Toy):
        async def __call__(self, scope: object, receive: Receive, send: Send) -> None:
            assert isinstance(scope, dict)
            names = ("http_version", "method", "path", "query_string", "extensions")
            seen.append(tuple(scope[name] for name in names))
            seen.append(tuple(scope["headers"]))
            await answer(send, b"")

    async def story(client: Client) -> None:
        await client.get("/a%20b?c=d", ("x", "y"), ("cookie", "a"), ("cookie", "b"))

    await visit(Curious(), story)
    assert seen == [
        ("2", "GET", "/a b", b"c=d", {}),
        ((b"host", b"x"), (b"x", b"y"), (b"cookie", b"a; b")),
    ]


async def test_head_has_the_length_and_no_body(autojump_clock: MockClock) -> None:
    async def story(client: Client) -> None:
        got = await client.answer(await client.ask("/hi", method="HEAD"))
        assert (got.fields["content-length"], got.body) == ("2", b"")
        assert got.is_whole

    await visit(Toy(), story)


async def test_large_bodies_pass_whole_both_ways_and_connections_are_kept(
    autojump_clock: MockClock,
) -> None:
    class Mirror(Toy):
        async def at_mirror(self, receive: Receive, send: Send) -> None:
            await answer(send, await whole_body(receive))

    async def story(client: Client) -> None:
        for size in (0, 1, 16384, 16385, 3 * BIG):
            body = bytes(range(251)) * (size // 251) + b"x" * (size % 251)
            number = await client.ask("/mirror", method="POST", body=body)
            got = await client.answer(number)
            assert got.is_whole
            assert got.body == body

    await visit(Mirror(), story)


async def test_an_unfinished_answer_is_reset_and_never_ended(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def story(client: Client) -> None:
        got = await client.get("/cut")
        assert (got.status, got.body, got.is_whole) == (200, b"half", False)
        assert got.reset == ErrorCodes.INTERNAL_ERROR
        assert (await client.get("/hi")).is_whole

    await visit(Toy(), story)
    assert not caplog.records


async def test_a_bug_after_the_start_is_reset_too_and_logged_without_its_text(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def story(client: Client) -> None:
        got = await client.get("/late_bug")
        assert (got.body, got.reset) == (b"half", ErrorCodes.INTERNAL_ERROR)

    await visit(Toy(), story)
    (record,) = caplog.records
    assert "app_failed error=KeyError at=" in record.getMessage()
    assert "secret" not in caplog.text


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_bug_before_the_start_is_a_500(
    method: str, autojump_clock: MockClock
) -> None:
    async def story(client: Client) -> None:
        got = await client.answer(await client.ask("/bug", method=method))
        assert (got.status, got.is_whole) == (500, True)
        assert got.fields["x-gateway-target"] == "none"
        assert (b'"code":"internal_error"' in got.body) is (method == "GET")

    await visit(Toy(), story)


@pytest.mark.parametrize("size", [0, 4, 6])
async def test_an_answer_that_is_not_as_long_as_it_says_is_never_whole(
    size: int, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    class Wrong(Toy):
        async def at_wrong(self, receive: Receive, send: Send) -> None:
            await begin(send, headers=((b"content-length", b"5"),))
            await part(send, b"x" * size, more=False)

    async def story(client: Client) -> None:
        got = await client.get("/wrong")
        assert got.reset == ErrorCodes.INTERNAL_ERROR
        assert not got.is_whole

    await visit(Wrong(), story)
    assert "LengthError" in caplog.text


async def test_after_its_answer_an_app_receives_the_end(
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        assert (await client.get("/afterwards")).is_whole
        await app.ended.wait()
        assert trio.current_time() == 0

    await visit(app, story)
    assert app.seen == ["GET /afterwards", "http.disconnect"]


async def test_an_app_that_cancels_itself_at_the_end_has_said_all(
    autojump_clock: MockClock,
) -> None:
    async def story(client: Client) -> None:
        for _ in range(20):
            got = await client.get("/framework")
            assert (got.body, got.is_whole) == (b"hi", True)

    await visit(Toy(), story)


# Streams are independent.


async def test_many_requests_are_answered_at_once(autojump_clock: MockClock) -> None:
    async def story(client: Client) -> None:
        numbers = [await client.ask("/three") for _ in range(50)]
        for number in numbers:
            assert (await client.answer(number)).body == b"xxx"
        assert trio.current_time() < 1

    await visit(Toy(), story)


async def test_an_app_that_does_not_read_holds_back_no_other(
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        held = []
        for _ in range(5):  # which use up all that a connection is given at first
            number = await client.ask("/late_answer", method="POST", is_whole=False)
            window = client.h2.local_flow_control_window(number)
            await client.upload(number, b"x" * window, is_whole=False)
            held.append(number)
        number = await client.ask("/echo", method="POST", body=b"x" * BIG)
        assert (await client.answer(number)).body == b"%d" % BIG
        assert trio.current_time() == 0
        app.may_answer.set()
        for number in held:
            assert (await client.answer(number)).status == 413

    await visit(app, story)


async def test_who_leaves_a_stream_is_missed_at_once_and_the_others_go_on(
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        other = await client.ask("/three")
        left = await client.ask("/stream")
        await client.part_of(left)
        await client.leave(left)
        await trio.testing.wait_all_tasks_blocked()
        assert "disconnect" in app.seen
        assert trio.current_time() < 0.1
        assert (await client.answer(other)).body == b"xxx"
        assert (await client.get("/hi")).is_whole

    await visit(app, story)


async def test_who_leaves_while_it_takes_nothing_is_missed_at_once(
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        number = await client.ask("/flood")
        await client.part_of(number)
        await trio.sleep(5)
        assert not app.ended.is_set()
        await client.leave(number)
        await app.ended.wait()
        assert trio.current_time() == 5
        assert (await client.get("/hi")).is_whole

    await visit(app, story, reads=False)


async def test_the_end_of_a_connection_ends_all_that_is_done_for_it(
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        for path in ("/wait", "/stream", "/flood", "/wait"):
            await client.ask(path)
        await trio.sleep(5)

    await visit(app, story, reads=False)
    assert app.seen.count("disconnect") == 4
    assert trio.current_time() == 5


async def test_a_departure_overtakes_a_body_that_was_not_read(
    autojump_clock: MockClock,
) -> None:
    app = Toy()
    heard: list[str] = []

    async def at_lazy(receive: Receive, send: Send) -> None:
        await trio.sleep(1)
        heard.append((await receive())["type"])

    app.ways["lazy"] = at_lazy

    async def story(client: Client) -> None:
        number = await client.ask("/lazy", method="POST", is_whole=False)
        await app.started.wait()
        await client.upload(number, b"x" * 9000, is_whole=False)
        await client.leave(number)
        await app.ended.wait()

    await visit(app, story)
    assert heard == ["http.disconnect"]


async def test_a_request_that_is_left_in_the_packet_that_brings_it_starts_nothing(
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        client.h2.send_headers(1, GET, end_stream=True)
        client.h2.reset_stream(1, ErrorCodes.CANCEL)
        await client.flush()
        assert (await client.get("/")).is_whole

    await visit(app, story)
    assert app.seen == ["GET /"]


async def test_a_reset_that_crosses_the_end_of_its_answer_harms_nobody(
    autojump_clock: MockClock,
) -> None:
    async def story(client: Client) -> None:
        first = await client.ask("/hi")
        await client.answer(first)
        other = await client.ask("/three")  # h2 has forgotten the first
        await client.send(
            RstStreamFrame(first, ErrorCodes.CANCEL), WindowUpdateFrame(first, 100)
        )
        assert (await client.answer(other)).body == b"xxx"

    await visit(Toy(), story)


async def test_data_for_a_stream_that_has_ended_harms_nobody(
    autojump_clock: MockClock,
) -> None:
    async def story(client: Client) -> None:
        other = await client.ask("/three")
        left = await client.ask("/early", method="POST", is_whole=False)
        await client.until(lambda: client.answers[left].reset is not None)
        await client.send(*(DataFrame(left, b"x" * 9000) for _ in range(50)))
        assert (await client.answer(other)).body == b"xxx"
        body = b"x" * BIG
        number = await client.ask("/echo", method="POST", body=body)
        assert (await client.answer(number)).body == b"%d" % BIG

    await visit(Toy(), story)


# Bodies.


def has_answered(got: Answer) -> bool:
    return bool(got.interim) or got.is_over


async def test_a_body_is_asked_for_only_when_the_app_wants_it(
    autojump_clock: MockClock,
) -> None:
    expects = ("expect", "100-continue")

    async def story(client: Client) -> None:
        for path, interim in (("/echo", [100]), ("/early", [])):
            number = await client.ask(path, expects, method="POST", is_whole=False)
            got = client.answers[number]
            await client.until(partial(has_answered, got))
            assert got.interim == interim
            await client.upload(number, b"12", is_whole=True)
            await client.answer(number)

    await visit(Toy(), story)


async def test_an_early_answer_is_whole_and_the_rest_of_the_request_is_let_go(
    autojump_clock: MockClock,
) -> None:
    async def story(client: Client) -> None:
        number = await client.ask("/early", method="POST", body=b"x" * 5 * BIG)
        got = await client.answer(number)
        assert (got.status, got.is_whole, got.reset) == (413, True, None)
        assert trio.current_time() == 0

    await visit(Toy(), story)


@pytest.mark.parametrize("size", [10, 70 * BIG])
async def test_the_rest_of_a_request_is_waited_for_only_so_long(
    size: int, autojump_clock: MockClock
) -> None:
    async def story(client: Client) -> None:
        number = await client.ask("/early", method="POST", is_whole=False)
        got = await client.answer(number)
        assert got.is_whole
        left = size
        while got.reset is None:
            window = client.h2.local_flow_control_window(number)
            if not left or not window:
                await client.receive()
                continue
            sent = min(left, window, 16384)
            client.h2.send_data(number, b"x" * sent)
            await client.flush()
            left -= sent
            await trio.testing.wait_all_tasks_blocked()
        assert got.reset == ErrorCodes.NO_ERROR
        assert (left > 0) is (size == 70 * BIG)
        assert trio.current_time() == pytest.approx(PAUSE_S if size == 10 else 0)

    await visit(Toy(), story)


async def test_padding_opens_the_window_again(autojump_clock: MockClock) -> None:
    async def story(client: Client) -> None:
        number = await client.ask("/echo", method="POST", is_whole=False)
        for _ in range(2000):  # which is more than any window
            while client.h2.local_flow_control_window(number) < 256:
                await client.receive()
            client.h2.send_data(number, b"x", pad_length=255)
            await client.flush()
        client.h2.end_stream(number)
        await client.flush()
        assert (await client.answer(number)).body == b"2000"

    await visit(Toy(), story)
