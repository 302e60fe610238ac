"""What the log says of a policy that was reloaded, refused or found unchanged."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from trio_gateway.policy.route import Policy
from trio_gateway.telemetry.log import Level, event_line
from trio_gateway.web.gateway import PolicyNews, PolicyRefusal

# A whole report, or a whole list of changes, within what log shippers take as a line.
_CHARS_MAX: Final = 16_000


@dataclass(frozen=True, slots=True)
class PolicyLog:
    """Writes it: as event lines for programs, as plain ones for a person."""

    write: Callable[[str], None]
    is_text: bool

    def loaded(self, policy: Policy, news: PolicyNews) -> None:
        """Another policy holds from now on."""
        self._say(
            "policy_reloaded",
            f"policy reloaded: revision {news.number}, {policy.revision}",
            news.changes or ("nothing but its text changed",),
            part="changes",
            revision=news.number,
            hash=policy.revision,
        )

    def refused(self, refusal: PolicyRefusal) -> None:
        """The files are refused; what holds goes on."""
        self._say(
            "policy_refused",
            "policy refused, the last good one goes on:",
            refusal.report,
            part="report",
            level=Level.ERROR,
        )

    def unchanged(self) -> None:
        """The files mean what holds already."""
        self._say("policy_unchanged", "policy read again: unchanged", (), part="")

    def _say(
        self,
        event: str,
        head: str,
        lines: tuple[str, ...],
        *,
        part: str,
        level: Level = Level.INFO,
        **fields: str | int,
    ) -> None:
        if self.is_text:
            for line in _indented(head, lines):
                self.write(line)
            return
        if part:
            fields[part] = "\n".join(lines)
        self.write(
            event_line(
                event,
                at=time.time(),
                level=level,
                text_chars_max=_CHARS_MAX,
                **fields,
            )
        )


def _indented(head: str, lines: tuple[str, ...]) -> Iterator[str]:
    yield head
    yield from (f"  {line}" for line in lines)
