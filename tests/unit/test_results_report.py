"""liballoc.results and liballoc.report."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from liballoc.errors import UsageError
from liballoc.report.table import make_console, print_table
from liballoc.results.store import check_target, make_folder, write_json


def test_json_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    make_folder(path.parent)
    write_json(path, {"x": 1})
    write_json(path, {"x": 2})
    assert json.loads(path.read_text()) == {"x": 2}
    assert [entry.name for entry in path.parent.iterdir()] == ["b.json"]


def test_a_value_that_is_no_json_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    write_json(path, 1)
    with pytest.raises(TypeError):
        write_json(path, {1, 2})
    assert path.read_text() == "1\n"


def test_a_rename_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "full").touch()
    with pytest.raises(OSError, match="folder"):
        write_json(path, 1)
    with pytest.raises(UsageError, match="no regular file"):
        check_target(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("file/b.json", "no such folder"),
        ("none/b.json", "no such folder"),
        # Where not even root makes files.
        ("/proc/b.json", "cannot be written"),
    ],
)
def test_a_place_that_cannot_be_written_is_usage(tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "file").touch()
    for act in (check_target, lambda path: write_json(path, 1)):
        with pytest.raises(UsageError, match=reason):
            act(tmp_path / place)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    with pytest.raises(UsageError, match="cannot be made"):
        make_folder(tmp_path / "file" / "reports")


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="no regular file"):
        check_target(pipe)
    assert pipe.is_fifo()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("0\n")
    link = tmp_path / "link.json"
    link.symlink_to("real.json")
    check_target(link)
    write_json(link, 1)
    assert link.is_symlink()
    assert (tmp_path / "real.json").read_text() == "1\n"


def test_a_table_has_its_cells() -> None:
    out = io.StringIO()
    print_table("Things", ("name", "n"), [("one", "1"), ("FAIL", "[2]")], right=("n",), file=out)
    text = out.getvalue()
    assert "Things" in text
    assert "FAIL" in text
    assert "[2]" in text


def test_an_unknown_width_is_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert make_console(io.StringIO()).width >= 100


def test_a_terminal_keeps_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "77")
    assert make_console(io.StringIO()).width == 77
