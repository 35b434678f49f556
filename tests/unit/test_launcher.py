"""./liballoc: the command from any folder, with nothing added to the environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(command: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [command, *arguments], cwd=folder, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_through_a_link_from_another_folder(tmp_path: Path) -> None:
    link = tmp_path / "liballoc"
    link.symlink_to(ROOT / "liballoc")
    done = run(link, "run", "--", "/bin/sh", "-c", "pwd; env; exit 3", folder=tmp_path)
    assert done.returncode == 3, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == str(tmp_path)
    assert f"LD_PRELOAD={ROOT / 'zig-out' / 'lib' / 'liballoc.so'}" in lines
    assert not [line for line in lines if line.startswith("PYTHONPATH")]


def test_usage_is_the_command_s() -> None:
    done = run(ROOT / "liballoc", "no-such-command", folder=ROOT)
    assert done.returncode == 2
    assert "invalid choice: 'no-such-command'" in done.stderr
