"""A chat completion at the door: its names and times, before any target is tried."""

from typing import NamedTuple

import trio

from trio_gateway.policy.route import AccessKey
from trio_gateway.relay.admission import Admission
from trio_gateway.relay.record import ExchangeRecord, Outcome, Shed
from trio_gateway.web.answers import shortened
from trio_gateway.web.gateway import Gateway
from trio_gateway.wire.chat import ChatRequest
from trio_gateway.wire.headers import (
    Fields,
    client_patience_s,
    is_client_retry,
    sane_request_id,
    to_upstream,
    upstream_request_id,
)


class Visit(NamedTuple):
    """Who came, when, and under which names."""

    id: str  # our UUID of the exchange
    request_id: str  # what `x-request-id` answers
    admitted_at: float  # wall time
    started_at: float  # Trio's clock
    fields: Fields  # the client's

    @classmethod
    def begin(cls, gateway: Gateway, fields: Fields) -> "Visit":
        """Name a request that has just come."""
        own_id = gateway.new_id()
        return cls(
            id=own_id,
            request_id=sane_request_id(fields.first(b"x-request-id")) or own_id,
            admitted_at=gateway.relay.wall_clock(),
            started_at=trio.current_time(),
            fields=fields,
        )

    def admission(self, key: AccessKey) -> Admission:
        """What the relay needs to know of it, and the fields that upstreams may see."""
        fields = self.fields
        uuid = upstream_request_id(fields.first(b"x-request-id"), self.id)
        return Admission(
            id=self.id,
            request_id=self.request_id,
            admitted_at=self.admitted_at,
            started_at=self.started_at,
            key=key.name,
            org=key.org,
            project=key.project,
            forwarded=to_upstream(fields, request_uuid=uuid),
            is_client_retry=is_client_retry(fields),
            client_patience_s=client_patience_s(fields),
        )

    def turned_away(
        self,
        *,
        status: int | None,
        detail: str | None,
        key: AccessKey | None,
        request: ChatRequest | None,
        shed: Shed | None,
        now: float,
    ) -> ExchangeRecord:
        """Return the record of a request for which no exchange began.

        Args:
            status: what the client was answered; None where it left before.
            detail: why, in one of our own phrases.
            key: its access key, as far as it is known.
            request: what it asked for, as far as it is known.
            shed: why it was turned away, if it was for our own sake.
            now: Trio's clock.
        """
        return ExchangeRecord(
            id=self.id,
            request_id=self.request_id,
            key=key.name if key else None,
            org=key.org if key else None,
            project=key.project if key else None,
            model=shortened(request.model) if request else "",
            is_stream=request.is_stream if request else False,
            admitted_at=self.admitted_at,
            duration_s=now - self.started_at,
            first_token_s=None,
            outcome=Outcome.CANCELLED if status is None else Outcome.REFUSED,
            status=status,
            target=None,
            attempts=(),
            detail=detail,
            shed=shed,
        )
