"""Texts that must have a form: names, slugs, addresses, header fields.

Each function gives back the text it accepts and raises `TextError` otherwise. No error
quotes the text, because it may have come out of a secret.
"""

import re
from typing import Final
from urllib.parse import urlsplit

# Names of providers are parts of target ids, metric labels and addresses.
PROVIDER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

# Slugs stand in the path of `/v1/models/{slug}`; slashes are usual in them.
SLUG: Final = re.compile(r"(?!.*//)[A-Za-z0-9][A-Za-z0-9._:@+/-]{0,199}(?<!/)")

# RFC 9110, 5.6.2: a token.
HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VISIBLE_ASCII: Final = re.compile(r"[\x21-\x7e]+")
SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")

# Labels and model ids reach log lines and error bodies.
LABEL_CHARS_MAX: Final = 200

# What the HTTP library and we ourselves write: a second one would be a lie or a hole.
OUR_HEADERS: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-request-id",
    }
)


class TextError(ValueError):
    """A text does not have the form that is wanted."""

    def __init__(self, message: str, remedy: str) -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message}. {remedy}")


def provider_name(text: str) -> str:
    """A provider's name: no slash, because a target's id is `provider/model`."""
    if not PROVIDER_NAME.fullmatch(text):
        raise TextError(
            "is not a name for a provider",
            "Use up to 64 letters, digits, dots, dashes and underscores.",
        )
    return text


def slug(text: str) -> str:
    """A model's public name, in which slashes may stand."""
    if not SLUG.fullmatch(text):
        raise TextError(
            "is not a slug",
            "Use up to 200 letters, digits and . _ : @ + - with single slashes inside.",
        )
    return text


def label(text: str) -> str:
    """A name for people or for an upstream: printable, and not too long."""
    if not text.strip() or not text.isprintable() or len(text) > LABEL_CHARS_MAX:
        raise TextError(
            "is empty, too long or not printable",
            f"Use 1 to {LABEL_CHARS_MAX} printable characters.",
        )
    return text


def base_url(text: str) -> str:
    """An API's address, without the slash at its end."""
    remedy = "Write an address such as https://api.openai.com/v1."
    if not _is_http_url(text):
        raise TextError("is not an http or https address", remedy)
    url = urlsplit(text)
    if url.username is not None or url.password is not None:
        remedy = "Write the credential as `api_key: ${NAME}`."
        raise TextError("holds a credential", remedy)
    if "?" in text or "#" in text:
        remedy = "End it before the ? or #."
        raise TextError("holds a query or a fragment", remedy)
    text = text.rstrip("/")
    if text.endswith("/chat/completions"):
        remedy = "End it before /chat/completions, which the gateway adds."
        raise TextError("is the address of one operation", remedy)
    return text


def proxy_url(text: str) -> str:
    """A proxy's address; a user and a password may stand in it."""
    if text.partition("://")[0].lower().startswith("socks"):
        remedy = "Use an HTTP proxy, such as http://proxy.internal:3128."
        raise TextError("is a SOCKS proxy, which the gateway does not speak to", remedy)
    if not _is_http_url(text):
        remedy = "Write an address such as http://proxy.internal:3128."
        raise TextError("is not an http or https address", remedy)
    return text


def header_name(text: str) -> str:
    """The name of a header field that an operator may add."""
    if not HEADER_NAME.fullmatch(text):
        remedy = "Use letters, digits and dashes."
        raise TextError("is not the name of a header field", remedy)
    if text.lower() in OUR_HEADERS:
        raise TextError("is a header field that the gateway writes", "Leave it out.")
    return text


def header_text(text: str) -> str:
    """A header field's value: printable ASCII, with spaces only inside."""
    if not text.isascii() or not text.isprintable() or text != text.strip():
        remedy = "Use printable ASCII, without line ends or spaces around it."
        raise TextError("cannot stand in a header field", remedy)
    return text


def token(text: str) -> str:
    """A credential: one word that can stand in a header field."""
    if not _VISIBLE_ASCII.fullmatch(text):
        remedy = "Look for a space, a line end or a letter beyond ASCII."
        raise TextError("is not one word of printable ASCII", remedy)
    return text


def sha256_hex(text: str) -> str:
    """A SHA-256 digest in hexadecimal digits."""
    if not SHA256.fullmatch(text):
        remedy = "Write the 64 hexadecimal digits that `trio-gateway keys new` prints."
        raise TextError("is not a SHA-256 hash", remedy)
    return text


def _is_http_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        has_place = url.hostname is not None and url.port != 0
    except ValueError:  # a port that is none, half a bracket
        return False
    is_clean = _VISIBLE_ASCII.fullmatch(text) is not None
    return url.scheme in ("http", "https") and has_place and is_clean
