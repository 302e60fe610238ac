"""`${NAME}` and `${file:PATH}`: what they expand to, and what is never shown."""

import hashlib
import re
from pathlib import Path

import pytest

from trio_gateway.policy.files.problems import PolicyError
from trio_gateway.policy.files.references import SECRET_FILE_BYTES_MAX, Placeholders
from trio_gateway.policy.load import load_policy
from trio_gateway.policy.route import Authorities, Policy, Secret

SECRET = "sk-very-secret"
POLICY = """
version: 1
providers:
  a:
    base_url: https://${REGION}.a.test/v1
    api_key: ${file:keys/a}
    proxy: http://user:${PASSWORD}@proxy.test:3128
    headers: {Proxy-Authorization: "Basic ${PASSWORD}", X-Literal: "$${REGION}"}
access_keys:
  - {name: app, key: "${PASSWORD}"}
models:
  m: {targets: [{provider: a, model: x, overrides: {user: "${REGION}"}}]}
"""
ENVIRON = {"REGION": "eu", "PASSWORD": SECRET}


def a_policy_file(tmp_path: Path, secret: bytes = b"sk-from-file\n") -> Path:
    (tmp_path / "keys").mkdir(exist_ok=True)
    (tmp_path / "keys" / "a").write_bytes(secret)
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file


def load(path: Path) -> Policy:
    return load_policy(path, environ=ENVIRON)


def test_references_may_stand_in_any_text(tmp_path: Path) -> None:
    account = load(a_policy_file(tmp_path)).accounts["a"]
    assert account.base_url == "https://eu.a.test/v1"
    assert account.proxy == Secret(f"http://user:{SECRET}@proxy.test:3128")
    assert dict(account.headers) == {
        "Proxy-Authorization": f"Basic {SECRET}",
        "X-Literal": "${REGION}",
    }


def test_references_are_expanded_in_overrides_too(tmp_path: Path) -> None:
    [target] = load(a_policy_file(tmp_path)).routes["m"].targets
    assert target.overrides == {"user": "eu"}


@pytest.mark.parametrize("content", [b"sk-1", b"sk-1\n", b"sk-1\r\n"])
def test_a_file_is_read_without_its_last_line_end(
    tmp_path: Path, content: bytes
) -> None:
    policy = load(a_policy_file(tmp_path, content))
    assert policy.accounts["a"].api_key == Secret("sk-1")


@pytest.mark.parametrize(
    ("content", "why_not"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"\xff", "not UTF-8 text"),
        (b"x" * (SECRET_FILE_BYTES_MAX + 1), "more than 65536 bytes"),
    ],
)
def test_a_file_that_is_no_secret_is_a_problem(
    tmp_path: Path, content: bytes, why_not: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        load(a_policy_file(tmp_path, content))
    [problem] = caught.value.problems
    assert problem.key == "providers.a.api_key"
    assert problem.message == f"the file keys/a cannot be used: {why_not}"


def test_all_that_is_missing_is_named_in_one_report(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        load_policy(a_policy_file(tmp_path), environ={"REGION": ""})
    assert [(p.key, p.message) for p in caught.value.problems] == [
        (key, f"the environment variable {name} is unset or empty")
        for key, name in [
            ("providers.a.base_url", "REGION"),
            ("providers.a.proxy", "PASSWORD"),
            ("providers.a.headers.Proxy-Authorization", "PASSWORD"),
            ("access_keys[0].key", "PASSWORD"),
            ("models.m.targets[0].overrides.user", "REGION"),
        ]
    ]


def test_a_certificates_path_begins_at_the_policys_folder(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    asked: list[str] = []

    def authorities_in(ca_file: str) -> str:
        asked.append(ca_file)
        return "what it holds"

    for written in ("tls/ca.pem", "${NAME}.pem", "/etc/ca.pem"):
        file.write_text(
            "version: 1\n"
            f"providers: {{a: {{base_url: https://a.test, ca_file: '{written}'}}}}\n"
            "models: {m: {targets: [{provider: a, model: x}]}}\n"
        )
        policy = load_policy(
            file, environ={"NAME": "ca"}, authorities_in=authorities_in
        )
        assert policy.accounts["a"].authorities == Authorities(
            asked[-1], "what it holds"
        )
    assert asked == [f"{tmp_path}/tls/ca.pem", f"{tmp_path}/ca.pem", "/etc/ca.pem"]


def test_no_repr_shows_a_secret(tmp_path: Path) -> None:
    text = repr(load(a_policy_file(tmp_path)))
    assert SECRET not in text
    assert "sk-from-file" not in text


def test_an_access_key_is_kept_as_its_digest_alone(tmp_path: Path) -> None:
    [key] = load(a_policy_file(tmp_path)).access_keys
    assert key.sha256 == hashlib.sha256(SECRET.encode()).digest()


def test_the_trace_of_a_refusal_holds_no_value(tmp_path: Path) -> None:
    path = a_policy_file(tmp_path, b"two words\n")
    with pytest.raises(PolicyError) as caught:
        load(path)
    error: BaseException | None = caught.value
    while error is not None:
        assert "two words" not in str(error)
        assert SECRET not in str(error)
        error = error.__cause__ or error.__context__


def test_who_needs_no_secrets_gets_placeholders_for_what_is_not_set(
    tmp_path: Path,
) -> None:
    file = a_policy_file(tmp_path)
    (tmp_path / "keys" / "a").unlink()
    policy = load_policy(file, environ=Placeholders({"REGION": "eu"}))
    account = policy.accounts["a"]
    assert account.base_url == "https://eu.a.test/v1"
    assert account.api_key == Secret("http://file-keys-a.placeholder")
    assert account.proxy == Secret("http://user:password@proxy.test:3128")


def test_placeholders_tell_secrets_apart(tmp_path: Path) -> None:
    file = a_policy_file(tmp_path)
    keys = "[{name: k, key: '${file:k}'}, {name: l, key: '${file:l}'}]"
    file.write_text(re.sub(r"access_keys:\n.*\n", f"access_keys: {keys}\n", POLICY))
    policy = load_policy(file, environ=Placeholders())
    assert len({key.sha256 for key in policy.access_keys}) == 2


def test_what_begins_no_reference_is_told_without_secrets_too(tmp_path: Path) -> None:
    file = a_policy_file(tmp_path)
    file.write_text(POLICY.replace("${REGION}.a", "${RE GION}.a"))
    with pytest.raises(PolicyError, match="begins no reference"):
        load_policy(file, environ=Placeholders())
