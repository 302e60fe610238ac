"""One process that is all of the gateway: `serve` without `--workers`."""

import time
from dataclasses import dataclass
from functools import partial

from trio_gateway.cli.announce import announce
from trio_gateway.cli.certificate import CertificateKeeper, CertificateSource
from trio_gateway.cli.house import House, drain_of, lag_noted_by
from trio_gateway.cli.operators import ADMIN_LIMITS, host_of
from trio_gateway.cli.source import PolicySource
from trio_gateway.cli.vigil import Keeper, hang_up
from trio_gateway.policy.route import Policy
from trio_gateway.relay.lag import watch_lag
from trio_gateway.serving.collector import spare_the_collector
from trio_gateway.serving.process import Addresses, Site, run
from trio_gateway.serving.tls import Tls
from trio_gateway.upstream.pool import PooledUpstream
from trio_gateway.web.app import create_admin_app, create_app
from trio_gateway.web.gateway import Gateway, PolicyNews


@dataclass(frozen=True, slots=True)
class Alone:
    """It serves clients and operators, and watches the policy's files."""

    house: House
    source: PolicySource
    policy: Policy  # the first
    tls: CertificateSource | None = None

    async def serve(self) -> int:
        """Serve until told to end; return the exit code."""
        options = self.house.options
        async with PooledUpstream() as upstream:
            news = PolicyNews(str(options.policy), loaded_at=time.time())
            gateway = self.house.gateway(upstream, self.policy, news)
            drain = drain_of(gateway, options)

            def loaded(policy: Policy, _: PolicyNews) -> None:
                drain.limit_s = policy.gateway.drain_s

            reloader = self.source.keeper(
                self.house, gateway, retain=upstream.retain, on_loaded=loaded
            )
            tls = None if self.tls is None else self.house.tls(self.tls.certificate)
            keepers: list[Keeper] = [reloader, *self._certificate_keepers(tls)]
            return await run(
                self._sites(gateway, tls),
                background=[
                    partial(watch_lag, lag_noted_by(gateway)),
                    *(keeper.run for keeper in keepers),
                ],
                drain=drain,
                on_listening=self._announce,
                on_hangup=partial(hang_up, keepers),
            )

    def _certificate_keepers(self, tls: Tls | None) -> list[CertificateKeeper]:
        if self.tls is None or tls is None:
            return []
        is_text = self.house.options.is_text
        write = self.house.write
        return [CertificateKeeper(self.tls, tls.renew, write, is_text=is_text)]

    def _sites(self, gateway: Gateway, tls: Tls | None) -> list[Site]:
        options = self.house.options
        app = create_app(gateway)
        sites = [Site(app, [options.bind], server=options.server, tls=tls)]
        if options.admin is not None:
            host = host_of(options.admin)
            app = create_admin_app(gateway, bind_host=host, key=options.admin_key)
            sites.append(Site(app, [options.admin], ADMIN_LIMITS, options.server))
        return sites

    def _announce(self, addresses: Addresses) -> None:
        announce(self.house, addresses, self.policy)
        spare_the_collector()
