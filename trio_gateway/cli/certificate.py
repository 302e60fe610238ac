"""The clients' certificate: read at the start, and again when its files change.

As with policies, saving a file cannot make things worse: one that cannot be used is
reported once, and the certificate that holds goes on holding.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import trio

from trio_gateway.cli.vigil import Vigil
from trio_gateway.cli.watch import Look, look_at
from trio_gateway.serving.tls import Certificate, TlsError, TlsFiles
from trio_gateway.telemetry.log import Level, event_line

# Two paths, and what is wrong with them.
_CHARS_MAX = 4000


@dataclass(frozen=True, slots=True)
class CertificateSource:
    """The files, how they looked before they were first read, and what was in them."""

    files: TlsFiles
    seen: Look
    certificate: Certificate

    @classmethod
    def begin(cls, files: TlsFiles) -> "CertificateSource":
        """Read the files.

        Raises:
            TlsError: They cannot be used.
        """
        return cls(files, look_at(files.paths), files.read())


class CertificateKeeper:
    """Keeps a certificate as its files say.

    Args:
        source: The files, and the certificate that holds.
        adopt: Told of each new one.
        write: Takes lines of the log.
        is_text: Whether they are for a person.
    """

    def __init__(
        self,
        source: CertificateSource,
        adopt: Callable[[Certificate], None],
        write: Callable[[str], None],
        *,
        is_text: bool,
    ) -> None:
        self._files = source.files
        self._holds = source.certificate
        self._vigil = Vigil(self._look, source.seen)
        self._was_refused = False
        self._adopt = adopt
        self._write = write
        self._is_text = is_text

    def hangup(self) -> None:
        """Read the files now, changed or not."""
        self._vigil.hangup()

    async def run(self) -> None:
        """Watch the files; never returns."""
        while True:
            is_asked = await self._vigil.wait()
            self._vigil.seen, read = await trio.to_thread.run_sync(
                self._read, abandon_on_cancel=True
            )
            self._take(read, is_asked=is_asked)

    def _look(self) -> Look:
        return look_at(self._files.paths)

    def _read(self) -> tuple[Look, Certificate | TlsError]:
        """Read everything, in a thread; looked at first, lest a change be missed."""
        seen = self._look()
        try:
            return seen, self._files.read()
        except TlsError as error:
            return seen, error

    def _take(self, read: Certificate | TlsError, *, is_asked: bool) -> None:
        was_refused, self._was_refused = self._was_refused, isinstance(read, TlsError)
        if isinstance(read, TlsError):
            self._say(
                "certificate_refused",
                f"certificate refused, the last good one goes on: {read}",
                level=Level.ERROR,
                why=str(read),
            )
        elif read != self._holds:
            self._holds = read
            self._adopt(read)
            self._say("certificate_reloaded", "certificate reloaded")
        elif is_asked or was_refused:
            self._say("certificate_unchanged", "certificate read again: unchanged")

    def _say(
        self, event: str, text: str, *, level: Level = Level.INFO, **fields: str
    ) -> None:
        if self._is_text:
            self._write(text)
            return
        at, most = time.time(), _CHARS_MAX
        fields = {"file": str(self._files.cert), **fields}
        self._write(
            event_line(event, at=at, level=level, text_chars_max=most, **fields)
        )
