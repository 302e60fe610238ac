"""`trio-gateway serve --workers`: real processes, signals and kills, under load."""

import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.factories import KEY
from tests.serving.doors import dial
from tests.serving.http2.client import Client as Http2Client
from tests.sockets.gateway import STUCK_S, chat_body, chat_request, eventually
from tests.sockets.test_gateway_process import (
    BRIEF,
    ENDLESS,
    LONG,
    Served,
    a_stream,
    read,
    serve_in_a_process,
    status_of,
)
from trio_gateway.chaos.vocabulary.answers import DONE, Pace
from trio_gateway.serving.workers.restarts import DEATHS_MAX

QUICK = Pace(tokens=2)
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}


async def serve_with_workers(
    nursery: trio.Nursery,
    folder: Path,
    *options: str,
    workers: int = 2,
    pace: Pace = QUICK,
    drain: str = "20s",
) -> Served:
    count = ("--workers", str(workers))
    served = await serve_in_a_process(
        nursery, folder, pace=pace, drain=drain, options=(*count, *options)
    )
    await eventually(lambda: len(pids(served)) == workers)
    return served


def pids(served: Served) -> dict[int, int]:
    """The newest process of each worker."""
    lines = [line for line in served.said if line["event"] == "worker_ready"]
    return {line["worker"]: line["pid"] for line in lines}


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@asynccontextmanager
async def operators(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=served.admin, trust_env=False, timeout=STUCK_S
    ) as client:
        yield client


