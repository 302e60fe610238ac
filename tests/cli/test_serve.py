"""`trio-gateway serve`: what it refuses, and the demo as a newcomer meets it."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from tests.cli import curl
from tests.cli.processes import COMMAND, POLICIES, Running, running
from trio_gateway.cli import main

DEMO = ("serve", "--demo", "--policy", str(POLICIES / "demo.yaml"))
ANYWHERE = ("--bind", "127.0.0.1:0", "--admin", "127.0.0.1:0")
ADMIN_KEY = "TRIO_GATEWAY_ADMIN_KEY"


def refused(*arguments: str, env: Mapping[str, str | None] | None = None) -> str:
    """What is said on stderr when `serve` ends with 2 before it serves."""
    result = CliRunner(env=env).invoke(main, arguments)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    return result.stderr


@pytest.mark.parametrize("demo", [[], ["--demo"]])
def test_a_wrong_policy_is_reported_like_by_check(
    tmp_path: Path, demo: list[str]
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("version: 1\nprovider: {}\nmodels: {}\n")
    said = refused("serve", "--policy", str(path), *demo, *ANYWHERE)
    checked = CliRunner().invoke(main, ["check", str(path)])
    assert said == checked.stderr
    assert f"{path}:2:1: provider: " in said


def test_missing_secrets_are_named_all_at_once() -> None:
    env = {"GROQ_API_KEY": None, "TOGETHER_API_KEY": None, "APP_KEY": None}
    policy = str(POLICIES / "two-providers.yaml")
    said = refused("serve", "--policy", policy, *ANYWHERE, env=env)
    assert all(f"environment variable {name} is unset" in said for name in env)


def test_an_admin_address_for_others_needs_a_key() -> None:
    said = refused(*DEMO, "--admin", "0.0.0.0:9090", env={ADMIN_KEY: None})
    assert f"set {ADMIN_KEY}" in said


@pytest.mark.parametrize("count", ["0", "-1", "65", "many"])
def test_a_number_of_workers_that_can_be_none_is_refused(count: str) -> None:
    assert "--workers" in refused(*DEMO, "--workers", count)


def test_a_limit_that_cannot_be_divided_among_the_workers_is_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "small.yaml"
    demo = (POLICIES / "demo.yaml").read_text()
    url = "base_url: ${DEMO_STEADY_URL}/v1"
    path.write_text(demo.replace(url, f"{url}\n    max_concurrency: 3"))
    said = refused(
        "serve", "--demo", "--policy", str(path), *ANYWHERE, "--workers", "4"
    )
    assert "providers.steady.max_concurrency: 3 cannot be divided among 4" in said
    assert "serve with --workers 3" in said


def test_a_key_without_a_certificate_is_wrong_usage() -> None:
    said = refused(*DEMO, *ANYWHERE, "--tls-key", "key.pem")
    assert "--tls-key key.pem has no certificate: name its file with --tls-cert" in said


def test_a_certificate_that_cannot_be_used_is_said_before_anything_is_served(
    tmp_path: Path,
) -> None:
    gone = tmp_path / "gone.pem"
    said = refused(*DEMO, *ANYWHERE, "--tls-cert", str(gone))
    assert said.startswith(f"error: --tls-cert {gone}: cannot be read: No such file")


def test_a_policy_is_required() -> None:
    assert "--policy" in refused("serve", "--demo")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("option", ["--bind", "--admin"])
def test_a_port_in_use_is_a_clear_error(
    tmp_path: Path, option: str, workers: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = (*COMMAND, *DEMO, *ANYWHERE, "--workers", workers, option, address)
        with running(command, tmp_path / "log") as gateway:
            assert gateway.wait() == 2
    assert gateway.said() == (
        f"error: {option}: cannot listen on {address}: Address already in use; "
        "choose another port, or 0 for a free one\n"
    )


def test_if_no_worker_becomes_ready_it_ends_with_their_word(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'trio_gateway.cli.worker' in sys.orig_argv: os._exit(3)\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = (*COMMAND, *DEMO, *ANYWHERE, "--workers", "2")
    with running(command, tmp_path / "log", environ=environ) as gateway:
        assert gateway.wait() == 1
    assert "error: no worker became ready: exit code 3\n" in gateway.said()
    assert "Traceback" not in gateway.said()


def test_a_demo_with_workers_is_told_to_a_person(tmp_path: Path) -> None:
    command = (*COMMAND, *DEMO, *ANYWHERE, "--workers", "2")
    with running(command, tmp_path / "log") as gateway:
        gateway.wait_for(r"^listening on \S+, admin on \S+, 2 workers\n")
        gateway.wait_for(r"^curl .*\n")
        assert "chatcmpl" in pasted(gateway, curl.on_path(tmp_path))
        gateway.wait_for(r"^\d\d:\d\d:\d\d  demo-chat  200  answer  ")
        assert gateway.end(signal.SIGINT) == 0
    assert "{" not in gateway.said().replace("-d '{", "").replace('[{"role', "")
    assert "Traceback" not in gateway.said()


@pytest.mark.parametrize("option", ["--bind", "--admin"])
def test_what_is_no_address_is_told_with_its_option(option: str) -> None:
    said = refused(*DEMO, *ANYWHERE, option, "localhost", env={ADMIN_KEY: None})
    assert f"{option}: 'localhost' is not an address: write HOST:PORT" in said


def test_clients_and_operators_cannot_have_one_address() -> None:
    said = refused(*DEMO, "--bind", "127.0.0.1:9090", "--admin", "127.0.0.1:9090")
    assert "--bind and --admin are both 127.0.0.1:9090" in said


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The demo on free ports."""
    log = tmp_path_factory.mktemp("demo") / "log"
    with running((*COMMAND, *DEMO, *ANYWHERE), log) as gateway:
        gateway.wait_for(r"^curl .*\n")
        yield gateway
        assert gateway.end() == 0
        assert "Traceback" not in gateway.said()


