"""`trio-gateway keys new`: what it prints is what policies and clients need."""

import re
from pathlib import Path

from click.testing import CliRunner

from trio_gateway.access.keys import Keyring
from trio_gateway.cli import main
from trio_gateway.policy.load import load_policy

POLICY = """\
version: 1
providers: {local: {base_url: http://127.0.0.1:9001/v1}}
models: {chat: {targets: [{provider: local, model: x}]}}
access_keys:
"""


def made() -> tuple[str, str]:
    """A new key and the line for the policy."""
    result = CliRunner().invoke(main, ["keys", "new"])
    assert result.exit_code == 0
    key = re.search(r"^key .*: (tgw_[0-9a-f]{64})$", result.stdout, re.MULTILINE)
    line = re.search(r"^for the policy: +(- .*)$", result.stdout, re.MULTILINE)
    assert key
    assert line
    assert key[1] not in line[1]
    return key[1], line[1]


def test_the_printed_line_lets_the_printed_key_in(tmp_path: Path) -> None:
    key, line = made()
    path = tmp_path / "policy.yaml"
    path.write_text(f"{POLICY}  {line}\n".replace("NAME", "app"))
    keyring = Keyring(load_policy(path, environ={}).access_keys)

    found = keyring.find(f"Bearer {key}", wall_now=0.0)
    assert found is not None
    assert found.name == "app"
    assert keyring.find(f"Bearer {made()[0]}", wall_now=0.0) is None
