"""The operators' door: who may come in, and what it shows."""

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.factories import a_policy, a_route, a_target
from tests.relay.driver import SICK, a_body
from tests.web.house import Fields, House, Visitor, a_house
from trio_gateway.policy.route import Secret
from trio_gateway.web.app import create_admin_app

HOST = ("host", "127.0.0.1:9090")


def an_admin_app(house: House | None = None, *, key: str | None = None) -> QuartTrio:
    return create_admin_app(
        (house or a_house()).gateway,
        bind_host="10.0.0.5",
        hosts=["ops.internal"],
        key=None if key is None else Secret(key),
    )


async def get(app: QuartTrio, path: str, *fields: tuple[str, str]) -> Visitor:
    given: Fields = (
        fields if any(name == "host" for name, _ in fields) else (HOST, *fields)
    )
    return await Visitor(app, "GET", path, given).visit()


async def test_metrics_show_what_was_counted() -> None:
    house = a_house(a=[a_body()], b=[])
    await house.chat()

    visitor = await get(an_admin_app(house), "/metrics")

    assert visitor.status == 200
    assert (visitor.field("content-type") or "").startswith("text/plain; version=0.0.4")
    counted = b'exchanges_total{model="chat",outcome="completed",status="200"} 1.0'
    assert counted in visitor.received


async def test_metrics_show_how_the_targets_are(autojump_clock: MockClock) -> None:
    house = a_house(a=[SICK] * 5, b=[a_body()] * 5)
    for _ in range(5):
        await house.chat()

    visitor = await get(an_admin_app(house), "/metrics")

    assert b'target_state{state="open",target="a/m"} 1.0' in visitor.received
    assert b'target_state{state="closed",target="a/m"} 0.0' in visitor.received
    assert b'target_state{state="closed",target="b/m"} 1.0' in visitor.received


@pytest.mark.parametrize("path", ["/metrics", "/admin/targets"])
async def test_requests_go_on_while_thousands_of_targets_are_looked_at(
    path: str, autojump_clock: MockClock
) -> None:
    routes = [
        a_route([a_target("a", model=f"m{number}")], slug=f"chat{number}")
        for number in range(2_000)
    ]
    app = an_admin_app(a_house(a_policy(*routes)))
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        visitor = await get(app, path)
        nursery.cancel_scope.cancel()

    assert visitor.received.count(b"a/m1999") > 0
    assert turns >= 100


async def test_health_is_here_too() -> None:
    house = a_house()
    app = an_admin_app(house)

    assert (await get(app, "/livez")).status == 200
    assert (await get(app, "/readyz")).status == 200
    house.gateway.is_ready = False
    assert (await get(app, "/readyz")).status == 503


async def test_clients_paths_are_not_here() -> None:
    visitor = await get(an_admin_app(), "/v1/models")

    assert visitor.status == 404
    assert isinstance(visitor.json, dict)
    assert visitor.json["error"]["details"] == {
        "allowed": [
            "/admin/exchanges",
            "/admin/explain/{model}",
            "/admin/policy",
            "/admin/targets",
            "/admin/targets/{target_id}",
            "/livez",
            "/metrics",
            "/readyz",
        ]
    }


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:9090",
        "127.0.0.1:9090",
        "[::1]:9090",
        "10.0.0.5:9090",
        "ops.internal",
    ],
)
async def test_a_known_host_is_let_in(host: str) -> None:
    assert (await get(an_admin_app(), "/metrics", ("host", host))).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.test", "localhost.evil.test", "10.0.0.6:9090", "", "::1", "a@localhost"],
)
async def test_a_foreign_host_is_refused(host: str) -> None:
    for path in ("/metrics", "/livez", "/nowhere"):
        visitor = await get(an_admin_app(), path, ("host", host))

        assert visitor.status == 403
        assert visitor.json == {
            "error": {
                "code": "forbidden",
                "message": "Forbidden",
                "type": "permission_error",
                "param": None,
                "details": {"host": "not a name of this server"},
            }
        }


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.test",
        "null",
        "http://127.0.0.1:3000",
        "http://127.0.0.1",
        "http://[",
    ],
)
async def test_a_foreign_origin_is_refused(origin: str) -> None:
    visitor = await get(an_admin_app(), "/metrics", ("origin", origin))

    assert visitor.status == 403
    assert isinstance(visitor.json, dict)
    assert visitor.json["error"]["details"] == {"origin": "another site's"}


async def test_our_own_pages_origin_is_let_in() -> None:
    origin = ("origin", "http://127.0.0.1:9090")

    assert (await get(an_admin_app(), "/metrics", origin)).status == 200


async def test_a_configured_key_is_asked_for_but_not_by_health_checks() -> None:
    app = an_admin_app(key="admin-key")

    for fields in ((), (("authorization", "Bearer wrong"),)):
        visitor = await get(app, "/metrics", *fields)
        assert visitor.status == 401
        assert visitor.field("www-authenticate") == "Bearer"
    right = ("authorization", "Bearer admin-key")
    assert (await get(app, "/metrics", right)).status == 200
    assert (await get(app, "/nowhere")).status == 401
    assert (await get(app, "/livez")).status == 200
    assert (await get(app, "/readyz")).status == 200
