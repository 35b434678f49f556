"""The packages of other languages: their own tests, and that they are found where they lie."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from liballoc.toolchain.zig import cache_dir
from tests.embedding import tools
from tests.native import ROOT
from tests.tidy.sources import manifest_version


@pytest.fixture(scope="module")
def zig_tests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test programs of the project that depends on the package."""
    place = tmp_path_factory.mktemp("package")
    cache = cache_dir(os.environ) / "embedding"
    tools.run(
        ["python3", "-m", "ziglang", "build", "--prefix", place, "--cache-dir", cache],
        ROOT / "tests" / "embedding" / "package",
    )  # fmt: skip
    return place / "bin"


@pytest.mark.parametrize("case", ["safe-with-libc", "fast-with-libc", "fast-without-libc"])
def test_zig_allocators_pass_the_tests_of_the_standard_library(zig_tests: Path, case: str) -> None:
    done = subprocess.run(
        [zig_tests / case], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.fullmatch(r"All \d+ tests passed\.", done.stderr.splitlines()[-1])
    for test in ("allocator: conforms", "Heap: conforms", "Arena: conforms"):
        assert f"test.{test}" in done.stderr


def test_the_crate_passes_its_tests(tmp_path: Path, checkout: Path) -> None:
    tools.need("cc")
    tools.need("rustc")
    cargo = tools.need("cargo")
    crate = tmp_path / "crate"
    shutil.copytree(ROOT / "zig" / "rust", crate)
    libraries = str(checkout / "zig-out" / "lib")
    shown = tools.run([cargo, "test", "--offline"], crate, LIBALLOC_LIB_DIR=libraries)
    assert "test the_heap_is_ours ... ok" in shown
    assert "(line 3) ... ok" in shown  # The example in its documentation.


def test_the_crate_says_what_is_missing(tmp_path: Path) -> None:
    tools.need("rustc")
    cargo = tools.need("cargo")
    crate = tmp_path / "crate"
    shutil.copytree(ROOT / "zig" / "rust", crate)
    done = subprocess.run(
        [cargo, "build", "--offline"], cwd=crate, capture_output=True, text=True, check=False,
        env={**tools.environment(), "LIBALLOC_LIB_DIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode != 0
    assert f"{tmp_path / 'liballoc.a'} is missing" in done.stderr


@pytest.mark.parametrize("name", ["liballoc", "liballoc-apart"])
def test_pkg_config_follows_the_tree_and_knows_the_version(
    tmp_path: Path, checkout: Path, name: str
) -> None:
    program = tools.need("pkg-config")
    moved = tmp_path / "moved"
    shutil.copytree(checkout / "zig-out", moved)
    path = {"PKG_CONFIG_PATH": str(moved / "lib" / "pkgconfig")}
    version = tools.run([program, "--modversion", name], tmp_path, **path)
    assert version.strip() == manifest_version()
    folder = tools.run([program, "--variable=libdir", name], tmp_path, **path).strip()
    assert Path(folder).resolve() == moved / "lib"
    linked = tools.run([program, "--libs-only-l", name], tmp_path, **path).split()
    assert linked == [f"-l{name.removeprefix('lib')}"]
    assert (moved / "lib" / f"{name}.so").is_file()
    folder = tools.run([program, "--variable=includedir", name], tmp_path, **path).strip()
    assert sorted(each.name for each in Path(folder).iterdir()) == [
        "alloc.h", "alloc.hpp", "hft_alloc.h",
    ]  # fmt: skip


LISTS = """
cmake_minimum_required(VERSION 3.13)
project(probe C)
find_package(liballoc {version} {required})
if(liballoc_FOUND)
  get_target_property(shared liballoc::liballoc IMPORTED_LOCATION)
  get_target_property(archive liballoc::static IMPORTED_LOCATION)
  get_target_property(apart liballoc::apart IMPORTED_LOCATION)
  get_target_property(apart_archive liballoc::apart_static IMPORTED_LOCATION)
  message("found ${{liballoc_VERSION}} ${{shared}} ${{archive}} ${{apart}} ${{apart_archive}}")
else()
  message("not found")
endif()
"""


@pytest.mark.parametrize(("version", "is_found"), [("", 1), ("1.0", 1), ("1.99", 0), ("2", 0)])
def test_cmake_follows_the_tree_and_compares_versions(
    tmp_path: Path, checkout: Path, version: str, is_found: int
) -> None:
    tools.need("cc")
    program = tools.need("cmake")
    moved = tmp_path / "moved"
    shutil.copytree(checkout / "zig-out", moved)
    (tmp_path / "CMakeLists.txt").write_text(LISTS.format(version=version, required=""))
    # message() writes to stderr.
    line = f"{program} -S . -B build -DCMAKE_PREFIX_PATH={moved} 2>&1"
    shown = tools.run(["sh", "-c", line], tmp_path)
    words = next((each for each in shown.splitlines() if each.startswith("found ")), "").split()
    assert bool(words) == bool(is_found), shown
    if words:
        assert words[1] == manifest_version()
        version = manifest_version()
        assert [Path(word).relative_to(moved / "lib").name for word in words[2:]] == [
            f"liballoc.so.{version}", "liballoc.a", f"liballoc-apart.so.{version}",
            "liballoc-apart.a",
        ]  # fmt: skip
        assert all(Path(each).is_file() for each in words[2:])


@pytest.mark.parametrize("target", ["liballoc::apart", "liballoc::apart_static"])
def test_cmake_links_what_leaves_malloc_alone(tmp_path: Path, checkout: Path, target: str) -> None:
    tools.need("cc")
    program = tools.need("cmake")
    (tmp_path / "probe.c").write_text(
        "#include <alloc.h>\n#include <stdio.h>\n#include <stdlib.h>\n"
        "int main(void) { alloc_stats_t a, b; void *block = alloc_malloc(1);\n"
        "alloc_stats(&a, sizeof a); free(malloc(10000)); void *volatile other = malloc(10000);\n"
        "alloc_stats(&b, sizeof b); alloc_free(block); free(other);\n"
        'puts(a.bytes_in_use == b.bytes_in_use ? "alone" : "ours"); return 0; }\n'
    )
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(probe C)\n"
        "find_package(liballoc REQUIRED)\nadd_executable(probe probe.c)\n"
        f"target_link_libraries(probe PRIVATE {target})\n"
    )
    tree = f"-DCMAKE_PREFIX_PATH={checkout / 'zig-out'}"
    tools.run([program, "-S", ".", "-B", "build", tree], tmp_path)
    tools.run([program, "--build", "build"], tmp_path)
    assert tools.run([tmp_path / "build" / "probe"], tmp_path) == "alone\n"
