"""`trio-gateway serve`: the gateway as a process, or as several."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import click
import trio

from trio_gateway.cli.alone import Alone
from trio_gateway.cli.certificate import CertificateSource
from trio_gateway.cli.crew import Crew
from trio_gateway.cli.demo import start_providers
from trio_gateway.cli.house import House, Options
from trio_gateway.cli.operators import ADMIN_KEY_VARIABLE, admin_key
from trio_gateway.cli.refusal import say_refusal
from trio_gateway.cli.source import PolicySource
from trio_gateway.policy.files.problems import PolicyError
from trio_gateway.serving.awake import run_awake
from trio_gateway.serving.process import BindError, place_of
from trio_gateway.serving.server import ServerKind
from trio_gateway.serving.tls import TlsError, TlsFiles
from trio_gateway.serving.workers.supervisor import NeverReadyError

# More processes than this are more than machines have cores for, and a limit that a
# policy writes must be divided among all of them.
WORKERS_MAX = 64


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
    "--tls-cert",
    type=click.Path(path_type=Path),
    help="Speak TLS to clients, with this certificate and the chain after it (PEM). "
    "Read again on SIGHUP and when it changes. The admin listener stays plain.",
)
@click.option(
    "--tls-key",
    type=click.Path(path_type=Path),
    help="The certificate's key (PEM, not encrypted), if it is not in the same file.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, WORKERS_MAX),
    default=1,
    show_default=True,
    help="Processes that serve clients. From 2 on, one more looks after them.",
)
@click.option(
    "--server",
    type=click.Choice(get_args(ServerKind)),
    default="fast",
    show_default=True,
    help="Our own serving loop (HTTP/1.1), or Hypercorn's, hardened (HTTP/2, too).",
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
    tls_cert: Path | None,
    tls_key: Path | None,
    workers: int,
    server: ServerKind,
    log: str | None,
    *,
    demo: bool,
) -> None:
    """Serve a policy's models to OpenAI-compatible clients.

    The policy is reloaded when its files change, and on SIGHUP. One that is refused
    changes nothing: its report is logged, and the last good policy goes on. The same
    holds for the certificate, of which open connections see nothing. One that has
    expired is served with a warning, but takes no valid one's place.

    SIGTERM and Ctrl-C drain: no new connections, open answers get the policy's
    `gateway.drain`; a second one ends at once. SIGUSR2 restarts all workers, one
    after the other, without losing a request.

    \b
    Examples:
      trio-gateway serve --demo --policy policies/demo.yaml
      trio-gateway serve --policy my.yaml --bind 0.0.0.0:8080 --admin off
      trio-gateway serve --policy my.yaml --workers 4
      trio-gateway serve --policy my.yaml --tls-cert chain.pem --tls-key key.pem
    """  # noqa: D301 - click's mark of lines to be kept is the character itself
    _check_addresses(bind, admin)
    options = Options(
        policy=policy,
        bind=bind,
        admin=None if admin == "off" else admin,
        admin_key=admin_key(admin),
        is_demo=demo,
        is_text=log == "text" or (demo and log is None),
        server=server,
        workers=workers,
        tls=_tls_files(tls_cert, tls_key),
    )
    try:
        code = run_awake(_serve, options)
    except KeyboardInterrupt:  # before the signal receiver stood
        code = 1
    raise SystemExit(code)


def _check_addresses(bind: str, admin: str) -> None:
    """See that both can be addresses, and each its own, before either is opened."""
    operators = {} if admin == "off" else {"--admin": admin}
    for option, address in {"--bind": bind, **operators}.items():
        try:
            place_of(address)
        except BindError as error:
            raise click.UsageError(f"{option}: {error}") from error
    if bind == admin and place_of(bind)[1]:
        raise click.UsageError(
            f"--bind and --admin are both {bind}: give operators another port, or "
            "write --admin off"
        )


def _tls_files(cert: Path | None, key: Path | None) -> TlsFiles | None:
    if cert is not None:
        return TlsFiles(cert, key)
    if key is not None:
        raise click.UsageError(
            f"--tls-key {key} has no certificate: name its file with --tls-cert, or "
            "leave both away to serve without TLS"
        )
    return None


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
            option = "--admin" if error.bind == options.admin else "--bind"
            click.echo(f"error: {option}: {error}", err=True)
            code = 2
        except TlsError as error:
            click.echo(f"error: {error}", err=True)
            code = 2
        except NeverReadyError as error:
            click.echo(f"error: no worker became ready: {error}", err=True)
            code = 1
        nursery.cancel_scope.cancel()
    return code


async def _serve_policy(options: Options, environ: Mapping[str, str]) -> int:
    source = PolicySource.begin(options, environ)
    policy = source.load()
    tls = None if options.tls is None else CertificateSource.begin(options.tls)
    house = House(policy, options)
    try:
        if options.workers > 1:
            return await Crew(house, source, policy, tls).serve()
        return await Alone(house, source, policy, tls).serve()
    finally:
        house.close()
