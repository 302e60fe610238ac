"""What requests to an account begin with is written once, and forgotten in time."""

from trio_gateway.policy.route import Account, ProviderKind, Secret
from trio_gateway.relay.letterhead import Letterheads


def an_account(**options: object) -> Account:
    given: dict[str, object] = {
        "name": "a",
        "kind": ProviderKind.OPENAI,
        "base_url": "http://a.test/v1",
        "api_key": Secret("sk-1"),
        "failure_domain": "a",
        **options,
    }
    return Account(**given)  # type: ignore[arg-type] # as the caller has them


def test_an_account_has_one_for_streams_and_one_for_answers() -> None:
    letterheads, account = Letterheads(), an_account()
    answer = letterheads.of(account, is_stream=False)
    stream = letterheads.of(account, is_stream=True)
    assert dict(answer.fields)[b"accept"] == b"application/json"
    assert dict(stream.fields)[b"accept"] == b"text/event-stream"
    assert letterheads.of(account, is_stream=False) is answer
    assert letterheads.of(account, is_stream=True) is stream


def test_an_operators_fields_go_before_ours_and_the_credential_before_all() -> None:
    headers = (("User-Agent", "mine"), ("Authorization", "none"), ("X-Org", "caf\xe9"))
    letterhead = Letterheads().of(an_account(headers=headers), is_stream=False)
    assert dict(letterhead.fields) == {
        b"content-type": b"application/json",
        b"accept": b"application/json",
        b"user-agent": b"mine",
        b"x-org": b"caf\xe9",
        b"authorization": b"Bearer sk-1",
    }
    assert letterhead.names == dict(letterhead.fields).keys()


def test_an_equal_account_with_another_key_has_its_own() -> None:
    letterheads = Letterheads()
    for key in ("sk-1", "sk-2", "sk-1"):
        letterhead = letterheads.of(an_account(api_key=Secret(key)), is_stream=False)
        assert dict(letterhead.fields)[b"authorization"] == f"Bearer {key}".encode()


def test_all_can_be_forgotten_and_written_anew() -> None:
    letterheads, account = Letterheads(), an_account()
    before = letterheads.of(account, is_stream=False)
    letterheads.forget()
    after = letterheads.of(account, is_stream=False)
    assert after is not before
    assert after.fields == before.fields


def test_so_many_accounts_are_held_and_no_more() -> None:
    letterheads = Letterheads()
    for number in range(2_500):
        letterheads.of(an_account(name=str(number)), is_stream=False)
    assert len(letterheads) <= 1_000
