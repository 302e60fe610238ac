"""The command line's commands, gathered."""

import click

from trio_gateway.cli.bench import bench
from trio_gateway.cli.bench_departures import bench_departures
from trio_gateway.cli.bench_engine import bench_engine
from trio_gateway.cli.check import check
from trio_gateway.cli.explain import explain
from trio_gateway.cli.import_ import import_
from trio_gateway.cli.init import init
from trio_gateway.cli.keys import keys
from trio_gateway.cli.schema import schema
from trio_gateway.cli.serve import serve
from trio_gateway.cli.simulate import simulate
from trio_gateway.cli.upstream import upstream


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
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


main.add_command(serve)
main.add_command(check)
main.add_command(init)
main.add_command(import_)
main.add_command(schema)
main.add_command(simulate)
main.add_command(explain)
main.add_command(upstream)
main.add_command(keys)
main.add_command(bench)
bench.add_command(bench_departures)
bench.add_command(bench_engine)
