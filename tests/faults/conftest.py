"""Fixtures of the fault tests: what refuses system calls."""

from pathlib import Path

import pytest

from tests.faults.refusal import Supervisor
from tests.native import Native


@pytest.fixture(scope="session")
def supervisor(native: Native, library: Path) -> Supervisor:
    """Runs programs on the release library and refuses chosen system calls."""
    return Supervisor.build(native, library)
