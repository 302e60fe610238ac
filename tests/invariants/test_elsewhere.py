"""Invariants whose proof is in another place: bytes and sockets, not decisions."""

import ast

import pytest

from tests.invariants.table import README, Ledger

PROOFS = (
    (
        1,
        "first tokens in the same instant: one winner, the other closed",
        "50 schedules of each race",
        "chaos/test_dead_heats.py::test_a_dead_heat_has_one_winner",
    ),
    (
        2,
        "nothing of an attempt reaches the client before its commit point",
        "every way of failing before it",
        "relay/test_opening.py::test_before_the_commit_point_a_stream_fails_over",
    ),
    (
        2,
        "what was held passes as it came",
        "byte for byte",
        "relay/test_opening.py::test_the_opening_is_held_and_then_passes_as_it_came",
    ),
    (
        3,
        "a truncated stream never looks whole",
        "cut at every byte",
        "relay/test_pump.py::test_a_stream_cut_at_any_byte_never_passes_as_whole",
    ),
    (
        3,
        "an event that is passed on unparsed means what parsing would say",
        "any edit of any event",
        "wire/test_mould.py::test_a_reader_that_has_a_mould_says_what_one_without_says",
    ),
    (
        3,
        "what comes in the instant of a limit passes whole, or shows a break",
        "30 schedules of each race",
        (
            "relay/test_patience.py::"
            "test_what_comes_in_the_last_instant_passes_whole_or_shows_a_break"
        ),
    ),
    (
        3,
        "a truncated stream ends uncleanly, on a real socket",
        "every ending",
        "sockets/test_gateway_streams.py::test_a_stream_cut_upstream_ends_visibly_broken",
    ),
    (
        4,
        "a complete stream arrives complete, however it was sliced",
        "every slicing",
        "relay/test_pump.py::test_however_a_stream_is_sliced_it_passes_byte_for_byte",
    ),
    (
        16,
        "a departure frees what was done for it, at every checkpoint",
        "every checkpoint",
        "relay/test_departures.py::test_cancelled_at_any_checkpoint_nothing_is_left",
    ),
    (
        16,
        "a departure reaches the provider, at any moment, through the whole app",
        "the network's own time",
        "test_whole_app.py::test_a_departure_at_any_moment_reaches_whoever_is_at_work",
    ),
    (
        16,
        "what fails in the instant of a departure is followed by nothing",
        "50 schedules",
        (
            "chaos/test_dead_heats.py::"
            "test_one_that_fails_beside_another_as_the_client_leaves_has_no_successor"
        ),
    ),
    (
        17,
        "the loser of an overlap is closed at the commit",
        "the same instant",
        "relay/test_overlap.py::test_the_late_one_may_win_and_the_other_is_closed",
    ),
    (
        18,
        "three hundred clients that leave at any moment leave nothing",
        "300 clients",
        "sockets/test_gateway_departures.py::test_three_hundred_clients_leave_nothing_behind",
    ),
    (
        19,
        "a client that stops reading is left, and disturbs nobody",
        "one stalled beside others",
        (
            "sockets/test_gateway_streams.py::"
            "test_a_client_that_stops_reading_is_left_and_disturbs_nobody"
        ),
    ),
)


@pytest.mark.parametrize(("number", "what", "bound", "proof"), PROOFS)
def test_elsewhere_is_a_place(
    number: int, what: str, bound: str, proof: str, ledger: Ledger
) -> None:
    file, _, name = proof.partition("::")
    tree = ast.parse((README.parent / file).read_text())
    tests = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    ledger(
        number,
        what,
        bound=bound,
        measured="by the test" if name in tests else "no such test",
        holds=name in tests,
        proof=proof,
    )
