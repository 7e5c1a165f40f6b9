"""The fixtures of the driver's tests. Each test with a desk runs on a file of SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.cluster import Cluster
from driver.desk import Desk
from sop_driver import transfer


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.remove()


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose first actors have signed."""
    return Desk(tmp_path_factory.mktemp("begun")).office.home.path


@pytest.fixture(scope="session")
def begun_there(cluster: Cluster, begun: Path) -> str:
    """A database with the same register, to copy."""
    name = cluster.create()
    transfer.copy(str(begun / "register.db"), cluster.url(name), begun)
    return name


@pytest.fixture
def file_desk(tmp_path: Path, begun: Path) -> Desk:
    return Desk(tmp_path, begun)


@pytest.fixture
def shared_desk(tmp_path: Path, begun: Path, begun_there: str, cluster: Cluster) -> Iterator[Desk]:
    name = cluster.create(begun_there)
    yield Desk(tmp_path, begun, cluster.url(name))
    cluster.drop(name)


@pytest.fixture(params=["file_desk", "shared_desk"])
def desk(request: pytest.FixtureRequest) -> Desk:
    found: Desk = request.getfixturevalue(request.param)
    return found
