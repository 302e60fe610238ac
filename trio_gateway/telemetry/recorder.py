"""Where an exchange goes when it has ended: to the metrics, the log and who else asks.

The relay knows only a function that takes a record; this is the one it is given.
"""

from collections.abc import Callable
from dataclasses import dataclass

from trio_gateway.relay.record import ExchangeRecord
from trio_gateway.telemetry.log import exchange_line
from trio_gateway.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Recorder:
    """Tells everyone who is concerned of an exchange that has ended.

    `write` takes a line and must not block: `LineWriter.write`. `form` makes the line:
    `exchange_line` for programs, `exchange_text` for a person. Observers are called
    last, one after another; they do not block and do not raise.
    """

    metrics: Metrics
    write: Callable[[str], None]
    form: Callable[[ExchangeRecord], str] = exchange_line
    observers: tuple[Callable[[ExchangeRecord], None], ...] = ()

    def record(self, record: ExchangeRecord) -> None:
        """Take one ended exchange; returns at once."""
        self.metrics.observe(record)
        self.write(self.form(record))
        for observe in self.observers:
            observe(record)
