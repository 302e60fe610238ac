"""What a demo says to try, under policies/demo.yaml and under any other policy."""

import hashlib
import json
import shlex
from dataclasses import replace

import pytest

from tests.factories import a_policy, a_route, an_access_key
from trio_gateway.cli.demo import DEMO_KEY, explain
from trio_gateway.policy.route import AccessKey, Policy


def the_demos_key(*models: str) -> AccessKey:
    key = an_access_key(models=frozenset(models) or None)
    return replace(key, sha256=hashlib.sha256(DEMO_KEY.encode()).digest())


def curl(policy: Policy) -> tuple[str, str]:
    """The key and the model of the command that is to be pasted."""
    lines = explain("http://127.0.0.1:8080", policy, wall_now=0.0)
    (command,) = [line for line in lines if line.startswith("curl ")]
    words = shlex.split(command)
    bearer = words[words.index("-H") + 1].removeprefix("authorization: Bearer ")
    return bearer, json.loads(words[-1])["model"]


ROUTES = a_route(slug="it's/mine"), a_route(slug="other")


@pytest.mark.parametrize(
    ("key", "bearer", "model"),
    [
        (the_demos_key(), "demo", "it's/mine"),
        (the_demos_key("other"), "demo", "other"),
        (the_demos_key("gone"), "$KEY", "it's/mine"),
        (an_access_key(), "$KEY", "it's/mine"),
    ],
    ids=["its own key", "which may use one", "which may use none", "another key"],
)
def test_the_command_fits_the_policy_that_is_served(
    key: AccessKey, bearer: str, model: str
) -> None:
    assert curl(a_policy(*ROUTES, keys=[key])) == (bearer, model)


def test_who_has_no_key_for_it_is_told_where_to_find_one() -> None:
    said = explain("http://h:1", a_policy(keys=[an_access_key()]), wall_now=0.0)
    assert said[1].endswith("with one of the policy's keys:")
    assert '-H "authorization: Bearer $KEY"' in said[3]  # the shell puts it in