def pasted(demo: Running, path: str) -> str:
    """What the command that the demo announces prints, pasted into a shell."""
    command = demo.wait_for(r"^curl .*\n")[0]
    shell = ["sh", "-c", command]
    answer = subprocess.run(
        shell, env={"PATH": path}, capture_output=True, timeout=60, check=True
    )
    return answer.stdout.decode()


def test_the_announced_curl_works_as_often_as_it_is_pasted(
    demo: Running, tmp_path: Path
) -> None:
    path = curl.on_path(tmp_path)
    for _ in range(5):
        answer = json.loads(pasted(demo, path))
        assert answer["choices"][0]["finish_reason"] == "stop"
    # The weather is the same in every run: some of the first five fail over.
    demo.wait_for(
        r"^\d\d:\d\d:\d\d  demo-chat  200  answer  \d+ ms  "
        r"flaky/demo-small: \w+.* -> steady/demo-small: ok$"
    )


def test_the_stand_in_for_curl_does_what_curl_does(
    demo: Running, tmp_path: Path
) -> None:
    path = f"{curl.stand_in(tmp_path)}:/usr/bin:/bin"
    assert json.loads(pasted(demo, path))["object"] == "chat.completion"


def test_the_admin_listener_is_where_the_demo_says(demo: Running) -> None:
    admin = demo.wait_for(r"^listening on .*, admin on (http://\S+)$")[1]
    assert httpx.get(f"{admin}/readyz").json() == {"status": "ready"}
    metrics = httpx.get(f"{admin}/metrics").text
    assert "trio_gateway_in_flight 0.0" in metrics
    assert re.search(
        r"^trio_gateway_loop_lag_seconds_count [1-9]", metrics, re.MULTILINE
    )


def test_an_operator_drains_a_target_of_the_demo(demo: Running) -> None:
    admin = demo.wait_for(r"^listening on .*, admin on (http://\S+)$")[1]
    target = f"{admin}/admin/targets/steady/demo-small"
    assert httpx.post(target, json={"action": "drain"}).json()["state"] == "disabled"
    demo.wait_for(r'"event":"target_changed_by_operator","target":"steady/demo-small"')
    shown = httpx.post(target, json={"action": "enable"}).json()
    assert shown["state"] != "disabled"
    assert shown["models"] == ["demo-chat"]


def test_an_admin_key_from_the_environment_is_asked_for(
    tmp_path: Path,
) -> None:
    command = (*COMMAND, *DEMO, *ANYWHERE, "--admin", "0.0.0.0:0", "--log", "json")
    environ = {**os.environ, ADMIN_KEY: "ops"}
    with running(command, tmp_path / "log", environ=environ) as gateway:
        line = json.loads(gateway.wait_for(r"^\{.*\}$")[0])
        assert line["event"] == "listening"
        assert line["pid"] == gateway.process.pid
        port = line["admin"].rpartition(":")[2]
        metrics = f"http://127.0.0.1:{port}/metrics"
        assert httpx.get(metrics).status_code == 401
        bearer = {"authorization": "Bearer ops"}
        assert httpx.get(metrics, headers=bearer).status_code == 200
        assert gateway.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("server", ["fast", "hypercorn"])
def test_either_serving_loop_serves(tmp_path: Path, server: str) -> None:
    command = (*COMMAND, *DEMO, *ANYWHERE, "--server", server)
    with running(command, tmp_path / "log") as gateway:
        clients = gateway.wait_for(r"listening on (http://\S+?),")[1]
        answer = httpx.post(
            f"{clients}/v1/chat/completions",
            headers={"authorization": "Bearer demo"},
            json={"model": "demo-chat", "messages": [{"role": "user", "content": "x"}]},
            timeout=10,
        )
        names = {name for name, _ in answer.headers.raw}
        gateway.end(signal.SIGINT)
    assert answer.status_code == 200
    assert answer.json()["choices"]
    assert b"x-gateway-target" in names
