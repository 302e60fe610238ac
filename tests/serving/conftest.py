"""Both of our serving loops: a test that takes `kind` runs over each."""

from typing import get_args

import pytest

from trio_gateway.serving.server import ServerKind


@pytest.fixture(params=get_args(ServerKind))
def kind(request: pytest.FixtureRequest) -> ServerKind:
    chosen: ServerKind = request.param
    return chosen
