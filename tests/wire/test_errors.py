import json

from trio_gateway.wire.answers import AnswerReader, Meaning
from trio_gateway.wire.errors import error_body, error_event
from trio_gateway.wire.sse import EventParser


def test_the_envelope_has_four_members_always() -> None:
    body = error_body(
        code="unauthorized", message="Unauthorized", type="authentication_error"
    )
    assert json.loads(body) == {
        "error": {
            "code": "unauthorized",
            "message": "Unauthorized",
            "type": "authentication_error",
            "param": None,
        }
    }


def test_details_are_there_where_there_are_any() -> None:
    for details in ({"model": "cannot be blank"}, {"attempts": ""}, dict[str, str]()):
        body = error_body(code=1, message="", type="t", param="p", details=details)
        assert json.loads(body)["error"] == {
            "code": 1,
            "message": "",
            "type": "t",
            "param": "p",
            "details": details,
        }


def test_any_text_fits_in_an_error() -> None:
    body = error_body(code=None, message='\ud800\u2028\n"', type="t")
    assert body.isascii()
    assert json.loads(body)["error"]["message"] == '\ud800\u2028\n"'


def test_the_event_is_one_that_clients_raise_on() -> None:
    (event,) = EventParser().feed(error_event(message="line\nend"))

    reader = AnswerReader(choices=1)
    assert reader.read(event.data or b"", event.name) is Meaning.ERROR
    assert reader.error == {
        "message": "line\nend",
        "type": "upstream_error",
        "code": "stream_interrupted",
        "param": None,
    }
