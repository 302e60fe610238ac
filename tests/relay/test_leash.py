"""A leash lets go of what is held, whenever it is cut."""

from trio_gateway.relay.leash import Leash


def test_cutting_lets_go_once() -> None:
    let_go: list[str] = []
    leash = Leash()
    leash.hold(lambda: let_go.append("x"))
    assert not leash.is_cut
    leash.cut()
    leash.cut()
    assert let_go == ["x"]
    assert leash.is_cut


def test_only_what_was_held_last_is_let_go() -> None:
    let_go: list[str] = []
    leash = Leash()
    leash.hold(lambda: let_go.append("dialling"))
    leash.hold(lambda: let_go.append("connection"))
    leash.cut()
    assert let_go == ["connection"]


def test_who_holds_on_after_the_cut_lets_go_at_once() -> None:
    let_go: list[str] = []
    leash = Leash()
    leash.cut()
    leash.hold(lambda: let_go.append("x"))
    assert let_go == ["x"]


def test_what_was_freed_is_left_alone() -> None:
    let_go: list[str] = []
    leash = Leash()
    leash.hold(lambda: let_go.append("another's by now"))
    leash.free()
    leash.cut()
    assert let_go == []
