"""`trio-gateway serve`: the gateway as a process."""

import ipaddress
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, get_args

import click
import trio

from trio_gateway.access.keys import Keyring
from trio_gateway.cli.demo import explain, start_providers
from trio_gateway.cli.logs import LineLog
from trio_gateway.cli.policy_log import PolicyLog
from trio_gateway.cli.refusal import say_refusal
from trio_gateway.cli.reload import Reloader, Retain
from trio_gateway.cli.trust import why_not_trusted
from trio_gateway.cli.watch import Look, WatchedFiles
from trio_gateway.failover.fleet import Fleet
from trio_gateway.failover.limiter import LagShedder
from trio_gateway.policy.load import load_policy
from trio_gateway.policy.problems import PolicyError
from trio_gateway.policy.route import Policy, Secret
from trio_gateway.relay.exchange import Relay
from trio_gateway.relay.lag import watch_lag
from trio_gateway.relay.record import ExchangeRecord
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.process import Addresses, BindError, Drain, Site, run
from trio_gateway.serving.server import ServerKind
from trio_gateway.telemetry.attention import Attention
from trio_gateway.telemetry.log import Level, event_line, exchange_line, exchange_text
from trio_gateway.telemetry.metrics import Metrics
from trio_gateway.telemetry.recent import RecentExchanges
from trio_gateway.telemetry.recorder import Recorder
from trio_gateway.telemetry.writer import LineWriter, dropped_text
from trio_gateway.upstream.pool import PooledUpstream
from trio_gateway.web.app import create_admin_app, create_app
from trio_gateway.web.gateway import Gateway, PolicyNews

# Operators and scrapers; clients must not lose their share of open files to them.
_ADMIN_CONNECTIONS_MAX: Final = 64

ADMIN_KEY_VARIABLE: Final = "TRIO_GATEWAY_ADMIN_KEY"

# How long `/readyz` says no before connections are refused. Balancers that ask every
# second look elsewhere in time; to slower ones the refused connection says the same.
_NOTICE_S: Final = 1.0

# What a log reader that has stopped may cost us at the end.
_FLUSH_S: Final = 1.0


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


@click.command()
@click.option(
    "--policy",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="A policy file, or a folder of *.yaml.",
)
@click.option(
    "--bind",
    default="127.0.0.1:8080",
    show_default=True,
    help="Where clients connect; port 0 picks a free one.",
)
@click.option(
    "--admin",
    default="127.0.0.1:9090",
    show_default=True,
    help="Where operators connect (/metrics, /readyz); 'off' for none. "
    f"Beyond loopback, {ADMIN_KEY_VARIABLE} must hold a key.",
)
@click.option(
    "--workers", default=1, show_default=True, help="Processes; more than 1 is to come."
)
@click.option(
    "--server",
    type=click.Choice(get_args(ServerKind)),
    default="fast",
    show_default=True,
    help="Our own serving loop, or Hypercorn's, hardened.",
)
@click.option(
    "--log",
    type=click.Choice(["json", "text"]),
    help="How exchanges are told; text in a demo, else json.",
)
@click.option(
    "--demo",
    is_flag=True,
    help="Start two simulated providers, one of them flaky, for policies/demo.yaml.",
)
def serve(
    policy: Path,
    bind: str,
    admin: str,
    workers: int,
    server: ServerKind,
    log: str | None,
    *,
    demo: bool,
) -> None:
    """Serve a policy's models to OpenAI-compatible clients.

    The policy is reloaded when its files change, and on SIGHUP. One that is refused
    changes nothing: its report is logged, and the last good policy goes on.

    SIGTERM and Ctrl-C drain: no new connections, open answers get the policy's
    `gateway.drain`; a second one ends at once.

    \b
    Examples:
      trio-gateway serve --demo --policy policies/demo.yaml
      trio-gateway serve --policy my.yaml --bind 0.0.0.0:8080 --admin off
    """  # noqa: D301 - click's mark of lines to be kept is the character itself
    if workers != 1:
        raise click.UsageError("not supported yet: --workers other than 1")
    options = Options(
        policy=policy,
        bind=bind,
        admin=None if admin == "off" else admin,
        admin_key=_admin_key(admin),
        is_demo=demo,
        is_text=log == "text" or (demo and log is None),
        server=server,
    )
    try:
        code = trio.run(_serve, options)
    except KeyboardInterrupt:  # before the signal receiver stood
        code = 1
    raise SystemExit(code)


def _admin_key(admin: str) -> Secret | None:
    key = os.environ.get(ADMIN_KEY_VARIABLE)
    if admin != "off" and not key and not _is_loopback(admin):
        raise click.UsageError(
            f"--admin {admin} is reachable by others: set {ADMIN_KEY_VARIABLE} to a "
            "key that operators send as a bearer token, or use a loopback address"
        )
    return Secret(key) if key else None


def _is_loopback(bind: str) -> bool:
    host = bind.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _serve(options: Options) -> int:
    async with trio.open_nursery() as nursery:
        environ: Mapping[str, str] = os.environ
        if options.is_demo:
            environ = {**environ, **await start_providers(nursery)}
        try:
            code = await _serve_policy(options, environ)
        except PolicyError as error:
            say_refusal(error)
            code = 2
        except BindError as error:
            click.echo(f"error: {error}", err=True)
            code = 2
        nursery.cancel_scope.cancel()
    return code


