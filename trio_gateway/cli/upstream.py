"""`trio-gateway upstream`: simulated providers that misbehave as they are told."""

import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click
import trio

from trio_gateway.chaos.provider.certificates import ServerTls, make_server_tls
from trio_gateway.chaos.provider.connection import Connection
from trio_gateway.chaos.provider.control import Control
from trio_gateway.chaos.provider.seen import SeenRequest
from trio_gateway.chaos.provider.server import (
    SimulatedProvider,
    SocketListener,
    open_sockets,
    port_of,
)
from trio_gateway.chaos.scenarios.load import load_scenario
from trio_gateway.chaos.scenarios.policies import make_policy, read_policy_document
from trio_gateway.chaos.scenarios.stage import actors_of
from trio_gateway.chaos.scenarios.worlds import setting_of
from trio_gateway.chaos.vocabulary.answers import Dialect
from trio_gateway.chaos.worlds.presets import PRESETS
from trio_gateway.cli.numbers import FiniteRange
from trio_gateway.cli.refusal import say_refusal
from trio_gateway.cli.upstream_specs import PORT_MAX, ProviderSpec, read_providers
from trio_gateway.policy.files.problems import PolicyError

# A machine slower or faster than this is not what anybody means.
SPEED_MAX: Final = 100_000.0


