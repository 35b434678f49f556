"""The soak run for a few cycles, for real: it ends well, and a leak or a wrong byte turns it red.

SOAK_MINUTES in the environment makes the first run longer; `nox -s soak` is the full form.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from liballoc import cli
from tests.native import ROOT

MINUTES = os.environ.get("SOAK_MINUTES", "0.3")


def run(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = ["soak", "--seed", "9", "--report", str(folder), *arguments]
    status = cli.main(command)
    return status, json.loads((folder / "report.json").read_text())


@pytest.fixture(autouse=True)
def in_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_a_short_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, report = run(tmp_path, "--minutes", MINUTES, "ls", "bash")
    shown = capsys.readouterr().out
    assert (status, report["verdict"], report["reasons"]) == (0, "ok", []), shown
    assert {phase["program"] for phase in report["phases"]} == {"release", "debug"}
    assert len(report["phases"]) == 16
    assert not report["too_short"]
    assert report["forks"] >= 2 * 12 * 48
    assert "repeat with: ./dev soak -- --minutes" in shown
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")
    assert "# Soak run: ok" in (tmp_path / "report.md").read_text()


def test_a_leak_turns_it_red(tmp_path: Path) -> None:
    few = ("--minutes", "0.02", "--on", "release", "--no-workloads")
    status, report = run(tmp_path, *few, "--leak", "4000000")
    assert (status, report["verdict"]) == (1, "failed")
    assert any("bytes in use after 8 of the phases" in reason for reason in report["reasons"])


def test_wrong_contents_turn_it_red(tmp_path: Path) -> None:
    few = ("--minutes", "0.02", "--on", "release", "--no-workloads")
    status, report = run(tmp_path, *few, "--corrupt", "1")
    assert (status, report["verdict"]) == (1, "failed")
    assert any("wrong contents" in reason for reason in report["reasons"])


def test_an_interrupt_ends_with_the_report(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "liballoc", "soak", "--minutes", "60", "--no-workloads"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "harness")}
    with subprocess.Popen(
        [*command, "--report", str(tmp_path)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        # A shell's background jobs, and so their children, ignore the signal of Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        samples = tmp_path / "samples.jsonl"
        while not (samples.exists() and '"survivors"' in samples.read_text()):
            assert process.poll() is None, "it ended by itself"
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        shown = process.stdout.read()
    assert process.returncode == 0, shown
    assert "interrupted: this is what was run" in shown
    assert json.loads((tmp_path / "report.json").read_text())["verdict"] == "ok"
    pids = {
        json.loads(line)["pid"]
        for line in samples.read_text().splitlines()
        if '"kind": "sample"' in line
    }
    assert pids
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