async def metric(client: httpx.AsyncClient, sample: str) -> float:
    text = (await client.get("/metrics")).text
    found = re.search(rf"^{re.escape(sample)}\S* (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@dataclass
class Load:
    """Clients that keep their connections and ask again and again."""

    port: int
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[Exception] = field(default_factory=list)
    is_over: bool = False

    async def one(self) -> None:
        url = f"http://127.0.0.1:{self.port}/v1/chat/completions"
        async with httpx.AsyncClient(trust_env=False, timeout=STUCK_S) as client:
            while not self.is_over:
                body = chat_body(stream=False)
                try:
                    answer = await client.post(url, content=body, headers=HEADERS)
                except httpx.HTTPError as error:
                    self.failures.append(error)
                else:
                    self.statuses[answer.status_code] += 1
                await trio.sleep(0.01)

    async def one_over_http_2(self) -> None:
        """Ask by one connection until it says GOAWAY, and then by the next."""
        fields = tuple(HEADERS.items())
        while not self.is_over:
            client = await Http2Client(await dial(self.port)).begin()
            while not (client.goaways or client.has_ended or self.is_over):
                body = chat_body(stream=False)
                path = "/v1/chat/completions"
                number = await client.ask(path, *fields, method="POST", body=body)
                answer = await client.answer(number)
                if answer.is_whole:
                    self.statuses[answer.status or 0] += 1
                elif not any(number > last for _, last in client.goaways):
                    self.failures.append(EOFError(f"{number} of {client.goaways}"))
            await client.stream.aclose()


@asynccontextmanager
async def load_on(
    served: Served, clients: int = 4, *, is_http_2: bool = False
) -> AsyncIterator[Load]:
    load = Load(served.port)
    one = load.one_over_http_2 if is_http_2 else load.one
    with trio.fail_after(4 * STUCK_S):
        async with trio.open_nursery() as nursery:
            for _ in range(clients):
                nursery.start_soon(one)
            yield load
            load.is_over = True


@pytest.mark.parametrize("how", ["fast", "hypercorn", "hypercorn, HTTP/2"])
async def test_a_rolling_restart_loses_no_request_and_cuts_no_stream(
    how: str, nursery: trio.Nursery, tmp_path: Path
) -> None:
    server, _, version = how.partition(", ")
    served = await serve_with_workers(
        nursery, tmp_path, "--server", server, pace=Pace(tokens=10, gap_s=0.02)
    )
    old = pids(served)
    silent = [await dial(served.port) for _ in range(2)]  # ask only later
    loaded = load_on(served, is_http_2=bool(version))
    async with loaded as load, operators(served) as client:
        streams = [await a_stream(served.port) for _ in range(4)]
        assert await eventually(lambda: load.statuses[200] > 20)
        before = await metric(client, "trio_gateway_exchanges_total")

        served.process.send_signal(signal.SIGUSR2)
        await served.says("roll_started")
        for stream in silent:
            await stream.send_all(chat_request(stream=False))
            assert (await read(stream)).status == 200
        gots = [await read(stream) for stream in streams]
        await served.says("roll_done")

        after = await metric(client, "trio_gateway_exchanges_total")
        await trio.sleep(0.2)
    assert load.failures == []
    assert set(load.statuses) == {200}
    assert load.statuses[200] > 50
    assert [got.ending for got in gots] == ["whole"] * 4
    assert after > before > 0
    assert set(pids(served).values()).isdisjoint(old.values())
    assert not any(map(is_alive, old.values()))
    async with operators(served) as client:
        counted = await metric(client, "trio_gateway_exchanges_total")
    assert counted == load.statuses[200] + len(streams) + 2


async def test_a_killed_worker_takes_nothing_but_its_own_exchanges(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    served = await serve_with_workers(nursery, tmp_path, pace=LONG)
    streams = [await a_stream(served.port) for _ in range(12)]
    async with operators(served) as client:
        target = (await client.get("/admin/targets/a/m")).json()
        held = [worker["in_flight"] for worker in target["workers"]]
        assert sum(held) == target["in_flight"] == 12
        before = await metric(client, "trio_gateway_loop_lag_seconds_count")

        os.kill(pids(served)[0], signal.SIGKILL)
        late = [await a_stream(served.port) for _ in range(6)]

        endings = Counter([(await read(stream)).ending for stream in streams])
        assert endings["whole"] == held[1]
        assert endings["cut"] + endings["reset"] == held[0]
        assert {(await read(stream)).ending for stream in late} == {"whole"}
        died = await served.says("worker_died")
        assert (died["worker"], died["why"]) == (0, "killed by SIGKILL")
        assert await eventually(lambda: len(all_ready(served)) == 3)
        assert (await client.get("/readyz")).json()["workers"]["ready"] == 2
        assert await metric(client, "trio_gateway_loop_lag_seconds_count") > before
        assert await metric(client, "trio_gateway_worker_deaths_total") == 1
        assert await metric(client, "trio_gateway_in_flight") == 0


def all_ready(served: Served) -> list[Any]:
    return [line for line in served.said if line["event"] == "worker_ready"]


# Python runs this before anything else.
SICKNESS = """
import os, sys
if "trio_gateway.cli.worker" in sys.orig_argv and os.path.exists({file!r}):
    os._exit(7)
"""


async def test_a_crash_loop_is_told_and_bounded_and_a_roll_ends_it(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sick = tmp_path / "sick"
    (tmp_path / "sitecustomize.py").write_text(SICKNESS.format(file=str(sick)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    served = await serve_with_workers(nursery, tmp_path)
    sick.touch()
    os.kill(pids(served)[0], signal.SIGKILL)

    line = await served.says("worker_crash_loop")
    assert (line["worker"], line["retry_in_s"]) == (0, 30.0)
    async with operators(served) as client:
        ready = await client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["workers"] == {"ready": 1, "of": 2, "crash_loops": [0]}
        assert await metric(client, "trio_gateway_workers_looping") == 1
        assert (await read(await asked(served.port))).status == 200
        await trio.sleep(1)
        assert await metric(client, "trio_gateway_worker_deaths_total") == DEATHS_MAX

        sick.unlink()
        served.process.send_signal(signal.SIGUSR2)
        await served.says("roll_done")
        assert (await client.get("/readyz")).json()["workers"]["ready"] == 2


async def test_operators_act_on_all_workers_and_on_those_that_start_later(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    served = await serve_with_workers(nursery, tmp_path)
    async with operators(served) as client:

        async def states() -> list[tuple[int, str]]:
            shown = (await client.get("/admin/targets/a/m")).json()
            return [(each["worker"], each["state"]) for each in shown["workers"]]

        page = "/admin/targets/a/m"
        shown = (await client.post(page, json={"action": "drain"})).json()
        assert shown["state"] == "disabled"
        assert await states() == [(0, "disabled"), (1, "disabled")]

        os.kill(pids(served)[1], signal.SIGKILL)
        assert await eventually(lambda: len(all_ready(served)) == 3)
        assert await states() == [(0, "disabled"), (1, "disabled")]

        shown = (await client.post(page, json={"action": "enable"})).json()
        assert shown["state"] == "closed"
        assert await states() == [(0, "closed"), (1, "closed")]
        assert (await client.post(page, json={"action": "x"})).status_code == 422
        assert (await client.get("/admin/targets/a/x")).status_code == 404

    def actions() -> list[object]:
        acts = [x for x in served.said if x["event"] == "target_changed_by_operator"]
        return [line["action"] for line in acts]

    assert await eventually(lambda: actions() == ["drain", "enable"])


async def test_all_workers_change_the_policy_and_a_wrong_one_changes_nothing(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    served = await serve_with_workers(nursery, tmp_path)
    path = tmp_path / "policy.yaml"
    path.write_text(path.read_text().replace("model: m}", "model: m2}"))
    served.process.send_signal(signal.SIGHUP)
    await served.says("policy_reloaded")
    async with operators(served) as client:
        told = (await client.get("/admin/policy")).json()
        assert (told["revision"], told["workers_differ"]) == (2, False)
        assert len({one["hash"] for one in told["workers"]} | {told["hash"]}) == 1

        good = told["hash"]
        path.write_text("version: 1\nmodels: [")
        served.process.send_signal(signal.SIGHUP)
        await served.says("policy_refused")
        os.kill(pids(served)[0], signal.SIGKILL)  # the next one has the good one, too
        assert await eventually(lambda: len(all_ready(served)) == 3)
        told = (await client.get("/admin/policy")).json()
        assert [one["hash"] for one in told["workers"]] == [good, good]
        assert told["files_refused"]
        assert await metric(client, "trio_gateway_policy_refused") == 1

        answer = await read(await asked(served.port))
        assert answer.status == 200
        done = (await client.get("/admin/exchanges?limit=1")).json()["exchanges"]
        assert done[0]["target"] == "a/m2"
        line = await served.says("exchange")
        assert line["worker"] == done[0]["worker"]
        said = (await client.get("/admin/explain/chat")).json()
        assert [one["worker"] for one in said["workers"]] == [0, 1]
    assert len([x for x in served.said if x["event"] == "policy_refused"]) == 1


async def test_what_a_reload_removes_is_shown_of_no_worker_that_is_gone_either(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    served = await serve_with_workers(nursery, tmp_path)
    assert (await read(await asked(served.port))).status == 200
    old = 'trio_gateway_attempts_total{class="ok",reason="first",target="a/m"}'
    every = "trio_gateway_exchanges_total"
    async with operators(served) as client:
        assert await metric(client, old) == 1
        for pid in pids(served).values():
            os.kill(pid, signal.SIGKILL)
        assert await eventually(lambda: len(all_ready(served)) == 4)
        assert await metric(client, old) == 1

        path = tmp_path / "policy.yaml"
        path.write_text(path.read_text().replace("model: m}", "model: m2}"))
        served.process.send_signal(signal.SIGHUP)
        await served.says("policy_reloaded")
        assert await metric(client, old) == 0
        assert await metric(client, every) == 1


async def asked(port: int) -> trio.SocketStream:
    stream = await dial(port)
    await stream.send_all(chat_request(stream=False))
    return stream


async def test_sigterm_says_not_ready_lets_streams_finish_and_ends_all(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    served = await serve_with_workers(nursery, tmp_path, pace=LONG)
    streams = [await a_stream(served.port) for _ in range(4)]
    async with httpx.AsyncClient(trust_env=False) as client:
        served.process.send_signal(signal.SIGTERM)
        await served.says("draining")
        assert await status_of(client, f"{served.admin}/readyz") == 503

    assert {(await read(stream)).ending for stream in streams} == {"whole"}
    assert await served.ends() == 0
    assert not any(map(is_alive, pids(served).values()))


async def test_a_second_signal_ends_all_at_once(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    served = await serve_with_workers(nursery, tmp_path, pace=ENDLESS)
    stream = await a_stream(served.port)
    served.process.send_signal(signal.SIGTERM)
    await served.says("draining")
    served.process.send_signal(signal.SIGTERM)
    assert await served.ends() == 1
    assert (await read(stream)).ending in {"cut", "reset"}
    assert not any(map(is_alive, pids(served).values()))


async def test_workers_whose_supervisor_is_killed_drain_and_end(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    served = await serve_with_workers(nursery, tmp_path, pace=BRIEF)
    streams = [await a_stream(served.port) for _ in range(4)]
    served.process.kill()

    got = [await read(stream) for stream in streams]
    assert [(one.ending, one.body.endswith(DONE)) for one in got] == [
        ("whole", True)
    ] * 4
    assert await eventually(lambda: not any(map(is_alive, pids(served).values())))
    with pytest.raises(OSError, match="attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", served.port)
