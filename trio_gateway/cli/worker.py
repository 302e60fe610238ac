"""A worker's process: `python -m trio_gateway.cli.worker ARGUMENTS`.

The arguments are what the supervisor leaves open. Nobody else starts it.
"""

import sys
from functools import partial
from typing import Final

import trio

from trio_gateway.cli.house import House, drain_of, lag_noted_by
from trio_gateway.cli.orders import Act, Adopt, Renew, Serve
from trio_gateway.failover.view import targets_of
from trio_gateway.policy.share import divided
from trio_gateway.relay.lag import watch_lag
from trio_gateway.serving.awake import run_awake
from trio_gateway.serving.collector import spare_the_collector
from trio_gateway.serving.process import Drain, Site, run
from trio_gateway.serving.tls import Tls
from trio_gateway.serving.workers.line import Line
from trio_gateway.serving.workers.worker import (
    SIGNALS,
    Boss,
    Inherited,
    OrphanError,
    WorkerShutdown,
    begin,
    fail,
)
from trio_gateway.upstream.pool import PooledUpstream
from trio_gateway.web.app import create_admin_app, create_app
from trio_gateway.web.gateway import Gateway
from trio_gateway.web.targets import Action, act_on

# The supervisor waits for nobody.
_FAREWELL_S: Final = 1.0


async def main(inherited: Inherited) -> int:
    """Be a worker until told to end; return the exit code."""
    try:
        line, order = await begin(inherited.line_fd)
    except OrphanError:
        return 1
    try:
        assert isinstance(order, Serve), order
        house = House(order.policy, order.options, share=order.share)
        try:
            return await _serve(line, order, house, inherited)
        finally:
            house.close()
    except Exception as error:
        await fail(line, f"{type(error).__name__}: {error}")
        raise


async def _serve(line: Line, order: Serve, house: House, inherited: Inherited) -> int:
    shutdown = WorkerShutdown()
    async with PooledUpstream() as upstream:
        gateway = house.gateway(upstream, order.policy, order.news)
        for target_id, action in order.deeds.items():
            _act(gateway, target_id, action)
        drain = drain_of(gateway, order.options)
        boss = Boss(line, shutdown, drain)
        tls = None if order.certificate is None else house.tls(order.certificate)
        obey = partial(_obey, gateway, upstream, house, drain, tls)
        site = Site(
            create_app(gateway),
            inherited.listeners(),
            server=order.options.server,
            turn=inherited.turn(),
            tls=tls,
        )
        code = await run(
            [site],
            background=[
                partial(watch_lag, lag_noted_by(gateway)),
                partial(boss.obey, obey, create_admin_app(gateway)),
            ],
            drain=drain,
            on_listening=lambda _: _begun(boss),
            shutdown=shutdown,
            signals=SIGNALS,
        )
        with trio.move_on_after(_FAREWELL_S):
            view = await gateway.view(with_speeds=False)
            await boss.farewell(house.metrics.render(view))
    return code


async def _obey(
    gateway: Gateway,
    upstream: PooledUpstream,
    house: House,
    drain: Drain,
    tls: Tls | None,
    order: object,
) -> None:
    match order:
        case Adopt(policy, news):
            # In a thread, for requests go on: of many models it takes a while.
            ours = await trio.to_thread.run_sync(divided, policy, house.share)
            gateway.adopt(ours)
            gateway.news = news
            drain.limit_s = policy.gateway.drain_s
            await upstream.retain(policy.accounts.values())
        case Act(target_id, action):
            _act(gateway, target_id, action)
        case Renew(certificate) if tls is not None:
            tls.renew(certificate)
        case _:
            raise TypeError(f"{order!r} is no order")


def _begun(boss: Boss) -> None:
    spare_the_collector()
    boss.listening.set()


def _act(gateway: Gateway, target_id: str, action: Action) -> None:
    target = targets_of(gateway.policy.routes.values()).get(target_id)
    if target is not None:  # else it was in the policy a moment ago
        act_on(gateway, target, action)


if __name__ == "__main__":
    sys.exit(run_awake(main, Inherited.of(sys.argv[1:])))
