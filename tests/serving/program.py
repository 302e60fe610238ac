"""A whole serving process, to be signalled; prints its address, then its steps.

Usage: python -m tests.serving.program KIND DRAIN_S [FILES_MAX]
"""

import logging
import resource
import sys
from functools import partial
from typing import get_args

import trio

from tests.serving.toy import Toy
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.process import Drain, Site, run
from trio_gateway.serving.server import ServerKind


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def report_cpu() -> None:
    """Say once a second how much of it was spent computing."""
    while True:
        before = resource.getrusage(resource.RUSAGE_SELF)
        await trio.sleep(1)
        after = resource.getrusage(resource.RUSAGE_SELF)
        say("cpu", after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> int:
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    kind = get_args(ServerKind)[sys.argv[1] == "hypercorn"]
    limits = None
    if len(sys.argv) > 3:
        files_max = int(sys.argv[3])
        resource.setrlimit(resource.RLIMIT_NOFILE, (files_max // 2, files_max))
        limits = Limits(connections_max=10_000)
    drain = Drain(
        limit_s=float(sys.argv[2]),
        on_start=partial(say, "start"),
        on_deadline=partial(say, "deadline"),
    )
    return trio.run(
        partial(
            run,
            [Site(Toy(), ["127.0.0.1:0"], limits, server=kind)],
            drain=drain,
            background=[report_cpu] if limits else [],
            on_listening=lambda addresses: say(addresses[0][0]),
        )
    )


if __name__ == "__main__":
    sys.exit(main())
