"""alloc.hpp compiles without a warning wherever it may be used, and does what it promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.embedding import tools

SOURCE = Path(__file__).parent / "src" / "alloc_hpp.cpp"
WARNINGS = [
    "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow",
    "-Wnon-virtual-dtor", "-Woverloaded-virtual", "-Werror",
]  # fmt: skip
COMPILERS = ("g++", "clang++")
# Nothing but the header, whose templates are then compiled as far as they can be.
ALONE = """
#include <alloc.hpp>
#include <vector>
template class liballoc::allocator<long>;
template class liballoc::typed_pool<long>;
std::size_t use(liballoc::arena &arena) {
    std::vector<long, liballoc::allocator<long>> numbers(3, *arena.create<long>(1));
    return numbers.size();
}
"""


@pytest.mark.parametrize(
    ("command", "linked"),
    [
        ("g++ -std=c++17", "liballoc.so"),
        ("g++ -std=c++20 -fno-rtti", "liballoc.a"),
        ("clang++ -std=c++17 -fno-rtti -O2", "liballoc.so"),
        ("clang++ -std=c++20", "liballoc.a"),
        ("g++ -std=c++17 -O2", "liballoc-apart.so"),
        ("g++ -std=c++20", "liballoc-apart.a"),
    ],
)
def test_owners_resources_and_the_allocator(
    tmp_path: Path, checkout: Path, command: str, linked: str
) -> None:
    compiler, *more = command.split()
    installed = checkout / "zig-out"
    flags = [*WARNINGS, "-pthread", *more]
    link: list[str | Path] = [installed / "lib" / linked, f"-Wl,-rpath,{installed / 'lib'}"]
    program = tmp_path / "program"
    include = f"-I{installed / 'include'}"
    tools.run([tools.need(compiler), *flags, include, SOURCE, "-o", program, *link], tmp_path)
    assert tools.run([program], tmp_path) == "ok\n"


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("standard", ["c++17", "c++20"])
@pytest.mark.parametrize("more", [[], ["-fno-rtti"], ["-fno-rtti", "-fno-exceptions"]], ids=len)
def test_the_header_alone_has_no_warning(
    tmp_path: Path, checkout: Path, compiler: str, standard: str, more: list[str]
) -> None:
    (tmp_path / "alone.cpp").write_text(ALONE)
    flags = [f"-std={standard}", "-fsyntax-only", *WARNINGS, *more]
    include = f"-I{checkout / 'zig-out' / 'include'}"
    tools.run([tools.need(compiler), *flags, include, "alone.cpp"], tmp_path)
