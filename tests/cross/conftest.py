"""The option `--long` of the cross tests."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """All programs, both modes, every page size; else a choice that takes minutes."""
    parser.addoption("--long", action="store_true", help="every program and page size under qemu")
