"""What is where, for which methods, and what else is said to HEAD and OPTIONS."""

import pytest

from tests.web.house import BEARER, FIRST_ID, JSON, Visitor, a_house

CHAT = "/v1/chat/completions"


async def test_a_wrong_path_names_the_right_ones() -> None:
    """In the message, too: it is all that most libraries show of an error."""
    house = a_house()

    visitor = await house.get("/v1/completions", fields=())

    assert visitor.status == 404
    assert visitor.json == {
        "error": {
            "code": "not_found",
            "message": "Not found. There are: /livez, /readyz, /v1/chat/completions,"
            " /v1/models, /v1/models/{slug}, /v1/router/models,"
            " /v1/router/models/{model_id}/providers",
            "type": "not_found_error",
            "param": None,
            "details": {
                "allowed": [
                    "/livez",
                    "/readyz",
                    "/v1/chat/completions",
                    "/v1/models",
                    "/v1/models/{slug}",
                    "/v1/router/models",
                    "/v1/router/models/{model_id}/providers",
                ]
            },
        }
    }
    assert visitor.field("x-request-id") == FIRST_ID
    assert visitor.field("x-gateway-target") == "none"
    assert visitor.field("x-gateway-attempts") == "0"
    assert house.records == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_wrong_method_names_the_right_ones(method: str) -> None:
    house = a_house()

    visitor = await house.get(CHAT, method=method, fields=())

    assert visitor.status == 405
    assert visitor.field("allow") == "OPTIONS, POST"
    assert visitor.json == {
        "error": {
            "code": "method_not_allowed",
            "message": "Method not allowed",
            "type": "invalid_request_error",
            "param": None,
            "details": {"allowed": ["OPTIONS", "POST"]},
        }
    }
    assert visitor.field("x-request-id") == FIRST_ID


async def test_head_of_the_chat_is_not_allowed_and_has_no_body() -> None:
    house = a_house()

    visitor = await house.get(CHAT, method="HEAD", fields=())

    assert visitor.status == 405
    assert visitor.field("allow") == "OPTIONS, POST"
    assert visitor.received == b""
    assert visitor.is_finished


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        (CHAT, {"OPTIONS", "POST"}),
        ("/v1/models", {"GET", "HEAD", "OPTIONS"}),
        ("/v1/models/a/b", {"GET", "HEAD", "OPTIONS"}),
        ("/livez", {"GET", "HEAD", "OPTIONS"}),
    ],
)
async def test_options_say_what_is_allowed(path: str, allow: set[str]) -> None:
    house = a_house()

    visitor = await house.get(path, method="OPTIONS", fields=())

    assert visitor.status == 200
    assert set((visitor.field("allow") or "").split(", ")) == allow
    assert visitor.received == b""
    assert visitor.field("x-request-id") == FIRST_ID


@pytest.mark.parametrize("path", ["/v1/models", "/v1/router/models", "/livez"])
async def test_head_has_the_fields_of_get_and_no_body(path: str) -> None:
    house = a_house()

    got = await house.get(path)
    visitor = await house.get(path, method="HEAD")

    assert visitor.status == 200
    assert visitor.received == b""
    assert visitor.is_finished
    assert visitor.field("content-length") == str(len(got.received))


async def test_health_needs_no_key_and_readiness_ends_with_the_drain() -> None:
    house = a_house()

    assert (await house.get("/livez", fields=())).json == {"status": "alive"}
    assert (await house.get("/readyz", fields=())).json == {"status": "ready"}

    house.gateway.is_ready = False

    assert (await house.get("/livez", fields=())).status == 200
    visitor = await house.get("/readyz", fields=())
    assert visitor.status == 503
    assert visitor.json == {
        "error": {
            "code": "unavailable",
            "message": "Draining",
            "type": "api_error",
            "param": None,
        }
    }


@pytest.mark.parametrize("path", ["*", "http://[", "//", "", "/%", "/v1/\0", "x:"])
async def test_a_target_that_is_no_path_is_not_found(path: str) -> None:
    house = a_house()

    for method in ("GET", "POST", "OPTIONS"):
        visitor = await house.get(path, method=method, fields=(BEARER, JSON))
        assert visitor.status == 404, method


async def test_a_path_never_redirects() -> None:
    house = a_house()

    for path in ("/v1/models/", "/livez/", "//v1/models"):
        assert (await house.get(path)).status == 200
    assert (await house.get("/v1//models")).status == 404


@pytest.mark.parametrize("host", ["", "a b", "[::1", "x" * 5000, "a:b:c"])
async def test_a_strange_host_is_no_concern_of_the_clients_door(host: str) -> None:
    house = a_house()

    visitor = await house.get("/v1/models", fields=(BEARER, ("host", host)))

    assert visitor.status == 200


async def test_a_body_that_a_view_does_not_want_changes_nothing() -> None:
    house = a_house()
    body = [b"x" * 1024] * 1024

    visitor = await Visitor(house.app, "GET", "/v1/models", (BEARER,), body).visit()

    assert visitor.status == 200
