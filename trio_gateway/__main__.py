"""`python -m trio_gateway` is the command `trio-gateway`."""

from trio_gateway.cli import main

main()
