"""liballoc order-book with programs that only say what they would print; and one real build."""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from liballoc import cli
from liballoc.allocators.registry import Allocator
from liballoc.commands import order_book as command
from liballoc.errors import CheckFailedError, ToolMissingError, UsageError
from liballoc.measure import order_book as measured
from liballoc.measure.order_book import MALLOC, POOL, RANKS, Contender, Plan
from liballoc.report import order_book as report
from tests.unit.fakes import write_library

LIBRARY = Path("/nowhere/liballoc.so")
CONTENDERS = (
    Contender("malloc", MALLOC, Allocator("")),
    Contender("pool", POOL, Allocator("")),
    Contender("liballoc's malloc", MALLOC, Allocator("liballoc", LIBRARY)),
)
CALLS = ("order_alloc", "order_free", "scratch_alloc", "scratch_reset")
Program = tuple[str, bool]
PROGRAMS: dict[Program, Path] = {
    (memory, timed): Path(f"/{memory}{'-timed' if timed else ''}")
    for memory in (MALLOC, POOL)
    for timed in (False, True)
}


def latencies(base: float) -> dict[str, Any]:
    ranks = {rank: base + place for place, rank in enumerate(RANKS)}
    return {"count": 4, **ranks, "ticks": [[20, 20, 3], [5000, 5119, 1]]}


class Programs:
    """Stands for the programs; `changed` gives what a run prints otherwise."""

    def __init__(self, **changed: Any) -> None:
        self.changed = changed
        self.argvs: list[Sequence[str]] = []

    def __call__(self, argv: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
        self.argvs.append(argv)
        memory, _, timed = argv[0].removeprefix("/").partition("-")
        base = 10.0 * len(self.argvs)
        calls = CALLS if timed else ("request",)
        document: dict[str, Any] = {
            "orders": 4, "seed": 1, "memory": memory, "digest": "ab", "trades": 2, "quantity": 9,
            "malloc_from": environment.get("LD_PRELOAD", "/lib/libc.so.6"),
            "live": 1, "statuses": {"filled": 4}, "elapsed_ns": 5,
            "timer": {"source": "tsc", "hz": 2_000_000_000, "step_ticks": 20,
                      "subtracted_ticks": 40},
            "latencies": {call: latencies(base) for call in calls},
        }  # fmt: skip
        if self.changed.get("only", memory) == memory:
            document.update({k: v for k, v in self.changed.items() if k != "only"})
        return document


def plan(rounds: int = 3) -> Plan:
    return Plan(PROGRAMS, CONTENDERS, 4, 1, rounds, {})


def test_everyone_takes_turns_in_every_round() -> None:
    programs = Programs()
    shown = measured.measure(plan(), programs, random.Random(1))
    assert len(programs.argvs) == 3 * 6
    for begin in (0, 6, 12):
        names = sorted(argv[0] for argv in programs.argvs[begin : begin + 6])
        assert names == ["/malloc"] * 2 + ["/malloc-timed"] * 2 + ["/pool", "/pool-timed"]
    orders = [[argv[0] for argv in programs.argvs[begin : begin + 6]] for begin in (0, 6, 12)]
    assert orders[0] != orders[1] or orders[1] != orders[2]
    assert programs.argvs[0][1:] == ["--orders", "4", "--seed", "1", "--json"]
    assert [each.malloc_from for each in shown] == ["/lib/libc.so.6"] * 2 + [str(LIBRARY)]
    assert all(len(each.calls["request"].rounds) == 3 for each in shown)
    assert shown[1].calls["order_free"].nanoseconds == {10.0: 9, 2500.0: 3}


def test_a_rank_is_the_median_of_rounds_but_for_the_largest() -> None:
    found = measured.Latencies([{"p50": 1.0, "max": 9.0}, {"p50": 3.0, "max": 7.0},
                                {"p50": 8.0, "max": 5.0}])  # fmt: skip
    assert (found.rank("p50"), found.rank("max")) == (3.0, 9.0)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"digest": "cd", "only": POOL}, "malloc and pool traded differently"),
        ({"trades": 3, "only": POOL}, "malloc and pool traded differently"),
        ({"memory": "malloc"}, "pool: ran with memory from malloc"),
        (
            {"malloc_from": "/lib/libc.so.6"},
            "came from /lib/libc.so.6, not /nowhere/liballoc",
        ),
        ({"timer": {}}, "lacks something: KeyError('hz')"),
        ({"latencies": {"request": {}}}, "lacks something"),
        ({"latencies": None}, "lacks something"),
    ],
)
def test_what_a_run_must_not_print(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckFailedError) as caught:
        measured.measure(plan(1), Programs(**changed), random.Random(1))
    assert words in str(caught.value)


def test_two_runs_of_one_that_differ_are_seen() -> None:
    shown = measured.Shown(CONTENDERS[0])
    measured.add(shown, Programs()(["/malloc"], {}))
    with pytest.raises(CheckFailedError, match="malloc: two runs traded differently"):
        measured.add(shown, Programs(digest="cd")(["/malloc"], {}))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("print('{}')", ""),
        ("print('no')", "printed no JSON"),
        ("import sys; sys.exit('after request 3: no memory')", "exit status 1: after request 3"),
    ],
)
def test_a_program_prints_one_object(script: str, words: str) -> None:
    argv = [sys.executable, "-c", script]
    if not words:
        assert measured.run_program(argv, {}) == {}
        return
    with pytest.raises(CheckFailedError, match=words):
        measured.run_program(argv, {})


