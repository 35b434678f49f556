"""The option `--long` of the cross tests."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """All programs, both modes, every page size; else a choice that takes minutes."""
    parser.addoption("--long", action="store_true", help="every program and page size under qemu")


def pytest_configure(config: pytest.Config) -> None:
    """The mark of what the short form leaves out."""
    config.addinivalue_line("markers", "cross_long: only with --long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is left out is not collected: as skipped tests it would hide what was skipped here."""
    if config.getoption("--long"):
        return
    left_out = [item for item in items if item.get_closest_marker("cross_long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("cross_long")]
