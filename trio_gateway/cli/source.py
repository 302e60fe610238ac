"""Where a serving process's policy comes from: its files, and how they are read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from trio_gateway.cli.house import Options
from trio_gateway.cli.trust import why_not_trusted
from trio_gateway.cli.watch import Look, WatchedFiles
from trio_gateway.policy.divisible import undividable
from trio_gateway.policy.load import load
from trio_gateway.policy.problems import PolicyError
from trio_gateway.policy.route import Policy


@dataclass(frozen=True, slots=True)
class PolicySource:
    """The files, how they looked before they were first read, and their reader."""

    files: WatchedFiles
    seen: Look
    load: Callable[[], Policy]

    @classmethod
    def begin(cls, options: Options, environ: Mapping[str, str]) -> "PolicySource":
        """Look at the files; they are not read yet."""
        files = WatchedFiles(options.policy)
        files.scan()
        seen = files.look()  # before it is read, lest a change in between be missed
        return cls(files, seen, partial(_load, options, environ))


def _load(options: Options, environ: Mapping[str, str]) -> Policy:
    """Read a policy, which must suit the number of workers, too."""
    loaded = load(options.policy, environ=environ, why_not_trusted=why_not_trusted)
    if problems := undividable(loaded, options.workers):
        raise PolicyError(problems, loaded.sources)
    return loaded.policy
