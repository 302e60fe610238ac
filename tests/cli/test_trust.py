"""What a `ca_file` holds, as the library sees it that will use it."""

from pathlib import Path

import pytest
import trustme

from trio_gateway.cli.trust import authorities_in
from trio_gateway.policy.check import UntrustedError

PEM = trustme.CA().cert_pem.bytes()


def test_words_in_any_language_may_stand_between_certificates(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(
        "# F\u0151tan\u00fas\u00edtv\u00e1ny\n".encode() + PEM + b"# \xff\n" + PEM
    )
    assert authorities_in(str(file)).count("BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize(
    ("content", "why_not"),
    [
        (None, "No such file or directory"),
        (b"", "no PEM certificate in it"),
        (b"no certificate", "no PEM certificate in it"),
        (PEM[:-40], "no PEM certificate in it"),
        (PEM + b"#" * 1024 * 1024, "more than 1048576 bytes"),
    ],
)
def test_what_cannot_be_used_says_why(
    tmp_path: Path, content: bytes | None, why_not: str
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UntrustedError, match=why_not):
        authorities_in(str(file))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UntrustedError, match="is a folder, not a file"):
        authorities_in(str(tmp_path))
