"""Fixtures for every test: where the checkout is, and those of tests/native.py."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["tests.native"]

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
