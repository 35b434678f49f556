"""liballoc.toolchain: finding Zig, caches, variants, and what the driver runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from liballoc.errors import CheckFailedError, ToolMissingError, UsageError
from liballoc.toolchain import driver, variants, zig
from liballoc.toolchain.driver import Driver


def make_program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_zig_is_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = zig.find()
    assert found.version == zig.VERSION
    assert found.executable.parent.name == "ziglang"


def test_the_version_is_the_pinned_one(root: Path) -> None:
    assert f'"ziglang=={zig.VERSION}"' in (root / "pyproject.toml").read_text()


def test_another_version_is_refused(tmp_path: Path) -> None:
    other = make_program(tmp_path / "zig", "echo 0.16.0")
    with pytest.raises(ToolMissingError, match=r"is Zig 0\.16\.0, needed is"):
        zig.find(other)


@pytest.mark.parametrize("text", ["exit 1", "kill -9 $$"])
def test_a_broken_compiler_is_missing(tmp_path: Path, text: str) -> None:
    with pytest.raises(ToolMissingError, match="does not run"):
        zig.find(make_program(tmp_path / "zig", text))
    with pytest.raises(ToolMissingError, match="does not run"):
        zig.find(tmp_path / "absent")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ToolMissingError, match="pip install ziglang=="):
        zig.find_executable()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"ZIG_GLOBAL_CACHE_DIR": "/a", "HOME": "/h"}, "/a"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/liballoc/zig"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/liballoc/zig"),
        ({"HOME": "/h"}, "/h/.cache/liballoc/zig"),
    ],
)
def test_the_cache_lies_outside_the_tree(environment: dict[str, str], expected: str) -> None:
    assert zig.cache_dir(environment) == Path(expected)


def test_the_cache_without_home_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    assert zig.cache_dir({}).parts[-3:] == (".cache", "liballoc", "zig")

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert zig.cache_dir({"HOME": ""}) == Path(f"/tmp/liballoc-cache-{os.getuid()}/zig")


def test_the_build_environment() -> None:
    environment = zig.build_environment({"HOME": "/h", "LANG": "C"})
    assert environment["ZIG_DEBUG_CMD"] == "1"
    assert environment["ZIG_GLOBAL_CACHE_DIR"] == "/h/.cache/liballoc/zig"
    assert environment["LANG"] == "C"


def test_variants_have_places_of_their_own() -> None:
    found = variants.all_variants()
    root = Path("/r")
    assert len(found) == 9
    places = {path for v in found for path in (v.shared(root), v.static(root))}
    assert len(places) == 18
    assert variants.Variant("release", "x86_64").shared(root) == Path("/r/zig-out/lib/liballoc.so")
    arm = variants.Variant("debug", "aarch64")
    assert arm.static(root) == Path("/r/zig-out/aarch64/lib/liballoc-debug.a")
    assert arm.name == "debug-aarch64"
    apart = variants.Variant(variants.APART, "x86_64")
    assert apart.shared(root) == Path("/r/zig-out/lib/liballoc-apart.so")


class Recorder:
    """A runner that makes what a build would make."""

    def __init__(self, status: int = 0, *, make: bool = True) -> None:
        self.calls: list[tuple[list[str], Mapping[str, str]]] = []
        self.status = status
        self.make = make

    def __call__(
        self, argv: Sequence[str], cwd: Path, environment: Mapping[str, str], seconds: int
    ) -> int:
        self.calls.append((list(argv), environment))
        if self.make and "--prefix" in argv:
            lib = Path(argv[argv.index("--prefix") + 1]) / "lib"
            lib.mkdir(parents=True)
            for name in ("liballoc", "liballoc-debug", "liballoc-apart"):
                (lib / f"{name}.so").touch()
                (lib / f"{name}.a").touch()
        return self.status


def make_driver(root: Path, runner: Recorder) -> Driver:
    return Driver(zig.Zig(Path("/z/zig"), zig.VERSION), root, runner, {"HOME": "/h"})


def test_build_says_target_and_place(tmp_path: Path) -> None:
    runner = Recorder()
    make_driver(tmp_path, runner).build("riscv64")
    argv, environment = runner.calls[0]
    place = str(tmp_path / "zig-out" / "riscv64")
    assert argv == ["/z/zig", "build", "--prefix", place, "-Dtarget=riscv64-linux-gnu"]
    assert environment["ZIG_DEBUG_CMD"] == "1"


def test_a_failed_build_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(CheckFailedError, match="exit status 1: zig build"):
        make_driver(tmp_path, Recorder(1)).build("x86_64")


def test_a_build_that_makes_nothing_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(CheckFailedError, match=r"liballoc\.so is missing"):
        make_driver(tmp_path, Recorder(make=False)).build("x86_64")


def test_tests_and_formatting(tmp_path: Path) -> None:
    runner = Recorder()
    made = make_driver(tmp_path, runner)
    made.test()
    made.check_format(["zig"])
    assert [argv[1:] for argv, _ in runner.calls] == [["build", "test"], ["fmt", "--check", "zig"]]


def test_the_real_runner_ends_what_hangs(tmp_path: Path) -> None:
    run = driver.run_process
    assert run([sys.executable, "-c", "raise SystemExit(7)"], tmp_path, {}, 60) == 7
    with pytest.raises(CheckFailedError, match="no end after 1 s"):
        run([sys.executable, "-c", "import threading; threading.Event().wait()"], tmp_path, {}, 1)


def test_the_root_is_found_upwards(root: Path, tmp_path: Path) -> None:
    assert driver.find_root(root / "tests" / "unit") == root
    with pytest.raises(UsageError, match="in no checkout"):
        driver.find_root(tmp_path)
