"""The fixtures of the driver's tests. Each test with a desk runs on a file of SQLite and on PostgreSQL."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.cluster import Cluster
from driver.desk import Begun, Desk
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
    return copied(cluster, begun)


def copied(cluster: Cluster, home: Path) -> str:
    name = cluster.create()
    transfer.copy(str(home / "register.db"), cluster.url(name), home)
    return name


@pytest.fixture(scope="session")
def approved(tmp_path_factory: pytest.TempPathFactory, begun: Path) -> Begun:
    """A home with an approved request, and what its clock says."""
    desk = Desk(tmp_path_factory.mktemp("approved"), begun)
    desk.approved()
    return Begun(desk.office.home.path, desk.clock.time)


@pytest.fixture(scope="session")
def approved_there(cluster: Cluster, approved: Begun) -> str:
    """A database with the same register, to copy."""
    return copied(cluster, approved.path)


@pytest.fixture
def file_desk(tmp_path: Path, begun: Path, request: pytest.FixtureRequest) -> Desk:
    desk = Desk(tmp_path, begun)
    desk.ready = lambda: desk.begin(request.getfixturevalue("approved"))
    return desk


@pytest.fixture
def shared_desk(
    tmp_path: Path, begun: Path, begun_there: str, cluster: Cluster, request: pytest.FixtureRequest
) -> Iterator[Desk]:
    name = cluster.name()
    desk = Desk(tmp_path, begun, cluster.url(name))
    desk.prepare = functools.cache(lambda: cluster.create(begun_there, name))

    def ready() -> None:
        approved = request.getfixturevalue("approved_there")
        desk.prepare = lambda: cluster.create(approved, name)
        desk.begin(request.getfixturevalue("approved"))

    desk.ready = ready
    yield desk
    if "office" in desk.__dict__:
        desk.office.register.close()  # else PostgreSQL waits a tenth of a second for who is still connected
    cluster.drop(name)


@pytest.fixture(params=["file_desk", "shared_desk"])
def desk(request: pytest.FixtureRequest) -> Desk:
    found: Desk = request.getfixturevalue(request.param)
    return found
