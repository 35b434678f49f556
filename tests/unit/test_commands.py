"""liballoc.commands: build, config and elf, without a compiler."""

from __future__ import annotations

import argparse
import json
import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from liballoc import cli
from liballoc.commands import build, config, elf
from liballoc.elf.finding import Finding
from liballoc.errors import UsageError
from liballoc.toolchain import variants, zig
from liballoc.toolchain.driver import Driver


def parse(command: ModuleType, *argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.prepare_parser(parser)
    return parser.parse_args(argv)


class Recorder:
    """A runner that makes what a build would make."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[list[str]] = []

    def __call__(
        self, argv: Sequence[str], cwd: Path, environment: Mapping[str, str], seconds: int
    ) -> int:
        self.calls.append(list(argv[1:]))
        for variant in variants.all_variants():
            for path in (variant.shared(self.root), variant.static(self.root)):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return 0

    def driver(self) -> Driver:
        """A driver that runs nothing."""
        return Driver(zig.Zig(Path("/z/zig"), zig.VERSION), self.root, self, {"HOME": "/h"})


@pytest.mark.parametrize(
    ("flags", "targets"),
    [
        ([], ["x86_64"]),
        (["--architecture", "aarch64"], ["aarch64"]),
        (["--all"], ["x86_64", "aarch64", "riscv64"]),
    ],
)
def test_build_chooses_architectures(tmp_path: Path, flags: list[str], targets: list[str]) -> None:
    recorder = Recorder(tmp_path)
    assert build.run(parse(build, *flags), recorder.driver()) == 0
    assert [call[-1] for call in recorder.calls] == [f"-Dtarget={t}-linux-gnu" for t in targets]


def test_build_runs_tests_and_formatting(tmp_path: Path) -> None:
    (tmp_path / "build.zig").touch()
    recorder = Recorder(tmp_path)
    build.run(parse(build, "--test"), recorder.driver())
    build.run(parse(build, "--check-format"), recorder.driver())
    assert recorder.calls == [["build", "test"], ["fmt", "--check", "build.zig"]]


def test_config_is_shown_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "build.zig").touch()
    library = variants.Variant("debug", "x86_64").shared(tmp_path)
    library.parent.mkdir(parents=True)
    library.touch()
    monkeypatch.chdir(tmp_path)
    assert config.run(parse(config, "--json")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["zig_version"] == zig.VERSION
    assert document["built"] == {"debug-x86_64": str(library)}
    assert config.run(parse(config)) == 0
    assert "built debug-x86_64" in capsys.readouterr().out


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in which all is built, as config sees it from another folder."""
    (tmp_path / "build.zig").touch()
    Recorder(tmp_path)([], tmp_path, {}, 1)
    (tmp_path / "zig-out" / "include").mkdir()
    (tmp_path / "zig-out" / "include" / "alloc.h").touch()
    monkeypatch.setattr(config, "__file__", str(tmp_path / "harness" / "config.py"))
    monkeypatch.chdir("/")
    return tmp_path / "zig-out"


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (["--cflags"], "-I{0}/include"),
        (["--libs"], "-L{0}/lib -lalloc -Wl,-rpath,{0}/lib"),
        (["--libs", "--static"], "{0}/lib/liballoc.a"),
        (["--libs", "--apart"], "-L{0}/lib -lalloc-apart -Wl,-rpath,{0}/lib"),
        (["--apart", "--libs", "--static"], "{0}/lib/liballoc-apart.a"),
        (["--libs", "--cflags"], "-I{0}/include -L{0}/lib -lalloc -Wl,-rpath,{0}/lib"),
        (["--static", "--cflags", "--libs"], "-I{0}/include {0}/lib/liballoc.a"),
    ],
)
def test_config_prints_one_line_of_flags(
    checkout: Path, capsys: pytest.CaptureFixture[str], asked: list[str], given: str
) -> None:
    assert config.run(parse(config, *asked)) == 0
    assert capsys.readouterr().out == given.format(checkout) + "\n"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--static"], "give both"),
        (["--static", "--cflags"], "give both"),
        (["--apart"], "--apart says which"),
        (["--apart", "--cflags"], "give both"),
        (["--json", "--libs"], "--json is not for"),
    ],
)
def test_config_refuses_flags_that_say_nothing(checkout: Path, asked: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        config.run(parse(config, *asked))


def test_config_names_what_is_not_built(checkout: Path) -> None:
    (checkout / "lib" / "liballoc.a").unlink()
    assert config.run(parse(config, "--libs")) == 0
    with pytest.raises(UsageError, match=r"liballoc\.a is missing"):
        config.run(parse(config, "--libs", "--static"))
    (checkout / "include" / "alloc.h").unlink()
    with pytest.raises(UsageError, match=r"alloc\.h is missing"):
        config.run(parse(config, "--cflags"))


@pytest.mark.parametrize("name", ["a b", "a'b", "a$b", "a,b"])
def test_config_refuses_a_path_that_the_shell_would_split(tmp_path: Path, name: str) -> None:
    library = tmp_path / name / "lib" / "liballoc.so"
    library.parent.mkdir(parents=True)
    library.touch()
    with pytest.raises(UsageError, match=r"no path for \$"):
        config.flags(tmp_path / name, cflags=False, libs=True, static=False, apart=False)


def test_elf_built_takes_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing is built"):
        elf.built(tmp_path)
    Recorder(tmp_path)([], tmp_path, {}, 1)
    found = elf.built(tmp_path)
    assert len(found) == 9
    assert sum(with_fast_path for _, with_fast_path in found) == 3


def test_elf_findings_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(elf, "check", lambda *_: [Finding("a rule", ""), Finding("other", "bad")])
    assert elf.run(parse(elf, "x.so", "--golden", str(tmp_path))) == 1
    assert "other" in capsys.readouterr().out
    monkeypatch.setattr(elf, "check", lambda *_: [Finding("a rule", "")])
    assert elf.run(parse(elf, "x.so", "--golden", str(tmp_path))) == 0


def test_the_package_runs_as_a_module(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["liballoc", "--version"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("liballoc", run_name="__main__")
    assert end.value.code == 0
    assert "liballoc" in capsys.readouterr().out
    assert cli.main(["build", "--architecture", "z80"]) == 2
