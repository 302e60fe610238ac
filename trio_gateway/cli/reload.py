"""Reload: a changed file or a SIGHUP, and the gateway goes on under another policy.

    a file changed --> still for half a second? --> read and check --> swap
    SIGHUP ------------------------------------->   (in a thread)      at once:
                                                          |            no await
                                                       refused:
                                                    nothing changes

Saving a file cannot make things worse: what is refused is reported once, with its whole
report, and the policy that holds goes on holding. Listening addresses do not change.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

import trio

from trio_gateway.cli.vigil import Vigil
from trio_gateway.cli.watch import Look, WatchedFiles
from trio_gateway.policy.change import changes
from trio_gateway.policy.files.problems import PolicyError
from trio_gateway.policy.route import Account, Policy
from trio_gateway.telemetry.metrics import Metrics
from trio_gateway.web.gateway import PolicyNews, PolicyRefusal

Retain = Callable[[Iterable[Account]], Awaitable[None]]
"""Drops the connections to all other accounts."""

_log = logging.getLogger(__name__)


class Governed(Protocol):
    """Whoever lives by a policy: a gateway, or all workers together."""

    policy: Policy
    news: PolicyNews

    @property
    def metrics(self) -> Metrics:
        """Where reloads are counted."""

    def adopt(self, policy: Policy) -> None:
        """Go on under another policy, at once."""


@dataclass(frozen=True, slots=True)
class _Another:
    """Another policy, and what it changes, in an operator's words."""

    policy: Policy
    changes: tuple[str, ...]


@dataclass(slots=True)
class Reloader:
    """Keeps a gateway's policy as its files say.

    Args:
        files: The policy's files.
        seen: How they looked before the policy that holds was read.
        load: Reads and checks them; runs in a thread.
        gateway: Whose policy it is.
        retain: `PooledUpstream.retain`.
        on_loaded: Told after each swap.
        on_refused: Told of each refusal, once.
        on_unchanged: Told when files that were refused, or a SIGHUP, meant no change.
        wall_clock: Seconds since 1970 UTC.
    """

    files: WatchedFiles
    seen: Look
    load: Callable[[], Policy]
    gateway: Governed
    retain: Retain
    on_loaded: Callable[[Policy, PolicyNews], None]
    on_refused: Callable[[PolicyRefusal], None]
    on_unchanged: Callable[[], None]
    wall_clock: Callable[[], float] = time.time
    _vigil: Vigil = field(init=False)

    def __post_init__(self) -> None:
        self._vigil = Vigil(self.files.look, self.seen)

    def hangup(self) -> None:
        """Read the files now, changed or not."""
        self._vigil.hangup()

    async def run(self) -> None:
        """Watch the files; never returns."""
        while True:
            is_asked = await self._vigil.wait()
            await self._reload(is_asked=is_asked)

    async def _reload(self, *, is_asked: bool) -> None:
        self.seen, read = await trio.to_thread.run_sync(
            self._read, abandon_on_cancel=True
        )
        self._vigil.seen = self.seen
        if isinstance(read, PolicyRefusal):
            self._refuse(read)
        elif read is None:
            self._keep(is_told=is_asked)
        else:
            self._swap(read)
            await self.retain(read.policy.accounts.values())

    def _read(self) -> tuple[Look, "_Another | PolicyRefusal | None"]:
        """Read everything, in a thread; looked at first, lest a change be missed."""
        self.files.scan()
        return self.files.look(), self._judged()

    def _judged(self) -> "_Another | PolicyRefusal | None":
        """What the files say; None where that is what holds already."""
        at = self.wall_clock()
        try:
            policy, holds = self.load(), self.gateway.policy
            told = changes(holds, policy)
            return None if policy == holds else _Another(policy, told)
        except PolicyError as error:
            return PolicyRefusal(at, tuple(str(error).splitlines()))
        except Exception:  # noqa: BLE001 - our bug, and no reason to stop serving
            _log.exception("the policy could not be judged")
            return PolicyRefusal(at, ("it could not be judged: see the log",))

    def _swap(self, read: "_Another") -> None:
        """Go on under another policy; nothing may be awaited in here."""
        gateway, news = self.gateway, self.gateway.news
        gateway.adopt(read.policy)
        gateway.news = replace(
            news,
            number=news.number + 1,
            loaded_at=self.wall_clock(),
            changes=read.changes,
            are_files_refused=False,
        )
        gateway.metrics.policy_files_read("loaded", are_refused=False)
        self.on_loaded(read.policy, gateway.news)

    def _keep(self, *, is_told: bool) -> None:
        news = self.gateway.news
        was_refused = news.are_files_refused
        self.gateway.news = replace(news, are_files_refused=False)
        self.gateway.metrics.policy_files_read("unchanged", are_refused=False)
        if is_told or was_refused:
            self.on_unchanged()

    def _refuse(self, refusal: PolicyRefusal) -> None:
        self.gateway.news = replace(
            self.gateway.news, last_refusal=refusal, are_files_refused=True
        )
        self.gateway.metrics.policy_files_read("refused", are_refused=True)
        self.on_refused(refusal)