async def _serve_policy(options: Options, environ: Mapping[str, str]) -> int:
    files = WatchedFiles(options.policy)
    files.scan()
    seen = files.look()  # before it is read, lest a change in between be missed
    load = partial(
        load_policy, options.policy, environ=environ, why_not_trusted=why_not_trusted
    )
    house = House(load(), options, files=files, seen=seen, load=load)
    try:
        return await house.serve()
    finally:
        house.writer.close(_FLUSH_S)


class House:
    """Everything a serving process is made of, put together."""

    def __init__(
        self,
        policy: Policy,
        options: Options,
        *,
        files: WatchedFiles,
        seen: Look,
        load: Callable[[], Policy],
    ) -> None:
        self.policy = policy  # the first
        self.options = options
        self.files = files
        self.seen = seen
        self.load = load
        self.recent = RecentExchanges()
        self.writer = LineWriter(
            sys.stdout, say_dropped=dropped_text if options.is_text else _dropped_line
        )
        self.metrics = Metrics(
            slugs=policy.routes, lines_dropped=lambda: self.writer.dropped
        )
        self.recorder = Recorder(
            self.metrics,
            self.writer.write,
            form=_text if options.is_text else exchange_line,
            observers=(Attention(self.writer.write).observe, self.recent.observe),
        )
        log = logging.getLogger("trio_gateway")
        log.addHandler(LineLog(self.writer.write))
        log.setLevel(logging.WARNING if options.is_text else logging.INFO)
        log.propagate = False

    async def serve(self) -> int:
        """Serve until told to end; return the exit code."""
        async with PooledUpstream() as upstream:
            relay = Relay(
                upstream=upstream,
                fleet=Fleet(),
                recorder=self.recorder.record,
                wall_clock=time.time,
            )
            gateway = Gateway(
                policy=self.policy,
                keyring=Keyring(self.policy.access_keys),
                relay=relay,
                metrics=self.metrics,
                new_id=lambda: str(uuid.uuid4()),
                shedder=LagShedder(trio.current_time()),
                write=self.writer.write,
                recent=self.recent,
                news=PolicyNews(str(self.options.policy), loaded_at=time.time()),
            )
            drain = _drain(gateway, is_balanced=not self.options.is_demo)
            reloader = self._reloader(gateway, upstream.retain, drain)
            return await run(
                self._sites(gateway),
                background=[
                    partial(watch_lag, _lag_noted_by(gateway)),
                    reloader.run,
                ],
                drain=drain,
                on_listening=self._announce,
                on_hangup=reloader.hangup,
            )

    def _reloader(self, gateway: Gateway, retain: Retain, drain: Drain) -> Reloader:
        told = PolicyLog(self.writer.write, is_text=self.options.is_text)

        def loaded(policy: Policy, news: PolicyNews) -> None:
            drain.limit_s = policy.gateway.drain_s
            told.loaded(policy, news)

        return Reloader(
            files=self.files,
            seen=self.seen,
            load=self.load,
            gateway=gateway,
            retain=retain,
            on_loaded=loaded,
            on_refused=told.refused,
            on_unchanged=told.unchanged,
        )

    def _sites(self, gateway: Gateway) -> list[Site]:
        server = self.options.server
        sites = [Site(create_app(gateway), [self.options.bind], server=server)]
        if self.options.admin is not None:
            host = self.options.admin.rpartition(":")[0].strip("[]")
            app = create_admin_app(gateway, bind_host=host, key=self.options.admin_key)
            limits = Limits(connections_max=_ADMIN_CONNECTIONS_MAX)
            sites.append(Site(app, [self.options.admin], limits, server))
        return sites

    def _announce(self, addresses: Addresses) -> None:
        clients = f"http://{addresses[0][0]}"
        admin = f"http://{addresses[1][0]}" if len(addresses) > 1 else None
        if self.options.is_text:
            places = f"listening on {clients}" + (
                f", admin on {admin}" if admin else ""
            )
            for line in [places, *(explain(clients) if self.options.is_demo else ())]:
                self.writer.write(line)
        else:
            self.writer.write(
                event_line(
                    "listening",
                    at=time.time(),
                    clients=clients,
                    admin=admin,
                    revision=self.policy.revision,
                )
            )


def _lag_noted_by(gateway: Gateway) -> Callable[[float, float], None]:
    def note(lag_s: float, now: float) -> None:
        gateway.shedder.note(lag_s, now)
        gateway.metrics.loop_was_late(lag_s, shed_share=gateway.shedder.share)

    return note


def _drain(gateway: Gateway, *, is_balanced: bool) -> Drain:
    def start() -> None:
        gateway.is_ready = False

    def deadline() -> None:
        gateway.relay.curfew.set(trio.current_time())

    return Drain(
        limit_s=gateway.policy.gateway.drain_s,
        notice_s=_NOTICE_S if is_balanced else 0.0,
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
