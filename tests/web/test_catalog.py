"""The catalog lists what the key may use, and nothing that is secret."""

from uuid import UUID

import pytest

from tests.factories import a_policy, a_route, an_access_key
from tests.web.house import House, a_house
from trio_gateway.web.catalog import model_id_of

SLUGS = ("gpt", "team/small", "hidden")


def a_catalog() -> House:
    key = an_access_key(models=frozenset({"gpt", "team/small"}))
    routes = (a_route("ab", slug=slug, chain="c") for slug in SLUGS)
    return a_house(a_policy(*routes, keys=[key]))


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        "/v1/models/gpt",
        "/v1/models/nothing",
        "/v1/router/models",
        "/v1/router/models/gpt/providers",
    ],
)
async def test_the_catalog_needs_a_key(path: str) -> None:
    house = a_catalog()

    for fields in ((), (("authorization", "Bearer wrong"),)):
        visitor = await house.get(path, fields=fields)
        assert visitor.status == 401
        assert visitor.field("www-authenticate") == "Bearer"


async def test_models_are_those_that_the_key_may_use() -> None:
    visitor = await a_catalog().get("/v1/models")

    assert visitor.status == 200
    assert visitor.field("content-type") == "application/json"
    shape = {"object": "model", "created": 0, "owned_by": "trio-gateway"}
    assert visitor.json == {
        "object": "list",
        "data": [{"id": "gpt", **shape}, {"id": "team/small", **shape}],
    }


async def test_one_model_by_its_slug_which_may_hold_slashes() -> None:
    house = a_catalog()

    visitor = await house.get("/v1/models/team/small")

    assert visitor.json == {
        "id": "team/small",
        "object": "model",
        "created": 0,
        "owned_by": "trio-gateway",
    }


async def test_a_model_that_is_not_there_or_not_the_keys() -> None:
    house = a_catalog()

    missing = await house.get("/v1/models/team/smal")
    assert missing.status == 404
    assert isinstance(missing.json, dict)
    assert missing.json["error"]["details"] == {
        "model": "team/smal",
        "near": ["team/small"],
    }
    assert (await house.get("/v1/models/hidden")).status == 403


async def test_router_models_have_stable_ids_without_slashes() -> None:
    visitor = await a_catalog().get("/v1/router/models")

    entries = [
        {"id": model_id_of(slug), "slug": slug, "name": slug.title()}
        for slug in ("gpt", "team/small")
    ]
    assert visitor.json == {
        "data": entries,
        "pagination": {
            "page": 1,
            "page_size": 100,
            "page_count": 1,
            "total_count": 2,
        },
    }
    assert model_id_of("gpt") == "a95556c9-1e62-58fd-a5b6-d120dc0b549f"
    assert UUID(model_id_of("gpt")).version == 5


async def test_pages_of_router_models() -> None:
    house = a_catalog()

    async def slugs_on(query: bytes) -> list[str]:
        visitor = await house.get("/v1/router/models", query=query)
        assert isinstance(visitor.json, dict)
        assert visitor.json["pagination"]["page_count"] == 2
        return [entry["slug"] for entry in visitor.json["data"]]

    assert await slugs_on(b"page_size=1") == ["gpt"]
    assert await slugs_on(b"page_size=1&page=2") == ["team/small"]
    assert await slugs_on(b"page_size=1&page=3") == []


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "x", "", "1001", "9" * 5000, "²"])
async def test_a_page_size_that_is_nonsense(value: str) -> None:
    house = a_catalog()

    visitor = await house.get("/v1/router/models", query=f"page_size={value}".encode())

    assert visitor.status == 400
    assert visitor.json == {
        "error": {
            "code": "bad_request",
            "message": "Bad Request",
            "type": "invalid_request_error",
            "param": None,
            "details": {"page_size": "must be a whole number from 1 to 1000"},
        }
    }


async def test_the_providers_of_a_model_by_id_or_slug() -> None:
    house = a_catalog()

    for name in (model_id_of("team/small"), "team/small"):
        visitor = await house.get(f"/v1/router/models/{name}/providers")
        assert visitor.json == {
            "data": [
                {"id": name, "name": name, "kind": "openai", "models": ["m"]}
                for name in "abc"
            ],
            "pagination": {
                "page": 1,
                "page_size": 100,
                "page_count": 1,
                "total_count": 3,
            },
        }
        assert b"test:80" not in visitor.received
        assert b"sk-" not in visitor.received


async def test_the_providers_of_a_model_that_is_not_the_keys() -> None:
    house = a_catalog()

    for name in (model_id_of("hidden"), "hidden"):
        visitor = await house.get(f"/v1/router/models/{name}/providers")
        assert visitor.status == 403
    assert (await house.get("/v1/router/models/x/providers")).status == 404


async def test_a_bug_in_a_view_is_a_500_that_leaks_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = a_catalog()

    def broken() -> float:
        raise RuntimeError("hunter2")

    house.gateway.relay.wall_clock = broken

    visitor = await house.get("/v1/models")

    assert visitor.status == 500
    assert visitor.json == {
        "error": {
            "code": "internal_error",
            "message": "Internal error",
            "type": "api_error",
            "param": None,
        }
    }
    assert visitor.field("x-gateway-target") == "none"
    assert "hunter2" in caplog.text


async def test_nothing_is_set_in_a_browser() -> None:
    visitor = await a_catalog().get("/v1/models")

    assert {name for name, _ in visitor.answered} == {
        "content-type",
        "content-length",
        "x-request-id",
        "x-gateway-target",
        "x-gateway-attempts",
    }
