"""`trio-gateway upstream`: a simulated provider that misbehaves as it is told."""

import signal
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import trio

from trio_gateway.chaos.answers import Pace
from trio_gateway.chaos.certificates import ServerTls, make_server_tls
from trio_gateway.chaos.faults import Fault, parse_fault
from trio_gateway.chaos.presets import PRESETS
from trio_gateway.chaos.seen import SeenRequest
from trio_gateway.chaos.server import SimulatedProvider, open_sockets, port_of
from trio_gateway.chaos.weather import Weather


def _parse(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[Fault, ...]:
    try:
        return tuple(map(parse_fault, texts))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=9001, show_default=True, help="0 picks a free one.")
@click.option(
    "--fault",
    "faults",
    callback=_parse,
    multiple=True,
    help="For example 'status=503,rate=30%'; may be given several times.",
)
@click.option(
    "--preset", type=click.Choice(sorted(PRESETS)), help="A ready mix of faults."
)
@click.option("--seed", default=0, show_default=True, help="Same seed, same run.")
@click.option("--tokens", default=24, show_default=True, help="Length of an answer.")
@click.option("--gap", default=0.02, show_default=True, help="Seconds between tokens.")
@click.option("--tls", is_flag=True, help="Serve HTTPS with a certificate made for it.")
def upstream(
    host: str,
    port: int,
    faults: tuple[Fault, ...],
    preset: str | None,
    seed: int,
    tokens: int,
    gap: float,
    *,
    tls: bool,
) -> None:
    """Run a simulated OpenAI-compatible provider.

    It answers POST /v1/chat/completions (streamed or not) and GET /v1/models, and has
    the faults it is told to have. One line is printed for each request.

    \b
    Faults are effects and options, joined by commas:
      status=503,rate=30%              three requests in ten get a 503
      status=429,retry_after=2s        every request is told to come back in 2 s
      slow_first_token=5s,rate=10%     one in ten is slow to begin
      cut=100 | reset | hang=500       the connection breaks, after so many bytes
      error_in_200, malformed_sse, role_only, html, broken_gzip, ...

    \b
    Examples:
      trio-gateway upstream --port 9001 --fault 'status=503,rate=30%' --seed 7
      trio-gateway upstream --port 9002 --preset flaky --tls
    """  # noqa: D301 - click's mark of lines to be kept is the character itself
    chosen = (*(PRESETS[preset].faults if preset else ()), *faults)
    pace = Pace(tokens=tokens, gap_s=gap)
    try:
        weather = Weather(provider="upstream", faults=chosen, pace=pace)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    provider = SimulatedProvider.in_weather(weather, seed=seed, on_request=_tell)
    with TemporaryDirectory(prefix="trio-gateway-") as folder:
        certificates = _certificates(Path(folder), host) if tls else None
        try:
            trio.run(_run, provider, host, port, certificates)
        except OSError as error:
            click.echo(f"error: {error.strerror or error}", err=True)
            raise SystemExit(2) from error


def _certificates(folder: Path, host: str) -> ServerTls:
    return make_server_tls(folder, hosts=(host, "localhost", "127.0.0.1"))


async def _run(
    provider: SimulatedProvider, host: str, port: int, tls: ServerTls | None
) -> None:
    listeners = await open_sockets(host, port, tls=tls)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(provider.serve, listeners)
            scheme = "http" if tls is None else "https"
            click.echo(f"listening on {scheme}://{host}:{port_of(listeners[0])}/v1")
            if tls is not None:
                click.echo(f"ca_file: {tls.ca_pem}")
            await anext(aiter(signals))
            nursery.cancel_scope.cancel()


def _tell(seen: SeenRequest) -> None:
    ending = "" if seen.ending is None else seen.ending.value
    click.echo(f"{seen.number}  {seen.path}  {seen.status or '-'}  {ending}")
