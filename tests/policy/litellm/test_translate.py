"""LiteLLM's configurations as policies: each loads, and nothing is lost in silence."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from trio_gateway.policy.files.problems import PolicyError
from trio_gateway.policy.judgement.judge import judge
from trio_gateway.policy.litellm.translate import Translation, translate
from trio_gateway.policy.load import load, read_policy
from trio_gateway.policy.resolve import resolve
from trio_gateway.policy.route import Policy

CONFIGS = sorted(Path(__file__).parent.glob("*.yaml"))
ADDRESS = "https://somewhere.test"


def translated(name: str) -> Translation:
    path = Path(__file__).with_name(f"{name}.yaml")
    return translate(path.name, path.read_bytes())


def written(name: str) -> Any:
    return yaml.safe_load(translated(name).policy)


def policy(made: Translation) -> Policy:
    environ = dict.fromkeys(made.variables, ADDRESS)
    sources = [("made.yaml", made.policy.encode())]
    return resolve(read_policy(sources, environ=environ, root=""), revision="")


def notes(name: str) -> str:
    return "\n".join(str(note) for note in translated(name).notes)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_what_is_made_loads_and_can_be_judged(path: Path, tmp_path: Path) -> None:
    made = translate(path.name, path.read_bytes())
    assert policy(made).routes
    file = tmp_path / "policy.yaml"
    file.write_text(made.policy)
    loaded = load(file, environ=dict.fromkeys(made.variables, ADDRESS))
    assert judge(loaded, wall_now=0.0).bounds


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_literal_secret_stays_behind(path: Path) -> None:
    made = translate(path.name, path.read_bytes())
    assert "hunter2" not in made.policy
    assert not any("hunter2" in str(note) for note in made.notes)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_note_stands_in_the_policy_as_a_comment(path: Path) -> None:
    made = translate(path.name, path.read_bytes())
    comments = [line[4:] for line in made.policy.splitlines() if line[:4] == "#   "]
    assert comments == [str(note) for note in made.notes]


def mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping whose keys LiteLLM gives a meaning, not an operator."""
    names = ("extra_headers", "fallbacks", "model_group_alias", "retry_policy")
    if isinstance(value, dict):
        yield value
        for key, inner in value.items():
            if not key.endswith((*names, "_policy", "_fallbacks", "_params_")):
                yield from mappings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from mappings(inner)


