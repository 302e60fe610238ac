"""The mould that nearly all events of one stream are cast in.

A model says its words one by one, and each comes in an event that is, byte for byte,
the one before it but for the word. An event of which that is so means what the one
before meant, and need not be parsed to know it: parsing takes as long as everything
else that the relay does with an event.

That holds without any trust in the upstream. A mould is taken of a whole event, which
was parsed, without a backslash in it: so its quotation marks alone say what is text and
what is structure, and a name that stands in it once can be nothing but the member that
was found under that name. And what another event has in the place of the word must be
JSON's text to the last byte: no end of it, no escape that is none, no broken UTF-8.
Whatever else an event says, be it an error or nonsense, is outside of that place, and
makes it another event.
"""

import re
from typing import Final

# The inside of a string, as JSON has it; UTF-8 is looked at separately.
_TEXT: Final = re.compile(rb'(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+')

# Filled at random, so that the size of an event does not tell the word to whoever sees
# only the network. OpenAI sends it unless told not to; it means nothing.
_PADDING: Final = b'"obfuscation":"'


class Mould:
    """What surrounds the word, and the padding if there is one, in a stream's events.

    Args:
        before: the event up to the word.
        between: from the word's end to the padding; None where there is no padding.
        after: the event from there on.
    """

    __slots__ = ("_after", "_before", "_between", "_block_after", "_block_before")

    def __init__(self, before: bytes, between: bytes | None, after: bytes) -> None:
        self._before = before
        self._between = between
        self._after = after
        self._block_before = b"data: " + before
        self._block_after = after + b"\n\n"

    @classmethod
    def of(cls, event: bytes, name: str) -> "Mould | None":
        """Take the mould of a parsed event; None if none can be had.

        Args:
            event: a JSON object.
            name: of a member, anywhere in it, that is a string and not empty.
        """
        quoted = b'"%b"' % name.encode("ascii")
        colon = b': "' if quoted + b": " in event else b':"'
        before, found, rest = event.partition(quoted + colon)
        if not found or b"\\" in event or event.count(quoted) > 1:
            return None
        _, end, after = rest.partition(b'"')
        before, after = before + found, end + after
        between, is_padded, padded = after.partition(_PADDING)
        if is_padded:
            _, end, after = padded.partition(b'"')
            return cls(before, between + is_padded, end + after)
        return cls(before, None, after)

    def fits(self, event: bytes) -> bool:
        """Whether an event is this one with another word, which is not empty."""
        return self._surrounds(event, self._before, self._after)

    def fits_block(self, block: bytes) -> bool:
        """Whether some of a stream is such an event, as most upstreams write it.

        That is one line of data and a blank one, with nothing before or after it.
        """
        return self._surrounds(block, self._block_before, self._block_after)

    def _surrounds(self, text: bytes, before: bytes, after: bytes) -> bool:
        if not (text.startswith(before) and text.endswith(after)):
            return False
        start, end = len(before), len(text) - len(after)
        between = self._between
        if between is not None:
            end, padded = text.find(between, start, end), end
            if end < 0 or not _TEXT.fullmatch(text, end + len(between), padded):
                return False
        if start >= end or not _TEXT.fullmatch(text, start, end):
            return False
        return text.isascii() or _is_utf8(text)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
