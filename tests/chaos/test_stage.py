import json
from collections import Counter
from pathlib import Path
from statistics import median

import pytest

from trio_gateway.chaos.scenarios.load import load_scenario
from trio_gateway.chaos.scenarios.policies import make_policy, read_policy_document
from trio_gateway.chaos.scenarios.stage import Actor, actors_of
from trio_gateway.chaos.scenarios.worlds import Setting, setting_of
from trio_gateway.chaos.vocabulary.answers import ChatRequest, Dialect
from trio_gateway.chaos.vocabulary.script import (
    Behaviour,
    Ending,
    Onset,
    Overtaken,
    Pause,
    Refusal,
    Script,
    UnderWay,
    taken_apart,
)
from trio_gateway.chaos.worlds.onsets import onset_of, striking
from trio_gateway.chaos.worlds.outline import Answers
from trio_gateway.chaos.worlds.supply import DrawnSupply

SCENARIO = """
version: 1
teaches: something
policy:
  version: 1
  providers:
    near: {base_url: "https://near.example/v1", api_key: "${NEAR}"}
    far:
      kind: azure
      base_url: https://far.example
      api_key: "${FAR}"
  models:
    chat:
      targets:
        - {provider: near, model: fast}
        - {provider: far, model: deployed}
duration: 10m
clients: {rate: 1/s}
targets:
  far/deployed: {capacity: {slots: 7, line: 3}}
weather:
  near/fast:
    - {fault: down, from: 1m, for: 1m}
    - {fault: errors, status: 529, from: 2m, for: 1m, share: 25%}
    - {fault: slow, factor: 8, from: 3m, for: 1m}
    - {fault: resets, from: 4m, for: 1m, under_way: reset}
  far/deployed: {fault: capacity, left: 20%, from: 1m, for: 1m}
"""


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    file = tmp_path / "scenario.yaml"
    file.write_text(SCENARIO)
    scenario = load_scenario(file)
    policy = make_policy(read_policy_document(scenario.policy))
    return setting_of(scenario, policy, "1")


@pytest.fixture
def actors(setting: Setting) -> dict[str, Actor]:
    return {account.name: actor for account, actor in actors_of(setting, seed=1)}


def answers(actor: Actor, at_s: float, *, model: str = "fast") -> list[Behaviour]:
    body = f'{{"model":"{model}","stream":true,"max_tokens":20}}'.encode()
    request = ChatRequest("/v1/chat/completions", body)
    decided = (actor.behaviour_for(request, number, at_s) for number in range(1, 400))
    return [taken_apart(one)[0] for one in decided]


def statuses(found: list[Behaviour]) -> Counter[int | Refusal]:
    return Counter(one.status if isinstance(one, Script) else one for one in found)


def first_tokens(found: list[Behaviour]) -> list[float]:
    scripts = [one for one in found if isinstance(one, Script)]
    pauses = ([s for s in one.steps if isinstance(s, Pause)] for one in scripts)
    return [each[0].seconds for each in pauses]


def test_each_provider_speaks_its_dialect(actors: dict[str, Actor]) -> None:
    assert list(actors) == ["near", "far"]
    assert actors["near"].dialect is Dialect.OPENAI
    assert actors["far"].dialect is Dialect.AZURE


def test_weather_comes_and_goes_as_the_scenario_says(
    actors: dict[str, Actor],
) -> None:
    near = actors["near"]
    assert statuses(answers(near, 30.0)) == {200: 399}
    assert statuses(answers(near, 90.0)) == {Refusal.CONNECT_REFUSED: 399}
    sick = statuses(answers(near, 150.0))
    assert sick.keys() == {200, 529}
    assert 75 < sick[529] < 125
    assert statuses(answers(near, 301.0)) == {200: 399}


def test_a_slow_spell_is_as_slow_as_it_says(actors: dict[str, Actor]) -> None:
    usual = first_tokens(answers(actors["near"], 30.0))
    slow = first_tokens(answers(actors["near"], 200.0))
    assert median(usual) == pytest.approx(0.726, rel=0.15)  # as GPT-4.1
    assert slow == pytest.approx([8 * one for one in usual])


