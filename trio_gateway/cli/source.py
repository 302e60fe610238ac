"""Where a serving process's policy comes from: its files, read now and again later."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from trio_gateway.cli.house import House, Options
from trio_gateway.cli.policy_log import PolicyLog
from trio_gateway.cli.reload import Governed, Reloader, Retain
from trio_gateway.cli.trust import authorities_in
from trio_gateway.cli.watch import Look, WatchedFiles
from trio_gateway.policy.files.problems import PolicyError
from trio_gateway.policy.judgement.divisible import undividable
from trio_gateway.policy.load import load
from trio_gateway.policy.route import Policy
from trio_gateway.web.gateway import PolicyNews


@dataclass(frozen=True, slots=True)
class PolicySource:
    """The files, how they looked before they were first read, and their reader."""

    files: WatchedFiles
    seen: Look
    load: Callable[[], Policy]

    @classmethod
    def begin(cls, options: Options, environ: Mapping[str, str]) -> "PolicySource":
        """Look at the files; they are not read yet."""
        files = WatchedFiles(options.policy, environ)
        files.scan()
        seen = files.look()  # before it is read, lest a change in between be missed
        return cls(files, seen, partial(_load, options, environ))

    def keeper(
        self,
        house: House,
        gateway: Governed,
        *,
        retain: Retain,
        on_loaded: Callable[[Policy, PolicyNews], None],
    ) -> Reloader:
        """Make what reads them again for a gateway, and says so in a house's log."""
        told = PolicyLog(house.write, is_text=house.options.is_text)

        def loaded(policy: Policy, news: PolicyNews) -> None:
            on_loaded(policy, news)
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


def _load(options: Options, environ: Mapping[str, str]) -> Policy:
    """Read a policy, which must suit the number of workers, too."""
    loaded = load(options.policy, environ=environ, authorities_in=authorities_in)
    if problems := undividable(loaded, options.workers):
        raise PolicyError(problems, loaded.sources)
    return loaded.policy
