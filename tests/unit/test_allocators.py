"""liballoc.allocators and liballoc.elf.program: who is there, and who is active."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liballoc.allocators import preload, registry
from liballoc.allocators.registry import Allocator
from liballoc.elf import program
from liballoc.errors import UsageError
from liballoc.workload.launch import Inspection
from tests.unit.fakes import write_library
from tests.unit.measuring import GLIBC, OWN

CACHE = """2 libs found in cache `/etc/ld.so.cache'
\tlibjemalloc.so.2 (libc6,{abi}) => {folder}/libjemalloc.so.2
\tlibmimalloc.so.2 (libc6,x32) => {folder}/x32/libmimalloc.so.2
"""


def packages(argv: Sequence[str]) -> str:
    """A dpkg that owns jemalloc."""
    if argv[0] == "dpkg-query" and argv[1] == "--search" and "jemalloc" in argv[2]:
        return "libjemalloc2:amd64: " + argv[2]
    return "5.3.0-1" if argv[:2] == ["dpkg-query", "--show"] else ""


def test_peers_come_from_the_cache_and_the_folders(tmp_path: Path) -> None:
    cached, folder = tmp_path / "cached", tmp_path / "lib" / f"{registry.machine()}-linux-gnu"
    cached.mkdir()
    folder.mkdir(parents=True)
    write_library(cached / "libjemalloc.so.2")
    # Of another kind of program on this machine, though the file would do.
    (cached / "x32").mkdir()
    write_library(cached / "x32" / "libmimalloc.so.2")
    write_library(folder / "libtcmalloc_minimal.so.4.5.10")
    (folder / "libtcmalloc_minimal.so.4").symlink_to("libtcmalloc_minimal.so.4.5.10")
    (folder / "libhoard.so").write_text("no library")
    text = CACHE.format(abi=registry.CACHE_ABI[registry.machine()], folder=cached)

    def run(argv: Sequence[str]) -> str:
        return text if argv[0] == "ldconfig" else packages(argv)

    found, missing = registry.find_peers([tmp_path / "lib"], run)
    assert [(each.name, each.version) for each in found] == [
        ("jemalloc", "5.3.0-1"), ("tcmalloc", "4.5.10"),
    ]  # fmt: skip
    assert found[1].path == folder / "libtcmalloc_minimal.so.4.5.10"
    assert missing == ["mimalloc is not installed (Debian package libmimalloc2.0)"]


@pytest.mark.parametrize(
    ("peer", "reason"),
    [
        ("x", "is not NAME=PATH"), ("=path", "is not NAME=PATH"), ("name=", "is not NAME=PATH"),
        ("glibc=/x", "is taken"), ("liballoc=/x", "is taken"), ("a=/nowhere", "no such library"),
        ("a/b=/x", "a name is letters"),
    ],
)  # fmt: skip
def test_bad_peers(peer: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        registry.parse_peers([peer])


def test_named_peers(tmp_path: Path) -> None:
    write_library(tmp_path / "a.so")
    found = registry.parse_peers([f"mine={tmp_path}/a.so"], lambda argv: "")
    assert [(each.name, each.path, len(each.digest)) for each in found] == [
        ("mine", tmp_path / "a.so", 16)
    ]
    with pytest.raises(UsageError, match="'a' is taken"):
        registry.parse_peers([f"a={tmp_path}/a.so"] * 2, lambda argv: "")
    spaced = tmp_path / "a b.so"
    write_library(spaced)
    with pytest.raises(UsageError, match="a space or a colon"):
        registry.parse_peers([f"a={spaced}"], lambda argv: "")
    (tmp_path / "text.so").write_text("text")
    with pytest.raises(UsageError, match="no ELF file"):
        registry.parse_peers([f"a={tmp_path}/text.so"], lambda argv: "")


def test_the_baseline_is_always_among_the_chosen() -> None:
    assert registry.choose([GLIBC, OWN], ["liballoc"]) == [GLIBC, OWN]
    assert registry.choose([GLIBC, OWN], ["glibc"]) == [GLIBC]
    with pytest.raises(UsageError, match="no allocator 'x' here; found: glibc, liballoc"):
        registry.choose([GLIBC, OWN], ["x"])


def test_glibc_has_a_version() -> None:
    assert registry.glibc(lambda argv: "2.36-9").version == "2.36-9"
    assert registry.glibc(lambda argv: "").version


def test_a_tool_that_fails_or_is_missing_says_nothing() -> None:
    assert registry.run_quietly(["no-such-tool"]) == ""
    assert registry.run_quietly(["false"]) == ""
    assert registry.run_quietly(["echo", "x"]) == "x\n"


@settings(deadline=None)
@given(st.lists(st.sampled_from(["/a.so", "/b.so"]), min_size=1), st.sampled_from(["", "/u.so /v"]))
def test_our_libraries_come_before_the_users(libraries: list[str], present: str) -> None:
    words = preload.value([Path(each) for each in libraries], present).split()
    assert words == [*libraries, *present.split()]


def test_the_library_of_a_checkout_or_an_installed_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such library; build it"):
        preload.find_library("none", tmp_path)
    (tmp_path / "build.zig").touch()
    (tmp_path / "zig-out" / "aarch64" / "lib").mkdir(parents=True)
    built = tmp_path / "zig-out" / "aarch64" / "lib" / "liballoc.so"
    built.touch()
    assert preload.find_library("aarch64", tmp_path) == built


@pytest.mark.parametrize(
    ("allocator", "mapped", "reason"),
    [
        (OWN, ("/lib/liballoc.so", "/lib/libc.so.6"), ""),
        # A program linked with another: what is preloaded comes first.
        (OWN, ("/lib/liballoc.so", "/lib/libjemalloc.so.2"), ""),
        (OWN, ("/lib/libc.so.6",), "liballoc.so was not mapped"),
        (OWN, (), "could not be verified"),
        (GLIBC, ("/lib/libc.so.6",), ""),
        (GLIBC, ("/lib/libtcmalloc_minimal.so.4.5",), "the program brings libtcmalloc"),
        (GLIBC, ("/x/liballoc.so.1.0.0",), "the program brings liballoc.so.1.0.0"),
    ],
)
def test_who_is_active(allocator: Allocator, mapped: tuple[str, ...], reason: str) -> None:
    assert reason in preload.why_inactive(allocator, Inspection("/bin/true", mapped))
    assert bool(reason) == bool(preload.why_inactive(allocator, Inspection("/x", mapped)))


def test_unseen_is_not_verified() -> None:
    assert "could not be verified" in preload.why_inactive(OWN, None)


def test_programs_and_scripts_are_read(tmp_path: Path) -> None:
    real = program.read(Path(sys.executable).resolve())
    assert real is not None
    assert (real.architecture, bool(real.loader)) == (registry.machine(), True)
    script = tmp_path / "script"
    script.write_text(f"#!{Path(sys.executable).resolve()} -I\n")
    found = program.read(script)
    assert found is not None
    assert found.words == (str(Path(sys.executable).resolve()), "-I")
    assert found.loader == real.loader
    for text in ("text", "#!", "#!/no/such", f"#!{tmp_path}/loop"):
        script.write_text(text)
        assert program.read(script) is None
    (tmp_path / "loop").write_text(f"#!{tmp_path}/loop")
    assert program.read(tmp_path / "loop") is None
    assert program.read(tmp_path / "none") is None
    cut = tmp_path / "cut"
    cut.write_bytes(Path(sys.executable).resolve().read_bytes()[:100])
    assert program.read(cut) is None


def test_a_program_with_a_malloc_of_its_own_is_seen(tmp_path: Path) -> None:
    library = next(Path("/lib").glob("*-linux-gnu/libc.so.6"), None)
    if library is None:
        pytest.skip("no glibc where Debian has it")
    found = program.read(library)
    assert found is not None
    assert found.has_malloc
    seen = Inspection(str(library), (str(library), "/lib/liballoc.so"))
    assert "has a malloc of its own" in preload.why_inactive(OWN, seen)


def test_programs_are_found_as_exec_would(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    assert program.find("sh", os.defpath).name == "sh"
    with pytest.raises(PermissionError):
        program.find("plain", str(tmp_path))
    with pytest.raises(PermissionError):
        program.find(str(tmp_path / "plain"), "")
    with pytest.raises(FileNotFoundError):
        program.find("none", str(tmp_path))
