"""A certificate and its key from files: what is refused, and in which words."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from trio_gateway.serving.tls import FILE_BYTES_MAX, Certificate, TlsError, TlsFiles


@pytest.fixture(scope="module")
def leaf() -> trustme.LeafCert:
    return trustme.CA().issue_cert("localhost")


@pytest.fixture
def chain(leaf: trustme.LeafCert, tmp_path: Path) -> Path:
    path = tmp_path / "chain.pem"
    path.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    return path


@pytest.fixture
def key(leaf: trustme.LeafCert, tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    path.write_bytes(leaf.private_key_pem.bytes())
    return path


def refused(cert: Path, key: Path | None = None) -> str:
    with pytest.raises(TlsError) as error:
        TlsFiles(cert, key).read()
    return str(error.value)


def test_the_key_may_be_in_a_file_of_its_own_or_in_the_certificates(
    chain: Path, key: Path
) -> None:
    apart = TlsFiles(chain, key).read()
    chain.write_bytes(key.read_bytes() + chain.read_bytes())
    together = TlsFiles(chain).read()

    for certificate in (apart, together):
        context = certificate.context()
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.get_ciphers()


def test_a_certificate_says_nothing_of_itself(chain: Path, key: Path) -> None:
    assert repr(TlsFiles(chain, key).read()) == "Certificate()"


def test_what_is_missing_or_cannot_be_read_is_named(chain: Path, key: Path) -> None:
    gone = chain.with_name("gone.pem")
    said = refused(gone, key)
    assert said.startswith(f"--tls-cert {gone}: cannot be read: No such file")
    said = refused(chain, gone)
    assert said.startswith(f"--tls-key {gone}: cannot be read: No such file")
    assert "Is a directory" in refused(chain.parent, key)
    assert "null" in refused(Path("a\0b"), key)


def test_a_file_without_end_is_not_read_to_its_end(chain: Path, key: Path) -> None:
    chain.write_bytes(b"-" * (FILE_BYTES_MAX + 1))
    assert "too large" in refused(chain, key)


def test_a_certificate_without_a_key_asks_for_it(chain: Path) -> None:
    assert refused(chain).endswith("name the key's file with --tls-key")


def test_files_that_are_no_pem_say_what_is_wanted(chain: Path, key: Path) -> None:
    key.write_bytes(b"0\x82\x01")
    assert f"--tls-key {key}: no private key in it" in refused(chain, key)
    chain.write_bytes(b"0\x82\x01")
    said = refused(chain, key)
    assert f"--tls-cert {chain}: no certificate in it" in said
    assert "-----BEGIN CERTIFICATE-----" in said


@pytest.mark.parametrize(
    "other",
    [
        lambda: trustme.CA().issue_cert("localhost"),
        lambda: trustme.CA().issue_cert("localhost", key_type=trustme.KeyType.RSA),
    ],
    ids=["the same kind", "another kind"],
)
def test_a_key_of_another_certificate_is_refused(
    other: Callable[[], trustme.LeafCert], chain: Path, key: Path
) -> None:
    key.write_bytes(other().private_key_pem.bytes())
    said = refused(chain, key)
    assert f"--tls-key {key}: the key is not that of the first" in said
    assert str(chain) in said


def test_a_chain_in_the_wrong_order_is_told_so(chain: Path, key: Path) -> None:
    authority = trustme.CA().cert_pem.bytes()
    chain.write_bytes(authority + chain.read_bytes())
    assert "the server's own certificate comes first" in refused(chain, key)


@pytest.mark.parametrize(
    "form", [PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8], ids=["old", "new"]
)
def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_passphrase(
    form: PrivateFormat, chain: Path, key: Path
) -> None:
    locked = key.with_name("locked.pem")
    opened = load_pem_private_key(key.read_bytes(), password=None)
    locked.write_bytes(
        opened.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"x"))
    )
    said = refused(chain, locked)
    assert f"--tls-key {locked}: the key is encrypted" in said
    assert "openssl pkey -in" in said
    with pytest.raises(ssl.SSLError):  # and not a question on the terminal
        Certificate(chain.read_bytes(), locked.read_bytes()).context()


def test_a_damaged_certificate_is_refused(chain: Path, key: Path) -> None:
    chain.write_bytes(chain.read_bytes().replace(b"\nMII", b"\nMIJ"))
    assert f"--tls-cert {chain}: a certificate, a key or the" in refused(chain, key)
