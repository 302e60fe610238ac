"""Counters, gauges and histograms for Prometheus, read from records and from the fleet.

No label holds what a client may choose freely: a slug that the policy does not know is
counted as "unknown".
"""

from collections.abc import Callable, Container, Iterator
from typing import Final

from trio_gateway.failover.commands import Reason
from trio_gateway.failover.view import FleetView
from trio_gateway.policy.route import Policy
from trio_gateway.relay.record import AttemptRecord, ExchangeRecord, Outcome
from trio_gateway.telemetry.exposition import Families, show_number, text_of
from trio_gateway.telemetry.families import Counts, Spreads
from trio_gateway.telemetry.fleet import fleet_parts
from trio_gateway.telemetry.names import UNKNOWN_MODEL, Names

# A small model's first token takes some 100 ms, a reasoning model's may take a minute;
# the steps keep quantiles within a factor of two.
FIRST_TOKEN_BUCKETS_S: Final = (
    *(0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 1.0),
    *(1.5, 2.5, 4.0, 6.0, 10.0, 15.0, 25.0, 40.0, 60.0),
)

# A loop that keeps up is late by a millisecond; from 100 ms on requests are shed.
LAG_BUCKETS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

# Whole answers: from an error in milliseconds to the total deadline of ten minutes.
EXCHANGE_BUCKETS_S: Final = (
    *(0.01, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
    *(15.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)


class Metrics:
    """What the gateway counts. All methods are for one thread.

    `slugs` are the models to be counted by name: `policy.routes`, until `adopt` takes
    another policy's.
    """

    def __init__(
        self,
        *,
        slugs: Container[str],
        lines_dropped: Callable[[], int] = lambda: 0,
        halted_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.slugs = slugs
        self._lines_dropped = lines_dropped
        self._halted_s = halted_s
        self._shed_share = 0.0
        self._is_refused = False
        self._inside = 0
        self._streams = 0

        self._exchanges = Counts(
            "trio_gateway_exchanges",
            "Exchanges that ended, by the status that the client got.",
            ["model", "outcome", "status"],
        )
        self._org_exchanges = Counts(
            "trio_gateway_org_exchanges",
            "Exchanges that ended, by whose access key it was.",
            ["org", "project", "outcome"],
        )
        self._attempts = Counts(
            "trio_gateway_attempts",
            "Upstream requests that ended; class is ok or the failure's.",
            ["target", "reason", "class"],
        )
        self._cancellations = Counts(
            "trio_gateway_cancellations",
            "Exchanges whose client left, before or after the commit point.",
            ["phase"],
        )
        self._first_token = Spreads(
            "trio_gateway_first_token_seconds",
            "Streams: from admission to the first token, all attempts together.",
            ["model"],
            FIRST_TOKEN_BUCKETS_S,
        )
        self._target_first_token = Spreads(
            "trio_gateway_target_first_token_seconds",
            "Streams: from the winning attempt's start to its first token.",
            ["target"],
            FIRST_TOKEN_BUCKETS_S,
        )
        self._durations = Spreads(
            "trio_gateway_exchange_seconds",
            "From admission to the end of the answer.",
            ["model", "stream"],
            EXCHANGE_BUCKETS_S,
        )
        self._extras = Counts(
            "trio_gateway_extra_attempts",
            "Attempts beside another one, by whether theirs became the answer.",
            ["reason", "result"],
        )
        self._shed = Counts(
            "trio_gateway_shed",
            "Requests turned away because there was too much at once.",
            ["reason"],
        )
        self._lag = Spreads(
            "trio_gateway_loop_lag_seconds",
            "How late the event loop woke up a task that slept.",
            [],
            LAG_BUCKETS_S,
        )
        self._handshakes = Counts(
            "trio_gateway_tls_handshakes_failed",
            "Clients that could not agree with us on TLS, by why.",
            ["reason"],
        )
        self._reloads = Counts(
            "trio_gateway_policy_reloads",
            "Times that the policy's files were read again, by what came of it.",
            ["outcome"],
        )

        self._counted: tuple[Counts | Spreads, ...] = (
            self._exchanges,
            self._org_exchanges,
            self._attempts,
            self._cancellations,
            self._first_token,
            self._target_first_token,
            self._durations,
            self._extras,
            self._shed,
            self._lag,
            self._handshakes,
            self._reloads,
        )

    def adopt(self, policy: Policy) -> None:
        """Count by another policy's names, and forget what it has none of.

        Else what was counted for models that come and go would be shown, and held, for
        as long as the process lives.
        """
        self.slugs = policy.routes
        names = Names.of(policy)
        for by_model in (self._exchanges, self._first_token, self._durations):
            by_model.keep(lambda labels: labels[0] in names.models)
        for by_target in (self._attempts, self._target_first_token):
            by_target.keep(lambda labels: labels[0] in names.targets)
        self._org_exchanges.keep(lambda labels: labels[:2] in names.owners)

    def exchange_admitted(self) -> None:
        """Count an exchange as going on, until `exchange_ended`."""
        self._inside += 1

    def exchange_ended(self) -> None:
        """Take back one `exchange_admitted`."""
        self._inside -= 1

    def stream_opened(self) -> None:
        """Count a stream as being relayed, until `stream_closed`."""
        self._streams += 1

    def stream_closed(self) -> None:
        """Take back one `stream_opened`."""
        self._streams -= 1

    def policy_files_read(self, outcome: str, *, are_refused: bool) -> None:
        """Count a reload: "loaded", "unchanged" or "refused"."""
        self._reloads.count(outcome)
        self._is_refused = are_refused

    def handshake_failed(self, reason: str) -> None:
        """Count a client that could not agree with us on TLS."""
        self._handshakes.count(reason)

    def loop_was_late(self, lag_s: float, *, shed_share: float) -> None:
        """Count one look at the event loop, and what follows from it."""
        self._lag.observe(lag_s)
        self._shed_share = shed_share

    def observe(self, record: ExchangeRecord) -> None:
        """Count an exchange that has ended, and its attempts."""
        model = record.model if record.model in self.slugs else UNKNOWN_MODEL
        status = "none" if record.status is None else str(record.status)
        self._exchanges.count(model, record.outcome, status)
        org, project = record.org or "", record.project or ""
        self._org_exchanges.count(org, project, record.outcome)
        stream = "true" if record.is_stream else "false"
        self._durations.observe(record.duration_s, model, stream)
        if record.is_stream and record.first_token_s is not None:
            self._first_token.observe(record.first_token_s, model)
        if record.shed is not None:
            self._shed.count(record.shed)
        for attempt in record.attempts:
            self._observe_attempt(attempt, is_stream=record.is_stream)
        if record.outcome is Outcome.CANCELLED:
            is_committed = any(a.opened_s is not None for a in record.attempts)
            phase = "after_commit" if is_committed else "before_commit"
            self._cancellations.count(phase)

    def parts(self, fleet: FleetView | None = None) -> Iterator[Families]:
        """Everything counted so far, and how the fleet is: a part after the other.

        Of a thousand models that is 60,000 lines, or a tenth of a second, in which
        others should run.
        """
        for counted in self._counted:
            part: Families = {}
            counted.show(part)
            yield part
        part = {}
        self._show_numbers(part)
        yield part
        yield from fleet_parts(fleet or FleetView(targets=(), routes=()))

    def families(self, fleet: FleetView | None = None) -> Families:
        """All parts at once."""
        families: Families = {}
        for part in self.parts(fleet):
            families |= part
        return families

    def render(self, fleet: FleetView | None = None) -> bytes:
        """The same as text."""
        return text_of(self.families(fleet)).encode()

    def _show_numbers(self, families: Families) -> None:
        show_number(
            families,
            "gauge",
            "trio_gateway_in_flight",
            "Exchanges going on.",
            self._inside,
        )
        show_number(
            families,
            "gauge",
            "trio_gateway_open_streams",
            "Streamed answers being relayed, after their commit point.",
            self._streams,
        )
        show_number(
            families,
            "gauge",
            "trio_gateway_shed_share",
            "How much of the load is turned away because the event loop is late.",
            self._shed_share,
        )
        show_number(
            families,
            "gauge",
            "trio_gateway_policy_refused",
            "1 while the policy's files, as they are now, are refused.",
            self._is_refused,
        )
        show_number(
            families,
            "counter",
            "trio_gateway_log_lines_dropped_total",
            "Log lines that were dropped because nobody read them.",
            self._lines_dropped(),
        )
        show_number(
            families,
            "counter",
            "trio_gateway_halted_seconds_total",
            "How long the process stood still, which counts against nobody.",
            self._halted_s(),
        )

    def _observe_attempt(self, attempt: AttemptRecord, *, is_stream: bool) -> None:
        outcome = attempt.failure or "ok"
        self._attempts.count(attempt.target, attempt.reason, outcome)
        if attempt.reason in _BESIDE:
            result = "lost" if attempt.opened_s is None else "won"
            self._extras.count(attempt.reason, result)
        if is_stream and attempt.opened_s is not None:
            took_s = attempt.opened_s - attempt.started_s
            self._target_first_token.observe(took_s, attempt.target)


_BESIDE: Final = (Reason.OVERLAP, Reason.HEDGE)
