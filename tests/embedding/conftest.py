"""A folder `liballoc` for the tests of this folder, as a user has it: see tools.copy_checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.embedding import tools
from tests.tidy.sources import manifest_version


@pytest.fixture(scope="session")
def checkout(
    tmp_path_factory: pytest.TempPathFactory, library: Path, static_library: Path,
    apart_library: Path, apart_archive: Path,
) -> Path:  # fmt: skip
    """The copy; its name and its neighbours are those of docs/EMBEDDING.md."""
    target = tmp_path_factory.mktemp("embedding") / "liballoc"
    target.mkdir()
    version = manifest_version()
    libraries = {"liballoc.a": static_library, "liballoc-apart.a": apart_archive}
    for ending in ("", f".{version.split('.')[0]}", f".{version}"):
        libraries[f"liballoc.so{ending}"] = library
        libraries[f"liballoc-apart.so{ending}"] = apart_library
    tools.copy_checkout(target, libraries)
    return target
