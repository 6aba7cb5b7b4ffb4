from __future__ import annotations

import pytest

from tests.support.python_user import Workspace, make_workspace


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One for all tests of a process: they share its cache."""
    return make_workspace(tmp_path_factory.mktemp("python-user"))
