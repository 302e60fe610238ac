"""A policy's files have changed, or have not: by `stat`, whatever way they change."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from trio_gateway.cli.watch import WatchedFiles


def watching(path: Path) -> WatchedFiles:
    files = WatchedFiles(path, {"FOLDER": "tls"})
    files.scan()
    return files


def write(path: Path) -> None:
    path.write_text("version: 1\n# longer\n")


def rename_into_place(path: Path) -> None:
    """As editors do; the new file has the old one's size and time."""
    new = path.with_name(".new")
    new.write_bytes(path.read_bytes())
    stat = path.stat()
    os.utime(new, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    new.rename(path)


def same_size_and_time(path: Path) -> None:
    stat = path.stat()
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(
    "change", [write, rename_into_place, same_size_and_time, Path.unlink]
)
def test_a_changed_file_is_seen(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\n")
    files = watching(path)
    seen = files.look()
    assert files.look() == seen

    change(path)

    assert files.look() != seen


def test_a_file_that_comes_back_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    files = watching(path)
    seen = files.look()
    path.write_text("version: 1\n")
    assert files.look() != seen


def test_in_a_folder_files_that_come_change_and_go_are_seen(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("version: 1\n")
    files = watching(tmp_path)
    looks = [files.look()]
    (tmp_path / "b.yaml").write_text("version: 1\n")
    looks.append(files.look())
    (tmp_path / "b.yaml").write_text("version: 1\n\n")
    looks.append(files.look())
    (tmp_path / "a.yaml").unlink()
    looks.append(files.look())
    assert len(set(looks)) == 4


def test_what_else_lies_in_a_folder_is_nobodys_business(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("version: 1\n")
    files = watching(tmp_path)
    seen = files.look()
    (tmp_path / ".a.yaml.swp").write_text("an editor's")
    (tmp_path / "notes.txt").write_text("x")
    assert files.look() == seen


def mount(folder: Path, name: str, text: str) -> None:
    """What Kubernetes does: a new folder, and `..data` swapped to it in one step."""
    data = folder / name
    data.mkdir()
    (data / "policy.yaml").write_text(text)
    link = folder / "..new"
    link.symlink_to(name)
    link.rename(folder / "..data")


@pytest.mark.parametrize("is_folder", [True, False])
def test_a_swapped_symlink_on_the_way_is_seen(tmp_path: Path, is_folder: bool) -> None:
    mount(tmp_path, "..2026_1", "version: 1\n")
    (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")
    files = watching(tmp_path if is_folder else tmp_path / "policy.yaml")
    seen = files.look()
    assert files.look() == seen

    mount(tmp_path, "..2026_2", "version: 1\n")

    assert files.look() != seen


def test_a_secret_that_the_policy_names_is_watched_too(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\nx: ${file:secrets/key}\ny: ${file:secrets/key}\n")
    (tmp_path / "secrets").mkdir()
    secret = tmp_path / "secrets" / "key"
    files = watching(path)
    looks = [files.look()]
    secret.write_text("one")
    looks.append(files.look())
    rename_into_place(secret)
    looks.append(files.look())
    assert len(set(looks)) == 3


@pytest.mark.parametrize(
    "written",
    [
        "ca_file: tls/ca.pem",
        "ca_file: 'tls/ca.pem'  # ours",
        'ca_file:   "tls/ca.pem"',
        "{base_url: https://a.test, ca_file: tls/ca.pem, kind: openai}",
        "{ca_file: tls/ca.pem}",
        "ca_file: ${FOLDER}/ca.pem",
        'ca_file: "${FOLDER}/ca.pem"',
    ],
)
def test_authorities_that_the_policy_names_are_watched_too(
    tmp_path: Path, written: str
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(f"version: 1\nproviders:\n  a: {written}\n")
    (tmp_path / "tls").mkdir()
    files = watching(path)
    seen = files.look()
    (tmp_path / "tls" / "ca.pem").write_text("new")
    assert files.look() != seen


def test_secrets_stay_watched_while_the_policy_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\nx: ${file:key}\n")
    files = watching(path)
    path.unlink()
    files.scan()
    seen = files.look()
    (tmp_path / "key").write_text("one")
    assert files.look() != seen


@pytest.mark.parametrize("name", ["loop", "x\\0y", "no/such/file"])
def test_what_leads_nowhere_is_no_trouble(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    path = tmp_path / "policy.yaml"
    path.write_bytes(f"version: 1\nx: ${{file:{name}}}\n".encode())
    files = watching(path)
    assert files.look() == files.look()
    assert watching(tmp_path / "loop").look()
