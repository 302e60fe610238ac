"""`trio-gateway upstream`: faults as they are told, each request told as it ends."""

import signal
import socket
import ssl
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from tests.cli.processes import COMMAND, POLICIES, running
from trio_gateway.cli import main

REQUEST = {"model": "any", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        (["status=503,raet=30%"], "did you mean 'rate'?"),
        (["rate=30%"], "a fault needs an effect"),
        (["status=503", "reset"], "the rates of the faults add up to 2"),
    ],
)
def test_a_fault_that_cannot_be_is_wrong_usage(faults: list[str], said: str) -> None:
    options = [part for fault in faults for part in ("--fault", fault)]
    result = CliRunner().invoke(main, ["upstream", "--port", "0", *options])
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["upstream", "--port", "0", "--gap", "nan"],
        ["upstream", "--port", "0", "--gap", "inf"],
        ["upstream", "--port", "0", "--speed", "nan"],
        ["bench", "--seconds", "nan"],
    ],
)
def test_what_is_no_finite_number_is_wrong_usage(command: list[str]) -> None:
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "nan" in result.stderr or "inf" in result.stderr


def test_a_port_in_use_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["upstream", "--port", str(port)])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: 127.0.0.1:{port} is in use")


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_number_that_is_no_port_is_wrong_usage(port: str) -> None:
    result = CliRunner().invoke(main, ["upstream", "--port", port])
    assert result.exit_code == 2
    assert "'--port'" in result.stderr


def test_the_providers_of_a_scenario_need_a_port_each() -> None:
    scenario = str(POLICIES / "scenarios/hard-outage.yaml")
    result = CliRunner().invoke(main, ["upstream", scenario, "--port", "65535"])
    assert result.exit_code == 2
    assert "2 providers have no ports from 65535 on" in result.stderr


def test_what_can_be_no_name_of_a_host_is_a_clear_error() -> None:
    result = CliRunner().invoke(main, ["upstream", "--host", "a..b", "--port", "0"])
    assert result.exit_code == 2
    assert result.stderr == "error: a..b is no name of a host\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_its_faults_and_ends_when_told(tmp_path: Path, number: int) -> None:
    command = (*COMMAND, "upstream", "--port", "0", "--fault", "status=503,times=1")
    with running(command, tmp_path / "log") as provider:
        base_url = provider.wait_for(r"^listening on (http://\S+)$")[1]
        url = f"{base_url}/chat/completions"
        with httpx.Client() as client:
            assert client.post(url, json=REQUEST).status_code == 503
            answer = client.post(url, json=REQUEST).json()
            assert answer["choices"][0]["message"]["content"]
            provider.wait_for(r"^1  /v1/chat/completions  503  answered$")
            provider.wait_for(r"^2  /v1/chat/completions  200  answered$")
        assert provider.end(number) == 0
        assert "Traceback" not in provider.said()


def test_with_tls_it_says_whom_to_trust(tmp_path: Path) -> None:
    command = (*COMMAND, "upstream", "--port", "0", "--tls")
    with running(command, tmp_path / "log") as provider:
        base_url = provider.wait_for(r"^listening on (https://\S+)$")[1]
        ca_file = provider.wait_for(r"^ca_file: (\S+)$")[1]
        trust = ssl.create_default_context(cafile=ca_file)
        answer = httpx.get(f"{base_url}/models", verify=trust)
        assert answer.json()["object"] == "list"
        assert provider.end() == 0
    assert not Path(ca_file).exists()


SEVERAL = (
    *("--provider", "name=openai,port=0,tokens=3"),
    *("--provider", "name=azure,port=0,dialect=azure,needs_key"),
)


