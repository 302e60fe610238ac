"""Loading as a whole: files, folders, and the exact words of every report."""

import errno
import os
import random
import re
from collections.abc import Generator, Mapping
from pathlib import Path, PosixPath
from typing import Final

import pytest

from trio_gateway.policy.files.problems import PolicyError, Problem
from trio_gateway.policy.files.report import as_text
from trio_gateway.policy.load import (
    FILE_BYTES_MAX,
    FILES_MAX,
    load_policy,
    read_policy,
)
from trio_gateway.policy.route import Policy

ENVIRON: Final = {
    "SPACED": "a b",
    "ENDED": "hunter2\n",
    "SECRET": "hunter2",
    "KEY": "tgw_key",
}
PROVIDERS = "version: 1\nproviders: {a: {base_url: https://a.test/v1}}\n"
MODELS = "version: 1\nmodels: {m: {targets: [{provider: a, model: x}]}}\n"


def report_on(content: bytes, environ: Mapping[str, str] = ENVIRON) -> str:
    with pytest.raises(PolicyError) as caught:
        read_policy([("f.yaml", content)], environ=environ, root="f.yaml")
    return str(caught.value)


def folder(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def load(path: Path) -> Policy:
    return load_policy(path, environ=ENVIRON)


def report_on_folder(path: Path) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load(path)
    return [str(p).replace(f"{path}/", "") for p in caught.value.problems]


def refused(file: Path) -> list[tuple[str, str, str]]:
    """Each case's name, what is written there, and the report on it."""
    found = []
    for case in re.split(r"^=== ", file.read_text(), flags=re.MULTILINE)[1:]:
        name, _, rest = case.rstrip("\n").partition("\n")
        lines = rest.split("\n")
        content = "".join(f"{line}\n" for line in lines if line[:2] != "!!")
        report = "\n".join(line[3:] for line in lines if line[:2] == "!!")
        found.append((name, content, report))
    return found


REFUSED: Final = refused(Path(__file__).with_name("refused.txt"))


@pytest.mark.parametrize(
    ("content", "report"),
    [case[1:] for case in REFUSED],
    ids=[c[0] for c in REFUSED],
)
def test_a_refused_policy_has_exactly_this_report(content: str, report: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read_policy([("f.yaml", content.encode())], environ=ENVIRON, root="f.yaml")
    *said, count = as_text(caught.value).split("\n")
    assert "\n".join(said) == report
    assert int(count.split()[0]) == len(caught.value.problems)
    assert ENVIRON["SECRET"] not in report


def test_bytes_that_are_no_text_are_located() -> None:
    assert report_on(b"version: 1\n# \xff\n") == (
        "f.yaml:2: is not UTF-8 text. Save the file as UTF-8."
    )
    assert report_on(b"version: 1\nx: \x01\n") == (
        "f.yaml:2:4: holds a character that YAML does not allow. "
        "Delete the control character."
    )
    assert report_on("version: 1\n".encode("utf-16")) == (
        "f.yaml:1: is UTF-16 text. Save the file as UTF-8."
    )


def test_a_byte_order_mark_is_no_problem() -> None:
    content = b"\xef\xbb\xbf" + (PROVIDERS + MODELS.partition("\n")[2]).encode()
    assert read_policy([("f.yaml", content)], environ={}, root="f.yaml").models


def test_aliases_and_merge_keys_are_followed_and_own_keys_go_first() -> None:
    content = """
version: 1
providers: {a: {base_url: https://a.test/v1}}
models:
  m: &m
    targets: [{provider: a, model: x}]
    timeouts: {idle: 9s}
  n:
    <<: *m
    timeouts: {idle: 5s}
"""
    written = read_policy([("f.yaml", content.encode())], environ={}, root="f.yaml")
    limits = [m.timeouts.idle for m in written.models.values() if m.timeouts]
    assert limits == [9, 5]
    assert written.models["m"].targets == written.models["n"].targets


def test_the_files_of_a_folder_are_one_policy(tmp_path: Path) -> None:
    keys = "version: 1\naccess_keys: [{name: k, key: '${KEY}'}]\n"
    more = "version: 1\naccess_keys: [{name: l, sha256: '" + "0a" * 32 + "'}]\n"
    policy = load(folder(tmp_path, a=PROVIDERS, b=MODELS, c=keys, d=more))
    assert policy.routes["m"].targets[0].account is policy.accounts["a"]
    assert [key.name for key in policy.access_keys] == ["k", "l"]


def test_a_name_defined_twice_names_both_files(tmp_path: Path) -> None:
    settings = "defaults: {attempts: {max: 2}}\n"
    path = folder(
        tmp_path,
        a=PROVIDERS + settings,
        b=PROVIDERS + settings,
        c=MODELS,
        d=MODELS.replace("m:", "'m':"),
    )
    twice = "is defined twice, see"
    assert report_on_folder(path) == [
        f"b.yaml:2:13: providers.a: {twice} a.yaml:2:13. Keep one of them.",
        f"b.yaml:3:1: defaults: {twice} a.yaml:3:1. Keep one of them.",
        f"d.yaml:2:10: models.m: {twice} c.yaml:2:10. Keep one of them.",
    ]


def test_a_problem_in_a_later_file_is_located_there(tmp_path: Path) -> None:
    keys = "version: 1\naccess_keys:\n  - {name: k, key: '${KEY}'}\n"
    wrong = "version: 1\naccess_keys:\n  - {name: l, sha256: abc}\n"
    path = folder(tmp_path, a=PROVIDERS, b=MODELS, c=keys, d=wrong)
    [problem] = report_on_folder(path)
    expected = "d.yaml:3:15: access_keys[1].sha256: is not a SHA-256 hash."
    assert problem.startswith(expected)


def test_the_problems_of_all_files_are_said_at_once(tmp_path: Path) -> None:
    path = folder(
        tmp_path,
        a=PROVIDERS.replace("https", "ftp"),
        b=MODELS.replace("provider: a", "provider: b"),
        c="gateway: {drain: 5}\n",
    )
    keys = [line.split(": ")[1] for line in report_on_folder(path)]
    assert keys == [
        "providers.a.base_url",
        "models.m.targets[0].provider",
        "version",
        "gateway.drain",
    ]


def test_a_file_that_is_no_yaml_ends_the_search_after_all_were_read(
    tmp_path: Path,
) -> None:
    path = folder(tmp_path, a="version: 1\nproviders: {", b=MODELS, c="- x\n")
    assert [line.split(": ")[0] for line in report_on_folder(path)] == [
        "a.yaml:2:13",
        "c.yaml:1:1",
    ]


def test_what_nobody_would_read_is_pointed_out(tmp_path: Path) -> None:
    path = folder(tmp_path, a=PROVIDERS, b=MODELS)
    (path / "more.yml").write_text(MODELS)
    (path / ".b.yaml").write_text("an editor's")
    (path / "policy.schema.json").write_text("for editors")
    assert report_on_folder(path) == [
        "more.yml: is not read. Rename it to end in .yaml, or move it away."
    ]


def test_no_file_no_folder_and_an_empty_folder_are_reports(tmp_path: Path) -> None:
    empty, nowhere = tmp_path / "empty", tmp_path / "nowhere.yaml"
    empty.mkdir()
    with pytest.raises(PolicyError, match=r"holds no \*\.yaml file"):
        load(empty)
    with pytest.raises(PolicyError) as caught:
        load(nowhere)
    assert caught.value.problems == (
        Problem(
            file=str(nowhere),
            line=None,
            column=None,
            key="",
            message="cannot be read: No such file or directory",
            remedy="Check the path and its rights.",
        ),
    )


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    os.mkfifo(tmp_path / "b.yaml")
    (tmp_path / "c.yaml").symlink_to("c.yaml")
    (tmp_path / "d.yaml").symlink_to("/dev/zero")
    remedy = "Check the path and its rights."
    assert report_on_folder(tmp_path) == [
        f"a.yaml: cannot be read: is a folder, not a file. {remedy}",
        f"b.yaml: cannot be read: is a pipe or a device, not a file. {remedy}",
        f"c.yaml: cannot be read: Too many levels of symbolic links. {remedy}",
        f"d.yaml: cannot be read: is a pipe or a device, not a file. {remedy}",
    ]


class Locked(PosixPath):
    """A folder that may not be listed, not even by a superuser who runs the tests."""

    def iterdir(self) -> Generator["Locked", None, None]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


class Unreachable(Locked):
    """A path through a folder that nobody may enter."""

    def is_dir(self) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@pytest.mark.parametrize("kind", [Locked, Unreachable])
def test_a_folder_that_cannot_be_listed_is_reported(
    kind: type[Locked], tmp_path: Path
) -> None:
    assert report_on_folder(kind(tmp_path)) == [
        f"{tmp_path}: cannot be read: Permission denied. Check the path and its rights."
    ]


def test_a_secret_is_not_waited_for_either(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key")
    secret = 'a: {api_key: "${file:key}", '
    path = folder(tmp_path, a=PROVIDERS.replace("a: {", secret), b=MODELS)
    [problem] = report_on_folder(path)
    assert "the file key cannot be used: is a pipe or a device" in problem


def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    with path.open("wb") as stream:
        stream.truncate(100 * 1024**3)  # holes: it takes no space
    with pytest.raises(PolicyError, match="is larger than 1 MiB"):
        load(path)


def test_a_file_and_a_folder_have_bounds(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    with pytest.raises(PolicyError, match="is larger than 1 MiB"):
        load(tmp_path)
    for number in range(FILES_MAX):
        (tmp_path / f"{number}.yaml").touch()
    with pytest.raises(PolicyError, match=f"holds more than {FILES_MAX} files"):
        load(tmp_path)


def test_a_revision_is_a_hash_of_what_the_files_say(tmp_path: Path) -> None:
    path = folder(tmp_path, a=PROVIDERS, b=MODELS)
    first = load(path).revision
    assert re.fullmatch(r"[0-9a-f]{12}", first)
    assert load(path).revision == first
    folder(tmp_path, b=MODELS + "# a remark\n")
    assert load(path).revision != first


def a_report_or_nothing(content: str) -> str:
    try:
        read_policy([("f.yaml", content.encode())], environ=ENVIRON, root="f.yaml")
    except PolicyError as error:
        as_text(error)
        return str(error)
    return ""


def test_a_mutilated_policy_is_a_report_and_never_a_crash() -> None:
    complete = Path(__file__).with_name("complete.yaml").read_text()
    originals = [complete, *(content for _, content, _ in REFUSED)]
    for seed in range(300):
        dice = random.Random(f"mutilated/{seed}")
        text = list(originals[seed % 2 and dice.randrange(len(originals))])
        for _ in range(dice.randrange(1, 5) if text else 0):
            text[dice.randrange(len(text))] = dice.choice("\n :{}[]\"'$-&*!?,#\t0a")
        report = a_report_or_nothing("".join(text))
        assert ENVIRON["SECRET"] not in report, f"seed {seed}"
        places = [line.split(":")[0] for line in report.splitlines()]
        assert set(places) <= {"f.yaml"}, f"seed {seed}"
