"""The fixtures of the driver's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.desk import Desk


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose first actors have signed."""
    return Desk(tmp_path_factory.mktemp("begun")).office.home.path


@pytest.fixture
def desk(tmp_path: Path, begun: Path) -> Desk:
    return Desk(tmp_path, begun)
