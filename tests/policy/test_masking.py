"""What a report may show of a line: never a secret, however the file is broken."""

import random
import re

import pytest

from tests.policy.test_load import REFUSED
from trio_gateway.policy.files.masking import HIDDEN, hidden_spans


def masked(text: str) -> str:
    shown, at = "", 0
    for start, end in hidden_spans(text):
        shown += text[at:start] + HIDDEN
        at = end
    return shown + text[at:]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a: {base_url: x, api_key: s, y: z}", "a: {base_url: x, api_key: ***, y: z}"),
        ("api_key: s,s\nnext: 1", "api_key: ***,***\nnext: 1"),
        ("api_kye: s\nb: c", "api_kye: ***\nb: c"),
        ("apiKey: s", "apiKey: ***"),
        ("kye: s", "kye: ***"),
        ("api_key=s", "api_key=***"),
        ("- key s", "- key ***"),
        ("{api_key:s}", "{api_key:***}"),
        ('{"key":"s"}', '{"key":"***"}'),
        ('key: "s\\"s"', 'key: "***"***"'),
        ("key: 's''s'", "key: '***''***'"),
        ("{key: 's", "{key: '***"),
        ("key: |\n  s\n  s\nb: 1", "key: |\n  ***\n  ***\nb: 1"),
        ("key:\n  s\nb: c", "key:\n  ***\nb: c"),
        ('key: "s\n  s"\nb: 1', 'key: "***\n  ***"\nb: 1'),
        ("- key: s\n  b: c", "- key: ***\n  b: c"),
        ("{a: b,\n  key: s,\n  c: d}", "{a: b,\n  key: ***,\n  c: d}"),
        (
            "headers: {Authorization: Bearer s, X: '${Y}', 'Z': 'a: s'}\nq: 1",
            "headers: {Authorization: *** ***, X: '${Y}', 'Z': '*** ***'}\nq: 1",
        ),
        (
            "headers:\n  A: s s\n  # s\n  B: |\n    s\n  C: ${N}\nx: y",
            "headers:\n  A: *** ***\n  *** ***\n  B: |\n    ***\n  C: ${N}\nx: y",
        ),
        ("x: &k s\ny: {api_key: *k}", "x: &k ***\ny: {api_key: ***}"),
        ("base_url: https://user:s/s@a.test", "base_url: https://***@a.test"),
        ("proxy: u:s@a.test", "proxy: ***@a.test"),
        ("anything: sk-live-123", "anything: ***"),
        ("a: Bearer s.s-s", "a: Bearer ***"),
        ("key: s${X}s", "key: ***${X}***"),
    ],
)
def test_a_secret_is_hidden(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "key: ${KEY}",
        '{key: "${KEY}", models: [m]}',
        "{key: ${KEY}, models: [m]}",
        "access_keys:\n  - name: k",
        "timeouts: {first_token: {soft: 3s}}",
        "m: {targets: [{provider: a, model: gpt-4o}]} # the key to it",
        "base_url: https://a.test/v1",
    ],
)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert masked(text) == text


def secrets(text: str) -> list[int]:
    return [match.start() for match in re.finditer("hunter2", text)]


def test_a_broken_file_shows_no_secret_of_it_either() -> None:
    texts = [c for _, c, _ in REFUSED if "hunter2" in c]
    assert len(texts) > 3
    for text in texts:
        assert "hunter2" not in masked(text)
    for seed in range(300):
        dice = random.Random(f"masked/{seed}")
        text = dice.choice(texts)
        keys = {at - back for at in secrets(text) for back in range(-7, 40)}
        at = dice.choice([at for at in range(len(text)) if at not in keys])
        broken = text[:at] + dice.choice("\n :{}[]\"'$-#,") + text[at + 1 :]
        assert "hunter2" not in masked(broken), f"seed {seed}: {broken}"


@pytest.mark.parametrize(
    "text", ["api_key: {", "key:\n", "key: x, ", "{", "key: '", " "]
)
def test_a_hostile_file_takes_no_long_look(text: str) -> None:
    hidden_spans(text * (500_000 // len(text)))  # quadratic, it would take minutes