def is_left_out(place: dict[str, Any]) -> bool:
    """Whether the whole mapping is, which a note says."""
    model = str(place.get("model", ""))
    return (
        model.startswith(("bedrock/", "text-embedding", "*"))
        or place.get("mode") == "embedding"
        or "description" in place
        or place.get("type") == "redis"
    )


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_key_that_we_do_not_know_is_named_wherever_it_stands(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    for index, _ in enumerate(mappings(config)):
        changed = copy.deepcopy(config)
        place = list(mappings(changed))[index]
        place["surprise"] = True
        made = translate("f", yaml.safe_dump(changed).encode())
        said = [str(note) for note in made.notes]
        assert any("surprise" in note for note in said) or is_left_out(place), place


def test_a_group_is_a_tier_with_its_shares_in_small_numbers() -> None:
    [tier] = written("balanced")["models"]["chat"]["targets"]
    assert [target["weight"] for target in tier] == [1, 1, 240]
    assert "model_list[2].litellm_params.rpm: is no limit here" in notes("balanced")


def test_an_azure_address_loses_the_part_that_the_gateway_adds() -> None:
    providers = written("balanced")["providers"]
    assert providers["azure-3"]["base_url"] == "https://our-france.openai.azure.com"
    assert providers["azure"]["api_version"] == "2024-06-01"
    assert providers["azure"]["api_key"] == "${AZURE_KEY_EUROPE}"


def test_an_alias_is_a_model_of_its_own() -> None:
    models = written("balanced")["models"]
    assert models["chat-latest"] == models["hidden-chat"] == models["chat"]
    assert "gone" not in models
    assert "gone stands for no group" in notes("balanced")
    assert "hidden-chat is shown" in notes("balanced")


def test_fallbacks_come_after_the_group_and_larger_contexts_apart() -> None:
    model = written("fallbacks")["models"]["zephyr-beta"]
    own, behind = model["targets"]
    assert [target["provider"] for target in own] == ["huggingface", "huggingface-2"]
    assert behind == {"provider": "openai", "model": "gpt-4o-mini"}
    larger = [{"provider": "openai", "model": "gpt-4.1"}]
    assert model["context_length_fallback"] == larger


def test_retries_and_fallbacks_are_counted_together() -> None:
    models = written("fallbacks")["models"]
    assert models["zephyr-beta"]["attempts"] == {"max": 5}
    assert models["small"]["attempts"] == {"max": 4, "same_target": 3}
    assert models["large"]["attempts"] == {"max": 4, "same_target": 3}
    assert written("catch_all")["models"]["c"]["attempts"] == {"max": 5}
    assert "10 attempts of one request" in notes("catch_all")
    assert "attempts" not in written("balanced")["models"]["chat"]


def test_timeouts_and_cooldowns_hold_for_all() -> None:
    made = written("fallbacks")["defaults"]
    assert made["timeouts"] == {"first_token": "10s", "answer": "10s"}
    assert made["circuit_breaker"] == {"consecutive": 4, "open": {"base": "45s"}}
    ordered = written("ordered")["defaults"]
    assert ordered["circuit_breaker"] == {"consecutive": 1, "open": {"base": "5500ms"}}
    assert ordered["retry"]["backoff"] == {"initial": "20s", "max": "20s"}


def test_one_secret_gets_one_variable_and_another_another() -> None:
    made = translated("fallbacks")
    assert made.variables == (
        "HUGGINGFACE_API_KEY",
        "OPENAI_API_KEY",
        "LITELLM_MASTER_KEY",
    )
    assert "TOGETHERAI_API_KEY_2" in translated("catch_all").variables
    assert written("fallbacks")["access_keys"] == [
        {"name": "master", "key": "${LITELLM_MASTER_KEY}"}
    ]


def test_what_cannot_be_asked_is_left_out_and_said_to_be() -> None:
    made = written("mixed")["models"]
    slugs = ["claude", "team-one", "local", "local-ollama", "vllm"]
    assert list(made) == slugs
    assert len(made["claude"]["targets"]) == 1
    said = notes("mixed")
    for words in (
        "mixed.yaml:9: model_list[1]: is of bedrock",
        "is for embedding",
        "stands for any model",
        "'team one' is no slug, and called team-one",
        "AI-Resource Group: is not the name of a header field",
        "litellm_settings.cache: has no counterpart",
        "environment_variables.LANGFUSE_SECRET_KEY: stays behind",
        "there is no master_key",
    ):
        assert words in said


def test_organizations_are_providers_that_fail_together() -> None:
    providers = written("mixed")["providers"]
    first, second = providers["openai"], providers["openai-2"]
    assert first["headers"] | {"OpenAI-Organization": "org-2"} == second["headers"]
    assert second["failure_domain"] == "openai"
    assert first["headers"]["api-key"] == "${API_KEY}"


def test_servers_of_ones_own_are_asked_without_a_key() -> None:
    providers = written("mixed")["providers"]
    assert providers["openai-3"] == {"base_url": "http://127.0.0.1:8000/v1"}
    assert providers["hosted-vllm"] == {"base_url": "${VLLM_BASE}"}
    assert providers["ollama"] == {"base_url": "${OLLAMA_API_BASE}"}


def test_limits_of_the_process_and_of_deployments_are_taken_over() -> None:
    made = written("mixed")
    assert made["gateway"] == {"max_in_flight": 300, "max_body": "10MiB"}
    [target, _] = made["models"]["vllm"]["targets"]
    assert target["max_concurrency"] == 8
    [target, _] = made["models"]["local"]["targets"]
    assert target["max_concurrency"] == 50
    assert target["context_tokens"] == 131_072


def test_parameters_of_a_deployment_become_overrides() -> None:
    [target] = written("mixed")["models"]["claude"]["targets"]
    assert target["overrides"] == {"temperature": 0.2, "max_tokens": 2000}
    assert "temperature: is set in every request here" in notes("mixed")


def test_an_order_is_a_list_of_tiers_and_a_spare_one_is_last() -> None:
    model = written("ordered")["models"]["chat"]
    tier, second, spare = model["targets"]
    assert [(t["provider"], t["weight"]) for t in tier] == [("azure", 9), ("groq", 1)]
    assert (second["provider"], spare["provider"]) == ("openai", "mistral")
    assert tier[0]["timeouts"] == {"first_token": "250ms", "answer": "500ms"}
    assert tier[1]["timeouts"] == {"first_token": "60s", "answer": "900s"}
    assert model["timeouts"] == {"precommit": "60s", "total": "900s"}


def test_refused_content_moves_on_where_the_next_target_is_the_same() -> None:
    models = written("content")["models"]
    assert "content_filter" in models["strict"]["fallback_on"]
    assert "fallback_on" not in models["other"]
    assert "content_policy_fallbacks of other" in notes("content")


def test_a_fallback_may_be_one_deployment_and_credentials_have_names() -> None:
    made = written("content")
    strict = {"provider": "azure", "model": "strict"}
    assert made["models"]["other"]["targets"][1] == strict
    assert made["providers"]["azure"]["api_key"] == "${AZURE_KEY}"
    assert "names unknown, which is no group" in notes("content")
    assert "names no credential in the file" in notes("content")


def test_the_smallest_configuration_needs_few_lines() -> None:
    made = written("plain")
    assert list(made) == ["version", "providers", "access_keys", "models"]
    assert made["models"]["groq/llama"] == {
        "targets": [{"provider": "groq", "model": "llama-3.3-70b-versatile"}]
    }


def test_a_target_is_written_once_with_one_limit() -> None:
    models = written("catch_all")["models"]
    assert models["a"]["targets"][0]["max_concurrency"] == 5
    assert models["b"]["targets"][0]["max_concurrency"] == 5
    assert "is the same target as one before it" in notes("catch_all")
    assert "has another max_parallel_requests elsewhere" in notes("catch_all")
    assert "changes the request for a fallback" in notes("catch_all")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"model_list: [", "the file ends inside of brackets"),
        (b"a: 1\n", "holds no deployment that could be asked"),
        (b"model_list: [{model_name: a}]\n", "has no model_name, or no model"),
        (b"model_list: nonsense\nrouter_settings: 5\n", "is no list, and left out"),
    ],
)
def test_a_file_of_which_nothing_can_be_made_is_refused(
    content: bytes, message: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        translate("f.yaml", content)
    assert message in str(caught.value)


def test_a_deployment_without_a_weight_beside_one_that_has_is_told_of() -> None:
    config = {
        "model_list": [
            {
                "model_name": "chat",
                "litellm_params": {"model": "openai/gpt-4o", "weight": 3},
            },
            {"model_name": "chat", "litellm_params": {"model": "groq/llama"}},
        ]
    }
    made = translate("f", yaml.safe_dump(config).encode())
    (said,) = [str(note) for note in made.notes if "has no weight" in str(note)]
    assert "model_list[1]" in said
