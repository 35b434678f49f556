"""liballoc.cli: commands, errors as one line, exit statuses."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import tomli

from liballoc import __version__, cli
from liballoc.errors import CheckFailedError, LiballocError, ToolMissingError, UsageError


def make_command(run: Callable[[argparse.Namespace], int]) -> cli.Command:
    command = SimpleNamespace(
        NAME="probe", prepare_parser=lambda _: None, run=run, __doc__="Probe something."
    )
    return cast(cli.Command, command)


def test_every_command_has_what_the_loop_needs() -> None:
    commands = list(cli.load_commands())
    assert {"build", "config", "elf", "smoke"} <= {command.NAME for command in commands}
    for command in commands:
        assert command.__doc__
        assert command.__doc__.splitlines()[0].endswith(".")
        parser = argparse.ArgumentParser()
        command.prepare_parser(parser)


def test_a_command_that_is_not_shipped_is_left_out() -> None:
    assert not list(cli.load_commands(["no_such_command"]))


def test_the_result_is_the_exit_status() -> None:
    assert cli.main(["probe"], [make_command(lambda _: 0)]) == 0
    assert cli.main(["probe"], [make_command(lambda _: 1)]) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LiballocError("x y"), 1),
        (CheckFailedError("x y"), 1),
        (UsageError("x y"), 2),
        (ToolMissingError("x y"), 3),
    ],
)
def test_an_error_is_one_line_and_its_status(
    error: LiballocError, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: argparse.Namespace) -> int:
        raise error

    assert cli.main(["probe"], [make_command(fail)]) == status
    assert capsys.readouterr().err == "liballoc probe: x y\n"


def test_an_error_with_line_ends_is_one_line_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: argparse.Namespace) -> int:
        raise UsageError("no\x1b[2J\nfile")

    assert cli.main(["probe"], [make_command(fail)]) == 2
    assert capsys.readouterr().err == "liballoc probe: no\\x1b[2J\\nfile\n"


def test_an_interrupt_is_130() -> None:
    def interrupted(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    assert cli.main(["probe"], [make_command(interrupted)]) == 130


def test_a_closed_pipe_is_141(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_: argparse.Namespace) -> int:
        raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", SimpleNamespace(close=lambda: None))
    assert cli.main(["probe"], [make_command(closed)]) == 141


def test_bad_flags_are_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["probe", "--nonsense"], [make_command(lambda _: 0)]) == 2
    assert cli.main([], [make_command(lambda _: 0)]) == 2
    assert "usage:" in capsys.readouterr().err


def test_help_and_version_are_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"liballoc {__version__}\n"
    assert cli.main(["--help"]) == 0
    assert "3 a tool is missing" in capsys.readouterr().out


def test_the_version_is_the_projects(root: Path) -> None:
    manifest = (root / "build.zig.zon").read_text()
    assert re.search(rf'^    \.version = "{re.escape(__version__)}",$', manifest, re.MULTILINE)
    project = tomli.loads((root / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "liballoc.__version__"}
