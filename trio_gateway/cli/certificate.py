"""The clients' certificate: read at the start, and again when its files change.

As with policies, saving a file cannot make things worse: one that cannot be used is
reported once, and the certificate that holds goes on holding. So does one that clients
accept where the new one has expired, or is not valid yet.

Where there is no better one, a certificate out of its dates is served all the same, and
said to be: not to start would help nobody, and some clients do not look at dates.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import trio

from trio_gateway.cli.vigil import Vigil
from trio_gateway.cli.watch import Look, look_at
from trio_gateway.serving.tls import Certificate, TlsError, TlsFiles
from trio_gateway.serving.validity import Lapse, lapse_of
from trio_gateway.telemetry.log import Level, event_line

# Two paths, and what is wrong with them.
_CHARS_MAX = 4000

# How soon after it has expired somebody is told.
_DATES_S = 60.0


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
        wall_clock: Seconds since 1970 UTC.
    """

    def __init__(
        self,
        source: CertificateSource,
        adopt: Callable[[Certificate], None],
        write: Callable[[str], None],
        *,
        is_text: bool,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._files = source.files
        self._holds = source.certificate
        self._vigil = Vigil(self._look, source.seen)
        self._was_refused = False
        self._told: Lapse | None = None
        self._wall_clock = wall_clock
        self._adopt = adopt
        self._write = write
        self._is_text = is_text

    def hangup(self) -> None:
        """Read the files now, changed or not."""
        self._vigil.hangup()

    async def run(self) -> None:
        """Watch the files, and the dates of what holds; never returns."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_dates)
            while True:
                is_asked = await self._vigil.wait()
                self._vigil.seen, read = await trio.to_thread.run_sync(
                    self._read, abandon_on_cancel=True
                )
                self._take(read, is_asked=is_asked)

    async def _watch_dates(self) -> None:
        while True:
            self._tell_lapse()
            await trio.sleep(_DATES_S)

    def _tell_lapse(self) -> None:
        """Say that what holds is out of its dates, once."""
        lapse = lapse_of(self._holds.chain, self._wall_clock())
        told, self._told = self._told, lapse
        if lapse is not None and lapse != told:
            why = f"{_named(self._files, lapse)}: clients will refuse it; renew it"
            self._say(
                "certificate_not_valid",
                f"warning: {why}",
                level=Level.WARNING,
                why=why,
            )

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
        if isinstance(read, Certificate):
            read = self._unless_worse(read)
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
            self._tell_lapse()
        elif is_asked or was_refused:
            self._say("certificate_unchanged", "certificate read again: unchanged")

    def _unless_worse(self, read: Certificate) -> Certificate | TlsError:
        """Refuse one that is out of its dates in the place of one that is not."""
        now = self._wall_clock()
        lapse = lapse_of(read.chain, now)
        is_own = lapse is not None and lapse.number == 1
        if lapse is None or not is_own or lapse_of(self._holds.chain, now) is not None:
            return read
        return TlsError(f"{_named(self._files, lapse)}: name one that is valid now")

    def _say(
        self, event: str, text: str, *, level: Level = Level.INFO, **fields: str
    ) -> None:
        if self._is_text:
            self._write(text)
            return
        at, most = self._wall_clock(), _CHARS_MAX
        fields = {"file": str(self._files.cert), **fields}
        self._write(
            event_line(event, at=at, level=level, text_chars_max=most, **fields)
        )


def _named(files: TlsFiles, lapse: Lapse) -> str:
    return f"--tls-cert {files.cert}: {lapse.why}"
