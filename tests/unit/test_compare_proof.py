"""liballoc.workload.compare and .proof."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest

from liballoc.errors import CheckFailedError
from liballoc.workload import compare, proof
from liballoc.workload.compare import Behaviour, differences
from liballoc.workload.proof import Gate, Proven
from liballoc.workload.schema import Substitution
from tests.unit.fakes import outcome


def behave(stdout: str = "", **other: object) -> Behaviour:
    return Behaviour((("prog", outcome(stdout, **other)),))  # type: ignore[arg-type]


def test_equal_is_equal() -> None:
    assert differences(behave("a"), behave("a"), ()) == []


@pytest.mark.parametrize(
    ("with_library", "words"),
    [
        (behave("b\n"), "stdout differs:\n-a\n+b"),
        (behave("a\n", stderr="oh"), "stderr differs:\n+oh"),
        (behave("a\n", status=-6, stderr="x\nlast"), "exit status 0 without, -6 with the library"),
        (behave("a"), "only in line ends"),
    ],
)
def test_a_difference_is_told(with_library: Behaviour, words: str) -> None:
    assert any(words in text for text in differences(behave("a\n"), with_library, ()))


def test_a_long_difference_is_cut() -> None:
    text = "".join(f"{n}\n" for n in range(100))
    (found,) = differences(behave(""), behave(text), ())
    assert len(found.splitlines()) == 1 + compare.DIFF_LINES_MAX


def test_other_commands_cannot_be_compared() -> None:
    assert "same commands" in differences(behave(), Behaviour(()), ())[0]


def test_substitutions_are_for_their_stream() -> None:
    pid = Substitution(r"^pid \d+$", "pid N", "stdout")
    assert differences(behave("a\npid 17"), behave("a\npid 18"), (pid,)) == []
    other = Substitution(r"\d+", "N", "stderr")
    assert differences(behave("pid 17"), behave("pid 18"), (other,)) != []
    assert compare.normalise(b"\xff1", "stdout", (Substitution("1", "2"),)) == "\\xff2"


def test_files_are_compared_by_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    one = compare.digest_files(tmp_path, ["a", "b"])
    (tmp_path / "a").write_text("2")
    two = compare.digest_files(tmp_path, ["a", "b"])
    found = differences(Behaviour((), one), Behaviour((), two), ())
    assert found == ["file a differs", "file b was not made"]


def line(**changes: object) -> str:
    entry = {"liballoc": "0.1.0", "pid": 7, "exe": "/bin/ls", "allocations": 5, "frees": 1}
    return json.dumps({**entry, **changes}) + "\n"


def test_stats_prove_what_allocated(tmp_path: Path) -> None:
    path = tmp_path / "stats"
    assert proof.read_stats(path) == []
    path.write_text(line() + line(pid=8, allocations=0))
    assert proof.read_stats(path) == [Proven(7, "/bin/ls", "stats")]


@pytest.mark.parametrize(
    ("text", "words"), [("nonsense\n", "line 1: no JSON"), ('{"pid": 1}\n', "no liballoc, exe")]
)
def test_broken_stats_are_a_failure(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "stats").write_text(text)
    with pytest.raises(CheckFailedError, match=words):
        proof.read_stats(tmp_path / "stats")


def test_maps_name_the_library(tmp_path: Path) -> None:
    folder = tmp_path / "42"
    folder.mkdir()
    (folder / "exe").symlink_to("/usr/bin/thing")
    (folder / "maps").write_text("7f-80 r-xp 0 08:01 12    /lib/liballoc.so\n")
    found = proof.maps_library(42, Path("/lib/liballoc.so"), tmp_path)
    assert found == Proven(42, "/usr/bin/thing", "maps")
    assert proof.maps_library(42, Path("/liballoc.so"), tmp_path) is None
    assert proof.maps_library(43, Path("/lib/liballoc.so"), tmp_path) is None


def test_patterns_match_names_and_links(tmp_path: Path) -> None:
    real = tmp_path / "thing-12"
    real.touch(0o755)
    (tmp_path / "thing").symlink_to(real)
    assert proof.matches(str(real), "thing-*", "")
    assert proof.matches(str(real), "thing", str(tmp_path))
    assert not proof.matches(str(real), "thing", "")
    proven = [Proven(1, str(real), "stats")]
    assert proof.missing_patterns(["thing-12", "other"], proven, "") == ["other"]


def call(path: Path, text: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
        caller.sendall(text)
        return caller.recv(16)


def own_library() -> Path:
    """Something that is surely mapped here."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return Path(
        next(entry.split()[-1] for entry in lines if "libc.so" in entry or "libc-" in entry)
    )


def test_the_gate_looks_at_its_caller(tmp_path: Path) -> None:
    with Gate(tmp_path / "gate", own_library()) as gate:
        assert call(gate.path, b"self\n") == b"ok\n"
        assert call(gate.path, f"{os.getpid()}\n".encode()) == b"ok\n"
    exe = str(Path(sys.executable).resolve())
    assert gate.proven == [Proven(os.getpid(), exe, "maps")] * 2


def test_the_gate_answers_without_a_library_too(tmp_path: Path) -> None:
    with Gate(tmp_path / "gate", None) as gate:
        assert call(gate.path, b"self\n") == b"ok\n"
    assert gate.proven == []


def test_the_gate_proves_nothing_that_is_not_there(tmp_path: Path) -> None:
    with Gate(tmp_path / "gate", Path("/no/such/library.so")) as gate:
        assert call(gate.path, b"self\n") == b"ok\n"
    assert gate.proven == []


def test_path_without_the_virtual_environment() -> None:
    assert proof.clean_path("/v/bin:/usr/bin::/bin", "/v") == "/usr/bin:/bin"
    assert proof.clean_path("/usr/bin", None) == "/usr/bin"