@click.command()
@click.argument(
    "scenario",
    required=False,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--policy",
    type=click.Path(exists=True, path_type=Path),
    help="In place of the scenario's own.",
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--port",
    type=click.IntRange(0, PORT_MAX),
    default=9001,
    show_default=True,
    help="0 picks a free one. The first one of a scenario's providers.",
)
@click.option(
    "--provider",
    "providers",
    multiple=True,
    help="One of several, such as 'name=openai,port=9001'; its keys are above.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    help="For example 'status=503,rate=30%', or 'openai:status=503' for one provider; "
    "may be given several times.",
)
@click.option(
    "--preset", type=click.Choice(sorted(PRESETS)), help="A ready mix of faults."
)
@click.option(
    "--dialect",
    type=click.Choice([dialect.value for dialect in Dialect]),
    default=Dialect.OPENAI.value,
    show_default=True,
    help="Whose API it speaks.",
)
@click.option("--seed", type=int, help="Same seed, same run.  [default: 0]")
@click.option(
    "--speed",
    type=FiniteRange(0.0, SPEED_MAX, min_open=True),
    default=1.0,
    show_default=True,
    help="Of the weather: at 60, an outage of an hour lasts a minute.",
)
@click.option(
    "--tokens", type=click.IntRange(1), help="Length of an answer.  [default: 24]"
)
@click.option(
    "--gap", type=FiniteRange(0.0), help="Seconds between tokens.  [default: 0.02]"
)
@click.option("--tls", is_flag=True, help="Serve HTTPS with a certificate made for it.")
@click.option(
    "--control",
    "control_port",
    type=click.IntRange(0, PORT_MAX),
    help="A port of its own for /control/; else it is on each provider's.",
)
@click.option(
    "--control-from-anywhere",
    is_flag=True,
    help="Let other machines change faults and read the log.",
)
def upstream(
    scenario: Path | None,
    policy: Path | None,
    host: str,
    port: int,
    providers: tuple[str, ...],
    faults: tuple[str, ...],
    preset: str | None,
    dialect: str,
    seed: int | None,
    speed: float,
    tokens: int | None,
    gap: float | None,
    control_port: int | None,
    *,
    tls: bool,
    control_from_anywhere: bool,
) -> None:
    """Run simulated OpenAI-compatible providers, one or several.

    They answer POST /v1/chat/completions (streamed or not) and GET /v1/models, and have
    the faults they are told to have. One line is printed for each request.

    With a SCENARIO (see policies/scenarios/) they are the providers of its policy, in
    its weather, which begins when they start: on --port, and on the ports after it. One
    that is down does not listen meanwhile, and one in a black hole is not connected to.

    \b
    Faults are effects and options, joined by commas:
      status=503,rate=30%              three requests in ten get a 503
      status=429,retry_after=2s        every request is told to come back in 2 s
      error=anthropic_rate_limit       an error in some provider's own words
      delay=3s | slow_head=3s | slow_first_token=5s | stall=10s | gap=1s | slow=8
      cut=100 | reset | hang=500 | unterminated | no_finish | no_done | role_only
      error_in_200 | malformed_sse | html | done_twice | huge_token | filtered=5
      wrong_length | stray | interim | half_open | stale | silence | heartbeats
      refuse,flap=20s/20s              20 s down, 20 s up
      status=500,from=1m,until=5m      four minutes of it
      status=503,outages=6h/20m        every 6 h or so, 20 min or so: the seed knows
      status=404,model=gpt-4.1         one model is gone
    All of them stand at the top of trio_gateway/chaos/vocabulary/faults.py.

    \b
    The keys of a provider, joined by commas; the options above are their defaults:
      name=NAME port=PORT dialect=openai|azure tls preset=NAME tokens=N gap=TIME
      first_token=MODEL     times to the first token as that model has them
      domain=NAME           providers of a domain have their outages together
      day=3/24h             at the peak of a day, everything takes 3 times as long
      capacity=8 line=50 ignores_departures
                            slots, a line before them, and no eye for who has left
      block=10              tokens come in blocks, as behind Azure's filter
      needs_key             a request without a key is refused

    \b
    While they run, from this machine (on a provider's own port, or --control's):
      POST   /control/faults     {"faults": ["status=503,rate=30%"], "for": "30s"}
                                 or {"preset": "flap"}
      GET    /control/faults     what reigns now
      DELETE /control/faults     back to the faults of the command line
      GET    /control/requests   what was seen: never a prompt, never a key
      DELETE /control/requests   forget it
    With --control, ?provider=NAME means one; without it, all of them.

    \b
    Examples:
      trio-gateway upstream --port 9001 --fault 'status=503,rate=30%' --seed 7
      trio-gateway upstream --port 9002 --preset flaky --tls
      trio-gateway upstream --control 9100 --provider name=openai,port=9001 \\
        --provider name=azure,port=9002,dialect=azure --fault 'openai:slow=8'
      trio-gateway upstream policies/scenarios/hard-outage.yaml --port 9001
    """  # noqa: D301 - click's mark of lines to be kept is the character itself
    usual = ProviderSpec(
        port=port,
        dialect=Dialect(dialect),
        has_tls=tls,
        preset=preset,
        tokens=tokens,
        gap_s=gap,
    )
    try:
        if scenario is None:
            specs = read_providers(providers, faults, usual)
            houses = [_open_house(spec, specs, seed or 0, speed) for spec in specs]
        elif providers or faults or preset:
            raise click.UsageError("a scenario has its own providers and weather")
        else:
            houses = _stage(scenario, policy, port, seed, speed)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except PolicyError as error:
        say_refusal(error)
        raise SystemExit(2) from error
    control = ControlSpec(control_port, only_near=not control_from_anywhere)
    with TemporaryDirectory(prefix="trio-gateway-") as folder:
        is_secure = any(spec.has_tls for spec, _ in houses)
        certificates = _certificates(Path(folder), host) if is_secure else None
        try:
            trio.run(_run, houses, host, control, certificates)
        except OSError as error:
            click.echo(f"error: {error.strerror or error}", err=True)
            raise SystemExit(2) from error


@dataclass(frozen=True, slots=True)
class ControlSpec:
    """Where the control endpoint is, and for whom."""

    port: int | None  # None: on every provider's own
    only_near: bool

    def host(self, host: str) -> str:
        """Where it listens: on loopback, unless other machines may use it."""
        return "127.0.0.1" if self.only_near else host


Opened = tuple[ProviderSpec, SimulatedProvider]


def _open_house(
    spec: ProviderSpec, specs: Sequence[ProviderSpec], seed: int, speed: float
) -> Opened:
    prefix = f"{spec.name}  " if len(specs) > 1 else ""
    tell = partial(_tell, prefix)
    return spec, spec.provider(seed=seed, speed=speed, on_request=tell)


