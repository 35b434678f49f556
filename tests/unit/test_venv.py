"""liballoc.workload.venv: made once, made again when interrupted, one line when it fails."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from liballoc.errors import ToolMissingError
from liballoc.workload.venv import Venvs, run_quietly


class Recorder:
    """Makes the folder of an environment and answers as it was told."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.calls: list[Sequence[str]] = []

    def __call__(self, argv: Sequence[str]) -> str:
        self.calls.append(argv)
        if argv[1:3] == ["-m", "venv"]:
            Path(argv[3]).mkdir(parents=True)
        return self.answers.pop(0) if self.answers else ""


def test_it_is_made_once(tmp_path: Path) -> None:
    recorder = Recorder()
    venvs = Venvs(tmp_path / "v", recorder)
    python = venvs.python_with(["a==1", "b==2"])
    assert python == venvs.python_with(["b==2", "a==1"])
    assert [call[2] for call in recorder.calls] == ["venv", "pip"]
    assert recorder.calls[1][0] == python
    assert recorder.calls[1][-2:] == ["a==1", "b==2"]
    assert venvs.python_with(["a==2", "b==2"]) != python


def test_a_failure_is_its_last_line_and_is_tried_again(tmp_path: Path) -> None:
    recorder = Recorder("", "no network")
    venvs = Venvs(tmp_path / "v", recorder)
    with pytest.raises(ToolMissingError, match="a==1 cannot be had: no network"):
        venvs.python_with(["a==1"])
    venvs.python_with(["a==1"])
    assert len(recorder.calls) == 4


def test_commands_are_run_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_quietly([sys.executable, "-c", "print('x')"]) == ""
    text = "import sys; print('one'); sys.exit('two')"
    assert run_quietly([sys.executable, "-c", text]) == "two"
    assert run_quietly([sys.executable, "-c", "import sys; sys.exit(3)"]) == "exit status 3"
    assert capfd.readouterr().out == ""


def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("liballoc.workload.venv.INSTALL_TIMEOUT_S", 0.1)
    sleeping = "import time; time.sleep(99)"
    assert run_quietly([sys.executable, "-c", sleeping]) == "no end after 0.1 s"
