"""Everything a serving process is made of, put together: alone, or as one of several.

Floors know each other by ports; here the real things are plugged in.
"""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Final

import trio

from trio_gateway.access.keys import Keyring
from trio_gateway.cli.logs import LineLog
from trio_gateway.failover.fleet import Fleet
from trio_gateway.failover.shedding import LagShedder
from trio_gateway.policy.route import Policy, Secret
from trio_gateway.policy.share import WHOLE, Share, divided
from trio_gateway.relay.record import ExchangeRecord
from trio_gateway.relay.relay import Relay
from trio_gateway.serving.awake import halted_s, tell_of_halts
from trio_gateway.serving.handshakes import Handshakes
from trio_gateway.serving.process import Drain
from trio_gateway.serving.server import ServerKind
from trio_gateway.serving.tls import Certificate, Tls, TlsFiles
from trio_gateway.telemetry.attention import Attention
from trio_gateway.telemetry.log import Level, event_line, exchange_line, exchange_text
from trio_gateway.telemetry.metrics import Metrics
from trio_gateway.telemetry.recent import RecentExchanges
from trio_gateway.telemetry.recorder import Recorder
from trio_gateway.telemetry.writer import LineWriter, dropped_text
from trio_gateway.upstream.pool import PooledUpstream
from trio_gateway.web.gateway import Gateway, PolicyNews
from trio_gateway.web.ids import Ids

# How long `/readyz` says no before connections are refused. Balancers that ask every
# second look elsewhere in time; to slower ones the refused connection says the same.
NOTICE_S: Final = 1.0

# What a log reader that has stopped may cost us at the end.
_FLUSH_S: Final = 1.0

# For requests on their way to us when we listen no more: many round trips from a client
# that is near, and some from one that is not.
_PARTING_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for on the command line."""

    policy: Path
    bind: str
    admin: str | None
    admin_key: Secret | None
    is_demo: bool
    is_text: bool
    server: ServerKind
    workers: int = 1
    tls: TlsFiles | None = None  # for clients

    @property
    def inner(self) -> "Options":
        """For a worker, who has no operators of its own."""
        return replace(self, admin=None, admin_key=None)

    @property
    def notice_s(self) -> float:
        """How long to be there and not ready; nobody balances a demo."""
        return 0.0 if self.is_demo else NOTICE_S


class House:
    """Log, metrics, and what makes a gateway of them.

    Args:
        options: What was asked for.
        policy: The first one; as it was written.
        share: Which of how many processes this is.
    """

    def __init__(
        self, policy: Policy, options: Options, *, share: Share = WHOLE
    ) -> None:
        self.options = options
        self.share = share
        self.recent = RecentExchanges()
        self.writer = LineWriter(
            sys.stdout,
            say_dropped=dropped_text
            if options.is_text
            else lambda count: self._numbered(_dropped_line(count)),
        )
        self.metrics = Metrics(
            slugs=policy.routes,
            lines_dropped=lambda: self.writer.dropped,
            halted_s=halted_s,
        )
        self.recorder = Recorder(
            self.metrics,
            self.write,
            form=_text if options.is_text else exchange_line,
            observers=(Attention(self.write).observe, self.recent.observe),
        )
        log = logging.getLogger("trio_gateway")
        log.addHandler(LineLog(self.write))
        log.setLevel(logging.WARNING if options.is_text else logging.INFO)
        log.propagate = False

    def write(self, line: str) -> None:
        """Write a line of the log; does not block."""
        self.writer.write(self._numbered(line))

    def close(self) -> None:
        """Write what there still is to be written."""
        self.writer.close(_FLUSH_S)

    def gateway(
        self, upstream: PooledUpstream, policy: Policy, news: PolicyNews
    ) -> Gateway:
        """Make this process's gateway, under its share of a policy."""
        share = self.share
        # Workers that threw the same dice would all probe a sick target at once.
        dice = Random("fleet" if share is WHOLE else f"fleet/{share.index}")
        relay = Relay(
            upstream=upstream,
            fleet=Fleet(dice, workers=share.count),
            recorder=self.recorder.record,
            wall_clock=time.time,
        )
        tell_of_halts(upstream.doubt)
        policy = divided(policy, share)
        return Gateway(
            policy=policy,
            keyring=Keyring(policy.access_keys),
            relay=relay,
            metrics=self.metrics,
            new_id=Ids(),
            shedder=LagShedder(trio.current_time()),
            write=self.write,
            recent=self.recent,
            news=news,
        )

    def tls(self, certificate: Certificate) -> Tls:
        """Make what clients' connections are secured with."""
        return Tls(certificate, Handshakes(self.metrics.handshake_failed))

    def _numbered(self, line: str) -> str:
        """A line for programs says which worker it is of, if there are several."""
        if self.share is WHOLE or not line.startswith("{"):
            return line
        return f'{line[:-1]},"worker":{self.share.index}}}'


def lag_noted_by(gateway: Gateway) -> Callable[[float, float], None]:
    """Return what is to be told how late the event loop is.

    Who stood still was late, though its clock does not say so.
    """
    known_s = halted_s()

    def note(lag_s: float, now: float) -> None:
        nonlocal known_s
        lag_s += halted_s() - known_s
        known_s = halted_s()
        gateway.shedder.note(lag_s, now)
        gateway.metrics.loop_was_late(lag_s, shed_share=gateway.shedder.share)

    return note


def drain_of(gateway: Gateway, options: Options) -> Drain:
    """Return how a gateway's process ends."""

    def start() -> None:
        gateway.is_ready = False

    def deadline() -> None:
        gateway.relay.curfew.set(trio.current_time())

    return Drain(
        limit_s=gateway.policy.gateway.drain_s,
        notice_s=options.notice_s,
        parting_s=0.0 if options.is_demo else _PARTING_S,
        on_start=start,
        on_deadline=deadline,
    )


def _dropped_line(count: int) -> str:
    return event_line(
        "log_lines_dropped", at=time.time(), level=Level.WARNING, lines=count
    )


def _local_zone_text(record: ExchangeRecord) -> str:
    zone = datetime.now().astimezone().tzinfo
    assert zone is not None
    return exchange_text(record, zone=zone)


_text: Final[Callable[[ExchangeRecord], str]] = _local_zone_text
