"""The command line: it composes the floors, and is the only one that knows them all.

Exit codes: 0 good; 1 the answer is no; 2 wrong usage, or a file that cannot be used.

    each command    a module of its name (`explain`, `init`, `keys`, `schema` and those
                    below), imported by `lazy` when it is asked for; `import_`, since
                    `import` is Python's; `output`: files that it will write;
                    `numbers`: those that are finite
    serve           `alone`, one process that is all of the gateway; or `crew`, the
                    supervisor's, with a `worker` each, told by `orders`
        house       everything a serving process is made of, put together
        source      the policy's files, read by `reload` when the `vigil` says so, for
                    a `watch` saw them change; `policy_log` says what came of it
        certificate the clients' TLS, renewed in the same way; `trust`: is it any good?
        operators   their listener; `logs`, `announce`: what is said, and where
        demo        two simulated providers beside it
    check           `judgement` of a valid policy; `refusal` of one that is none; both
                    as `annotations` for other tools
    simulate        `simulate_wire`, where it is asked for the depth of bytes
    upstream        `upstream_specs`, the providers that it is asked for
    bench           `bench_departures`, `bench_engine`; `profiled` runs any command
"""

from typing import ClassVar

import click

from trio_gateway.cli.lazy import LazyGroup


class _Commands(LazyGroup):
    below: ClassVar = {
        "bench": "bench",
        "check": "check",
        "explain": "explain",
        "import": "import_",
        "init": "init",
        "keys": "keys",
        "schema": "schema",
        "serve": "serve",
        "simulate": "simulate",
        "upstream": "upstream",
    }


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trio-gateway")
def main() -> None:
    """An OpenAI-compatible gateway that keeps answering while providers fail.

    \b
    Examples:
      trio-gateway serve --demo --policy policies/demo.yaml
      trio-gateway check my.yaml
      trio-gateway explain my.yaml chat --given openai=open
      trio-gateway COMMAND --help

    \b
    Commands complete themselves in bash with this line in ~/.bashrc; in zsh and fish
    with zsh_source and fish_source in place of bash_source:
      eval "$(_TRIO_GATEWAY_COMPLETE=bash_source trio-gateway)"
    """  # noqa: D301 - click's mark of lines to be kept is the character itself
