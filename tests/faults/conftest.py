"""Fixtures of the fault tests: those of tests/native.py, and what refuses system calls."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.faults.refusal import Supervisor
from tests.native import Native, glibc, library, native, release

__all__ = ["glibc", "library", "native", "release"]


@pytest.fixture(scope="session")
def supervisor(native: Native, library: Path) -> Supervisor:
    """Runs programs on the release library and refuses chosen system calls."""
    return Supervisor.build(native, library)
