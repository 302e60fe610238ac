"""Who asks, and which models are theirs to use."""

from collections.abc import Iterable

from trio_gateway.access.keys import Keyring, may_use
from trio_gateway.policy.route import AccessKey, Policy, Route
from trio_gateway.web.answers import Answer, forbidden, shortened, unknown_model
from trio_gateway.web.nearest import near_to


def key_of(
    headers: Iterable[tuple[bytes, bytes]], keyring: Keyring, *, wall_now: float
) -> AccessKey | None:
    """Return whose key the request shows; None where it shows none, or two."""
    shown = [value for name, value in headers if name == b"authorization"]
    if len(shown) != 1:
        return None
    return keyring.find(shown[0], wall_now=wall_now)


def routes_of(policy: Policy, key: AccessKey) -> list[Route]:
    """Return the routes that the key may use, in the policy's order."""
    return [route for route in policy.routes.values() if may_use(key, route.slug)]


def route_of(policy: Policy, key: AccessKey, slug: str) -> Route | Answer:
    """Return the route behind a slug, or what to answer where it is not this key's."""
    route = policy.routes.get(slug)
    if route is None:
        usable = (route.slug for route in routes_of(policy, key))
        return unknown_model(slug, near_to(shortened(slug), usable))
    if not may_use(key, slug):
        return forbidden("model", "not allowed for this key")
    return route
