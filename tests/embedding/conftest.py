"""A folder `liballoc` for the tests of this folder, as a user has it: see tools.copy_checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.embedding import tools
from tests.tidy.sources import manifest_version


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory, library: Path, static_library: Path) -> Path:
    """The copy; its name and its neighbours are those of docs/EMBEDDING.md."""
    target = tmp_path_factory.mktemp("embedding") / "liballoc"
    target.mkdir()
    version = manifest_version()
    shared = ["liballoc.so", f"liballoc.so.{version.split('.')[0]}", f"liballoc.so.{version}"]
    tools.copy_checkout(
        target, {**dict.fromkeys(shared, library), "liballoc.a": static_library}
    )  # fmt: skip
    return target
