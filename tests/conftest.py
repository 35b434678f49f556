"""Fixtures for every test: where the checkout is, and those of tests/native.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ["tests.native"]

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long forms end by limits of their own."""
    if os.environ.get("FAULTS_LONG") or config.getoption("--long", False):
        for item in items:
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