def test_resets_are_anywhere_in_the_answer(actors: dict[str, Actor]) -> None:
    found = answers(actors["near"], 250.0)
    good = answers(actors["near"], 30.0)
    shares = []
    for broken, whole in zip(found, good, strict=True):
        assert isinstance(broken, Script)
        assert isinstance(whole, Script)
        assert broken.ending is Ending.RESET
        assert whole.body.startswith(broken.body)
        shares.append(time_of(broken) / time_of(whole))
    assert 0.4 < median(shares) < 0.6
    assert min(shares) < 0.1 < 0.9 < max(shares)


def time_of(script: Script) -> float:
    pauses = (step.seconds for step in script.steps if isinstance(step, Pause))
    return script.head_after_s + sum(pauses)


def test_a_capacity_is_the_models_own(actors: dict[str, Actor]) -> None:
    assert not actors["near"].rooms
    room = actors["far"].rooms["deployed"]
    assert (room.capacity.slots, room.capacity.line_max) == (7, 3)
    (spell,) = room.shrinks
    assert (spell.from_s, spell.until_s) == (60.0, 120.0)


def test_a_model_that_the_scenario_does_not_know_is_not_found(
    actors: dict[str, Actor],
) -> None:
    assert statuses(answers(actors["near"], 0.0, model="slow")) == {404: 399}


def test_the_same_seed_plays_the_same(actors: dict[str, Actor]) -> None:
    assert answers(actors["near"], 150.0) == answers(actors["near"], 150.0)


def a_simulated_clients(ticket: str, tokens: int) -> ChatRequest:
    said = {
        "model": "fast",
        "stream": True,
        "user": ticket,
        "metadata": {"answer_tokens": str(tokens)},
    }
    return ChatRequest("/v1/chat/completions", json.dumps(said).encode())


def test_a_simulated_client_has_the_simulators_luck(setting: Setting) -> None:
    (_, near), _ = actors_of(setting, seed=1)
    supply = DrawnSupply(setting.world.targets["near/fast"])
    for number in range(1, 50):
        ticket = f"1/0/{number}/1"
        for turn in (1, 2):
            drawn = supply.outline(
                f"{ticket}/near/fast/{turn}", tokens=30, opens_at_token=1, now=200.0
            )
            # Whoever else asks in between, and in whatever order.
            near.behaviour_for(a_simulated_clients(f"1/0/9{number}/1", 5), 1, 200.0)
            played = near.behaviour_for(a_simulated_clients(ticket, 30), 7, 200.0)
            assert isinstance(drawn, Answers)
            assert isinstance(played, Overtaken)
            assert isinstance(played.behaviour, Script)
            assert time_of(played.behaviour) == pytest.approx(drawn.ends_s)
            assert first_tokens([played.behaviour]) == pytest.approx([drawn.opens_s])
            # So are the outages that may still begin.
            spells = striking(setting.world.targets["near/fast"].spells)
            name = f"{ticket}/near/fast/{turn}"
            assert played.onset == onset_of(spells, name, after_s=200.0)
            assert played.onset == Onset(240.0, UnderWay.RESET)


def test_who_names_no_length_has_the_luck_of_its_number(
    actors: dict[str, Actor],
) -> None:
    body = b'{"model":"fast","stream":true,"user":"me"}'
    request = ChatRequest("/v1/chat/completions", body)
    found = [actors["near"].behaviour_for(request, 1, 0.0) for _ in range(2)]
    assert found[0] == found[1]


def test_a_provider_whose_only_model_is_down_is_shut(setting: Setting) -> None:
    (_, near), (_, far) = actors_of(setting, seed=1)
    assert near.hours is not None
    assert near.hours.shut(90.0) is Refusal.CONNECT_REFUSED
    assert near.hours.shut(150.0) is None
    assert far.hours is None