def test_several_providers_run_at_once_each_with_its_faults(tmp_path: Path) -> None:
    options = (*SEVERAL, "--fault", "openai:status=503,times=1", "--control", "0")
    with running((*COMMAND, "upstream", *options), tmp_path / "log") as provider:
        openai = provider.wait_for(r"^openai  listening on (http://\S+/v1)$")[1]
        azure = provider.wait_for(r"^azure  listening on (http://\S+:\d+)$")[1]
        control = provider.wait_for(r"^control on (http://127\S+/control/)$")[1]
        path = "/openai/deployments/gpt/chat/completions?api-version=2024-10-21"
        with httpx.Client(trust_env=False) as client:
            assert client.post(f"{openai}/chat/completions", json=REQUEST).is_error
            assert client.post(f"{azure}{path}", json=REQUEST).status_code == 401
            key = {"api-key": "k"}
            answer = client.post(f"{azure}{path}", json=REQUEST, headers=key).json()
            assert answer["prompt_filter_results"]
            client.post(f"{control}faults", json={"preset": "auth_storm"})
            answer = client.post(f"{openai}/chat/completions", json=REQUEST)
            assert answer.status_code == 401
            log = client.get(f"{control}requests?provider=azure").json()["requests"]
            assert [one["has_key"] for one in log] == [False, True]
            # Where control has a port of its own, the providers' ports have none.
            assert client.get(f"{azure}/control/faults").status_code == 404
        provider.wait_for(r"^azure  2  \S+  200  answered$")
        assert provider.end() == 0
        assert "Traceback" not in provider.said()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--provider", "port=1"], "a provider needs a name"),
        (["--provider", "name=a"], "a provider needs a port"),
        (["--provider", "name=a,prot=1"], "did you mean 'port'?"),
        (["--provider", "name=a b,port=1"], "letters, digits"),
        (["--provider", "name=a,port=99999"], "is no port"),
        (["--provider", "name=a,port=1,port=2"], "port is there twice"),
        (["--provider", "name=a,port=1,tls=yes"], "tls takes no value"),
        (["--provider", "name=a,port=1,dialect=azur"], "did you mean 'azure'?"),
        (["--provider", "name=a,port=1,preset=flakey"], "did you mean 'flaky'?"),
        (["--provider", "name=a,port=1,capacity=0"], "capacity needs a number above"),
        (["--provider", "name=a,port=1,day=0.5"], "such as day=3/24h"),
        (["--provider", "name=a,port=1"] * 2, "two providers are called a"),
        (["--fault", "upstraem:status=503"], "did you mean 'upstream'?"),
        (["--speed", "0"], "--speed"),
    ],
)
def test_a_provider_that_cannot_be_is_wrong_usage(
    options: list[str], said: str
) -> None:
    result = CliRunner().invoke(main, ["upstream", *options])
    assert result.exit_code == 2
    assert said in result.stderr


def test_one_provider_has_its_control_on_its_own_port(tmp_path: Path) -> None:
    command = (*COMMAND, "upstream", "--port", "0", "--preset", "flap")
    with running(command, tmp_path / "log") as provider:
        base_url = provider.wait_for(r"^listening on (http://\S+)/v1$")[1]
        shown = httpx.get(f"{base_url}/control/faults", trust_env=False).json()
        assert shown["providers"]["upstream"]["preset"] == "flap"
        assert shown["providers"]["upstream"]["faults"] == ["refuse,flap=20s/20s"]
        assert provider.end() == 0


def test_a_scenario_runs_the_providers_of_its_policy(tmp_path: Path) -> None:
    scenario = str(POLICIES / "scenarios" / "hard-outage.yaml")
    command = (*COMMAND, "upstream", scenario, "--port", "0")
    with running(command, tmp_path / "log") as provider:
        url = provider.wait_for(r"^groq  listening on (http://\S+)$")[1]
        provider.wait_for(r"^together  listening on http://\S+$")
        models = httpx.get(f"{url}/models", trust_env=False).json()["data"]
        body = REQUEST | {"model": models[0]["id"], "max_tokens": 1}
        answer = httpx.post(f"{url}/chat/completions", json=body, trust_env=False)
        assert answer.status_code == 200
        assert provider.end() == 0


def test_a_scenario_has_its_own_weather() -> None:
    scenario = str(POLICIES / "scenarios" / "hard-outage.yaml")
    result = CliRunner().invoke(main, ["upstream", scenario, "--fault", "close"])
    assert result.exit_code == 2
    assert "its own providers and weather" in result.stderr