def _stage(
    file: Path, policy: Path | None, port: int, seed: int | None, speed: float
) -> list[Opened]:
    """Make the providers of a scenario, each on a port of its own.

    Raises:
        PolicyError: the scenario, or its policy, cannot be used.
        ValueError: there are not so many ports.
    """
    scenario = load_scenario(file)
    used = make_policy(read_policy_document(policy or scenario.policy))
    seed = scenario.seed if seed is None else seed
    actors = actors_of(setting_of(scenario, used, str(seed)), seed=seed)
    if port and port + len(actors) - 1 > PORT_MAX:
        raise ValueError(f"{len(actors)} providers have no ports from {port} on")
    houses: list[Opened] = []
    for place, (account, actor) in enumerate(actors):
        spec = ProviderSpec(
            name=account.name,
            port=port + place if port else 0,
            dialect=actor.dialect,
        )
        prefix = f"{spec.name}  " if len(actors) > 1 else ""
        tell = partial(_tell, prefix)
        houses.append((spec, actor.provider(speed=speed, on_request=tell)))
    return houses


def _certificates(folder: Path, host: str) -> ServerTls:
    return make_server_tls(folder, hosts=(host, "localhost", "127.0.0.1"))


async def _run(
    houses: Sequence[Opened],
    host: str,
    control: ControlSpec,
    certificates: ServerTls | None,
) -> None:
    """Serve all of them until a signal comes."""
    by_name = {spec.name: provider for spec, provider in houses}
    if control.port is None:
        for name, provider in by_name.items():
            provider.control = Control({name: provider}, only_near=control.only_near)
    async with AsyncExitStack() as sockets:
        # All of them first: a port that is in use is said before anything runs.
        doors = []
        for spec, provider in houses:
            tls = certificates if spec.has_tls else None
            listeners = await _listen(sockets, host, spec.port, tls)
            doors.append((spec, provider, listeners))
        hatch = await _hatch(sockets, host, control)
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                for spec, provider, listeners in doors:
                    url = _url(spec, host, port_of(listeners[0]))
                    await nursery.start(provider.serve, listeners)
                    prefix = f"{spec.name}  " if len(houses) > 1 else ""
                    click.echo(f"{prefix}listening on {url}")
                if certificates is not None:
                    click.echo(f"ca_file: {certificates.ca_pem}")
                if hatch:
                    everybody = Control(by_name, only_near=control.only_near)
                    await nursery.start(trio.serve_listeners, _served(everybody), hatch)
                    place = f"{_in_url(control.host(host))}:{port_of(hatch[0])}"
                    click.echo(f"control on http://{place}/control/")
                await anext(aiter(signals))
                nursery.cancel_scope.cancel()


async def _listen(
    sockets: AsyncExitStack, host: str, port: int, tls: ServerTls | None = None
) -> Sequence[SocketListener]:
    listeners = await open_sockets(host, port, tls=tls)
    for listener in listeners:
        sockets.push_async_callback(listener.aclose)
    return listeners


async def _hatch(
    sockets: AsyncExitStack, host: str, control: ControlSpec
) -> Sequence[SocketListener]:
    """Listen for control where it has a port of its own; else nowhere."""
    if control.port is None:
        return ()
    return await _listen(sockets, control.host(host), control.port)


def _served(control: Control) -> Callable[[trio.abc.Stream], Awaitable[object]]:
    async def serve(stream: trio.abc.Stream) -> None:
        await Connection(stream, control).run()

    return serve


def _url(spec: ProviderSpec, host: str, port: int) -> str:
    """Where a client finds it: Azure's clients add their own path."""
    scheme = "https" if spec.has_tls else "http"
    path = "" if spec.dialect is Dialect.AZURE else "/v1"
    return f"{scheme}://{_in_url(host)}:{port}{path}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _tell(prefix: str, seen: SeenRequest) -> None:
    ending = "" if seen.ending is None else seen.ending.value
    click.echo(f"{prefix}{seen.number}  {seen.path}  {seen.status or '-'}  {ending}")
