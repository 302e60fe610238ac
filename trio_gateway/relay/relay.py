"""What all exchanges of one process share."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from trio_gateway.failover.engine import Engine
from trio_gateway.failover.events import Called, Event
from trio_gateway.failover.fleet import Fleet
from trio_gateway.relay.alarms import Alarms
from trio_gateway.relay.curfew import Curfew
from trio_gateway.relay.letterhead import Letterheads
from trio_gateway.relay.port import Upstream, WallClock
from trio_gateway.relay.record import ExchangeRecord


@dataclass(slots=True)
class Relay:
    """The network, the fleet's health, and where records and news go.

    Args:
        upstream: the network.
        fleet: the health of all targets.
        recorder: told of each exchange, once, when it is over. Must not block.
        wall_clock: seconds since 1970, for absolute dates.
        seed: makes the dice of a simulation repeatable.
        curfew: when every exchange must end.
        engine: what decides; tests give one that is watched.
        alarms: when exchanges want to be woken.
        letterheads: what requests to each account begin with.
        open_exchanges: where each that has not settled is told news.
    """

    upstream: Upstream
    fleet: Fleet
    recorder: Callable[[ExchangeRecord], None]
    wall_clock: WallClock
    seed: str = ""
    curfew: Curfew = field(default_factory=Curfew)
    engine: type[Engine] = Engine
    alarms: Alarms = field(default_factory=Alarms)
    letterheads: Letterheads = field(default_factory=Letterheads)
    open_exchanges: dict[Hashable, Callable[[Event], None]] = field(
        default_factory=dict
    )
    _are_calls_delivered: bool = False

    def deliver_calls(self) -> None:
        """Pass the fleet's calls on to the exchanges that wait for them."""
        calls = self.fleet.calls
        if not calls or self._are_calls_delivered:
            return  # by whoever this exchange owes its own call to
        self._are_calls_delivered = True
        try:
            while calls:
                tell = self.open_exchanges.get(calls.popleft())
                if tell is not None:
                    tell(Called())
        finally:
            self._are_calls_delivered = False
