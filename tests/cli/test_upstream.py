"""`trio-gateway upstream`: faults as they are told, each request told as it ends."""

import signal
import socket
import ssl
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from tests.cli.processes import COMMAND, running
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


def test_a_port_in_use_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["upstream", "--port", str(port)])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: 127.0.0.1:{port} is in use")


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
