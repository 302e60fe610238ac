import pytest

from tests.upstream.peers import Authority, Make, an_authority
from trio_gateway.upstream.http import HttpUpstream
from trio_gateway.upstream.pool import PooledUpstream


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return an_authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(params=[HttpUpstream, PooledUpstream], ids=["httpx", "pool"])
def make(request: pytest.FixtureRequest) -> Make:
    """Both real networks."""
    made: Make = request.param
    return made
