"""Every policy that we ship loads, and the reference knows every key."""

import re
from pathlib import Path
from typing import Any

import pytest

from trio_gateway.failover.failures import FailureClass
from trio_gateway.policy.fields import FIXED_FAILURES
from trio_gateway.policy.load import load_policy
from trio_gateway.policy.model import PolicySection
from trio_gateway.policy.route import FAILURES_THAT_MOVE, Policy

POLICIES = Path(__file__).parents[2] / "policies"
REFERENCE = (POLICIES / "README.md").read_text()
EXAMPLES = sorted(POLICIES.glob("*.yaml"))
ENVIRON = {
    "DEMO_FLAKY_URL": "http://127.0.0.1:4001",
    "DEMO_STEADY_URL": "http://127.0.0.1:4002",
    "DEMO_KEY": "tgw_demo",
    "OPENAI_API_KEY": "sk-openai",
    "GROQ_API_KEY": "sk-groq",
    "TOGETHER_API_KEY": "sk-together",
    "MISTRAL_API_KEY": "sk-mistral",
    "AZURE_EU_KEY": "azure-key",
    "APP_KEY": "tgw_app",
    "CHAT_KEY": "tgw_chat",
    "BATCH_KEY": "tgw_batch",
}


def example(name: str) -> Policy:
    return load_policy(POLICIES / name, environ=ENVIRON)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_loads_and_says_what_it_is_for(path: Path) -> None:
    assert example(path.name).routes
    assert re.match(r"# \w.{20,}\n#\n", path.read_text())
    assert f"`{path.name}`" in REFERENCE


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_names_the_variables_that_it_needs(path: Path) -> None:
    text = path.read_text()
    variables = set(re.findall(r"\$\{(\w+)\}", text))
    if path.name != "demo.yaml":  # there, `serve --demo` sets them
        instruction = text.partition("version:")[0]
        assert variables <= set(re.findall(r"\w+", instruction))


def test_the_demo_asks_the_flaky_provider_first_and_the_steady_one_second() -> None:
    policy = example("demo.yaml")
    targets = policy.routes["demo-chat"].targets
    assert [target.id for target in targets] == [
        "flaky/demo-small",
        "steady/demo-small",
    ]
    assert policy.accounts["flaky"].base_url == "http://127.0.0.1:4001/v1"
    assert [key.name for key in policy.access_keys] == ["demo"]


def test_chat_is_less_patient_than_batch() -> None:
    routes = example("chat-and-batch.yaml").routes
    chat, batch = routes["chat"].timeouts, routes["batch"].timeouts
    assert (chat.first_token.hard_s, batch.first_token.hard_s) == (6, 60)
    assert (chat.connect_s, batch.connect_s) == (2, 2)


def test_the_context_chain_is_no_part_of_the_targets() -> None:
    route = example("context-length.yaml").routes["documents"]
    assert [target.id for target in route.context_chain] == ["openai/gpt-4.1-mini"]
    assert len(route.targets) == 2


def keys_of(schema: dict[str, Any]) -> set[str]:
    sections = [schema, *schema["$defs"].values()]
    return {key for section in sections for key in section.get("properties", ())}


def test_the_reference_has_every_key() -> None:
    keys = keys_of(PolicySection.model_json_schema())
    assert {"soft", "base", "jitter", "sha256", "context_length_fallback"} <= keys
    missing = {key for key in keys if not re.search(rf"[`.]{key}(`|:)", REFERENCE)} - {
        "backoff",
        "retry_after",
        "open",
    }  # these stand before a dot alone
    assert missing == set()


def test_the_reference_has_no_row_of_a_key_that_is_none() -> None:
    keys = keys_of(PolicySection.model_json_schema())
    rows = re.findall(r"^\| `([a-z_0-9.]+)`(?:, `(\w+)`)? \|", REFERENCE, re.MULTILINE)
    written = {part for row in rows for name in row for part in name.split(".")}
    known = keys | {str(kind) for kind in FailureClass} | {"yaml", ""}
    elsewhere = {path.stem for path in EXAMPLES}
    assert written - known - elsewhere == set()


def test_the_reference_says_of_every_failure_class_whether_it_moves_on() -> None:
    for kind in FailureClass:
        word = "yes" if kind in FAILURES_THAT_MOVE else "no"
        word = "never" if kind in FIXED_FAILURES else word
        assert f"| `{kind}` | {word} |" in REFERENCE
