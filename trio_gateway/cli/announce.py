"""What `serve` says once it serves: where, and in a demo how to try it."""

import os
import time

from trio_gateway.cli.demo import explain
from trio_gateway.cli.house import House
from trio_gateway.policy.route import Policy
from trio_gateway.serving.process import Addresses
from trio_gateway.telemetry.log import TEXT_CHARS_MAX, Level, event_line


def announce(house: House, addresses: Addresses, policy: Policy) -> None:
    """Write the log's first lines; the addresses are the clients', then operators'."""
    options = house.options
    clients = f"{'http' if options.tls is None else 'https'}://{addresses[0][0]}"
    admin = f"http://{addresses[1][0]}" if len(addresses) > 1 else None
    if not options.is_text:
        many = {"workers": options.workers} if options.workers > 1 else {}
        line = event_line(
            "listening",
            at=time.time(),
            level=Level.INFO,
            text_chars_max=TEXT_CHARS_MAX,
            clients=clients,
            admin=admin,
            hash=policy.revision,
            pid=os.getpid(),
            **many,
        )
        house.write(line)
        return
    parts = [f"listening on {clients}"]
    parts += [f"admin on {admin}"] if admin else []
    parts += [f"{options.workers} workers"] if options.workers > 1 else []
    lines = [", ".join(parts)]
    if options.is_demo:
        lines += explain(clients, policy, wall_now=time.time())
    for line in lines:
        house.write(line)