def test_a_program_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "SECONDS_MAX", 0.1)
    with pytest.raises(CheckFailedError, match=r"no end after 0\.1 s"):
        measured.run_program([sys.executable, "-c", "import time; time.sleep(60)"], {})


def test_it_is_built_for_each_memory(root: Path, tmp_path: Path) -> None:
    stub = tmp_path / "stub.c"
    names = ("pool_create", "pool_alloc", "pool_free", "pool_destroy", "arena_create",
             "arena_alloc", "arena_reset", "arena_destroy")  # fmt: skip
    stub.write_text("".join(f"void hft_{name}(void) {{}}\n" for name in names))
    library = tmp_path / "liballoc.so"
    subprocess.run(["gcc", "-shared", "-o", library, stub], check=True)
    programs = measured.build(root, library, tmp_path)
    assert set(programs) == set(PROGRAMS)
    argv = [str(programs[MALLOC, False]), "--orders", "100", "--json"]
    assert measured.run_program(argv, {})["memory"] == MALLOC
    (tmp_path / "empty.c").touch()
    empty = tmp_path / "empty.so"
    subprocess.run(["gcc", "-shared", "-o", empty, tmp_path / "empty.c"], check=True)
    with pytest.raises(CheckFailedError, match="hft_arena_alloc"):
        measured.build(root, empty, tmp_path)


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ToolMissingError, match="gcc is missing"):
        measured.build(tmp_path, tmp_path, tmp_path)


def parse(*words: str) -> argparse.Namespace:
    return cli.build_parser(list(cli.load_commands(("order_book",)))).parse_args(
        ["order-book", *words]
    )


@pytest.fixture
def fake_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing is compiled; the library is a file that could be preloaded."""
    library = tmp_path / "liballoc.so"
    write_library(library)
    monkeypatch.setattr(measured, "build", lambda root, library, folder: PROGRAMS)
    real = measured.measure
    monkeypatch.setattr(measured, "measure", lambda plan: real(plan, Programs()))
    return library


def test_the_table_and_the_histograms(
    fake_build: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # No cell is broken.
    target = tmp_path / "plot.svg"
    words = ("--library", str(fake_build), "--rounds", "3", "--plot", str(target))
    assert command.run(parse(*words, "--peer", f"own={fake_build}")) == 0
    text = capsys.readouterr().out
    assert "4 requests of seed 1: 2 trades, digest ab, the same with each of these:" in text
    assert "  malloc: malloc of /lib/libc.so.6\n" in text
    assert "  pool: orders from hft_pool_alloc" in text
    assert f"  own's malloc: malloc of {fake_build}\n" in text
    assert "an order allocated" in text
    assert "20.0 ns (median), is subtracted; it moves in steps of 10.0 ns." in text
    assert target.read_text().startswith("<?xml")
    assert text.endswith(f"histograms: {target}\n")


def test_the_json_is_one_object(
    fake_build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "plot.png"
    words = ("--library", str(fake_build), "--rounds", "2", "--json", "--plot", str(target))
    assert command.run(parse(*words)) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["digest"], found["trades"], found["rounds"]) == ("ab", 2, 2)
    assert found["timer"] == {"source": "tsc", "step_ns": 10.0, "subtracted_ns": 20.0}
    assert [each["name"] for each in found["contenders"]] == ["malloc", "pool", "liballoc's malloc"]
    for each in found["contenders"]:
        assert set(each["latency_ns"]) == {"request", *CALLS}
        assert each["raw_ns"]["request"] == [[10.0, 6], [2500.0, 2]]
    assert target.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--orders", "0"), "--orders 0: is not from 1 to 100000000"),
        (("--orders", "100000001"), "--orders 100000001: is not"),
        (("--seed", "-1"), "--seed -1: is not"),
        (("--rounds", "0"), "--rounds 0: is not from 1 to 1000"),
        (("--plot", "x.pdf"), "--plot x.pdf: is neither .svg nor .png"),
        (("--plot", "/nowhere/x.svg"), "/nowhere/x.svg: no such folder"),
        (("--peer", "x"), "'x' is not NAME=PATH"),
    ],
)
def test_bad_flags_are_refused(words: tuple[str, ...], reason: str, fake_build: Path) -> None:
    with pytest.raises(UsageError) as caught:
        command.run(parse("--library", str(fake_build), *words))
    assert reason in str(caught.value)


def test_a_plot_needs_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ToolMissingError, match="matplotlib is missing"):
        command.run(parse("--plot", str(tmp_path / "x.svg")))


def test_bins_are_no_narrower_than_the_timer_moves() -> None:
    bins = report.grouped({20.0: 5, 30.0: 7, 40.0: 1, 1000.0: 2}, 10.0)
    assert bins[:3] == [(15.0, 5), (25.0, 7), (35.0, 1)]
    assert sum(count for _, count in bins) == 15
    assert bins[-1][1] == 0
    assert bins[-2][1] == 2
    widths = [after[0] - before[0] for before, after in itertools.pairwise(bins)]
    assert min(widths) >= 10.0
    assert report.grouped({}, 10.0) == []
