"""liballoc compare and bench with subjects that run nothing; and one real, short comparison."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import pytest

from liballoc import cli
from liballoc.allocators import registry
from liballoc.commands import bench, compare, measuring
from liballoc.errors import CheckFailedError, ToolMissingError, UsageError
from liballoc.measure.memory import LOOKS_MAX, Sampler, held, resident, steady, thin, tree
from liballoc.measure.process import PAGE_SIZE
from liballoc.measure.record import Item
from liballoc.measure.subject import Command
from liballoc.report import ladder
from liballoc.workload.launch import Outcome, Step, SupervisedExecutor
from tests.unit.measuring import ALLOCATORS, MACHINE, NoWatch, ended, make_executor

ROOT = Path(__file__).parents[2]
COMMANDS = list(cli.load_commands(("compare", "bench")))


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "find_allocators", lambda arguments: list(ALLOCATORS))
    monkeypatch.setattr(measuring, "describe", lambda: MACHINE)


def parse(*words: str) -> argparse.Namespace:
    return cli.build_parser(COMMANDS).parse_args(words)


def subject(behaviour=ended) -> Command:  # type: ignore[no-untyped-def]
    return Command(
        Item("x", "why", "command", "cpu_s"), ("sh",), Path("/"), {"PATH": os.defpath}, 5.0,
        make_executor=make_executor(behaviour), make_watch=NoWatch,
    )  # fmt: skip


def crash_on_peer(step: Step) -> Outcome:
    bad = "peer" in step.environment.get("LD_PRELOAD", "")
    return Outcome(-11, b"", b"", 0.1, 1) if bad else ended(step)


def test_a_comparison_ends_with_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    arguments = parse("compare", "--seed", "7", "--rounds", "6", "--report", str(folder), "--", "x")
    assert compare.run(arguments, [subject()]) == 0
    shown = capsys.readouterr().out
    assert "seed 7; 1 items on glibc 2.36, liballoc 0.1.0, peer 3" in shown
    names = {path.name for path in folder.iterdir()}
    assert {"results.jsonl", "report.json", "report.md", "report.html", "memory.svg"} <= names
    lines = (folder / "results.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 7 * 3
    # The seed is a flag of ours, no argument of the command.
    assert json.loads(lines[0])["command"] == "liballoc compare --rounds 6 --seed 7 -- x"
    # A second one is not written over it; resumed there is nothing left to do.
    with pytest.raises(UsageError, match="is there already"):
        compare.run(arguments, [subject()])
    again = parse("compare", "--resume", "--rounds", "6", "--report", str(folder), "--", "x")
    assert compare.run(again, [subject()]) == 0
    assert len((folder / "results.jsonl").read_text().splitlines()) == 1 + 7 * 3
    assert compare.run(parse("compare", "--read", "--report", str(folder))) == 0


def test_a_crash_under_one_allocator_is_its_row_and_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = parse("compare", "--rounds", "5", "--report", str(tmp_path / "o"), "--", "x")
    assert compare.run(arguments, [subject(crash_on_peer)]) == 1
    assert "x on peer: died by SIGSEGV" in capsys.readouterr().out
    rows = json.loads((tmp_path / "o" / "report.json").read_text())["rows"]
    assert [(row["allocator"], row["state"]) for row in rows] == [
        ("glibc", "ok"), ("liballoc", "ok"), ("peer", "failed"),
    ]  # fmt: skip


def test_nothing_that_works_is_status_1_without_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = parse("compare", "--report", str(tmp_path / "o"), "--", "no-such-program")
    assert compare.run(arguments) == 1
    assert "no-such-program: no such program" in capsys.readouterr().out
    assert not (tmp_path / "o" / "report.html").exists()


def test_an_interrupt_reports_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = 0

    def interrupted(step: Step) -> Outcome:
        nonlocal count
        count += 1
        if count == 20:
            raise KeyboardInterrupt
        return ended(step)

    folder = tmp_path / "o"
    arguments = parse("compare", "--seed", "1", "--report", str(folder), "--", "x")
    assert compare.run(arguments, [subject(interrupted)]) == 0
    assert f"--resume --report {folder} goes on" in capsys.readouterr().out
    assert len((folder / "results.jsonl").read_text().splitlines()) == 1 + 19
    again = parse("compare", "--resume", "--report", str(folder), "--", "x")
    assert compare.run(again, [subject()]) == 0
    assert len((folder / "results.jsonl").read_text().splitlines()) == 1 + 11 * 3


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--rounds", "0", "--", "x"], "--rounds 0"),
        (["--seconds", "0", "--", "x"], "--seconds 0"),
        (["--seconds", "nan", "--", "x"], "--seconds nan"),
        (["--seed", "-1", "--", "x"], "--seed -1"),
        (["--timeout", "0", "--", "x"], "--timeout 0"),
        (["--resume", "--", "x"], "need the folder"),
        (["--read"], "need the folder"),
        (["--read", "--report", "/none"], "cannot be read"),
        (["--resume", "--report", "/none", "--", "x"], "no such file"),
        (["--report", "/proc/none", "--", "x"], "cannot be made"),
        (["--stdin", "/none", "--", "x"], "cannot be read as text"),
        (["--workload", "/none.toml"], "/none.toml"),
        (["--workload", "/none.toml", "--", "x"], "give either"),
        ([], "give either"),
    ],
)
def test_bad_flags(words: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        compare.run(parse("compare", *words))


@pytest.mark.parametrize("words", [["--on", "nope"], ["--peer", "x=/none"], ["--library", "/none"]])
def test_an_allocator_that_is_not_there_leaves_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(registry, "find_peers", lambda: ([], []))
    if "--library" not in words:
        monkeypatch.setattr(registry, "own", lambda path: ALLOCATORS[1])
        words = [*words, "--library", "/x"]
    folder = tmp_path / "a" / "o"
    with pytest.raises(UsageError):
        compare.run(parse("compare", *words, "--report", str(folder), "--", "x"), [subject()])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["report.html", "report.md", "report.json", "memory.svg"])
def test_a_report_that_is_there_is_not_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    words = ["compare", "--rounds", "1", "--report", str(tmp_path), "--", "x"]
    with pytest.raises(UsageError, match=f"{name}: is there already; give another folder"):
        compare.run(parse(*words), [subject()])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ToolMissingError, match="jinja2 is missing"):
        compare.run(parse("compare", "--", "x"))


def test_a_torn_results_file_is_refused_and_left(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"kind": "header", "wh')
    for flag in ("--resume", "--read"):
        words = ["compare", flag, "--report", str(tmp_path)]
        words += ["--", "x"] if flag == "--resume" else []
        assert cli.main(words, COMMANDS) == 2
    assert path.read_text() == '{"kind": "header", "wh'
    assert [each.name for each in tmp_path.iterdir()] == ["results.jsonl"]


def test_the_command_that_is_shown_measures_the_same() -> None:
    shown = compare.command_line(parse("compare", "--on", "x", "--peer", "a=b c", "--", "p", "a b"))
    assert shown == "liballoc compare --rounds 10 --peer 'a=b c' --on x -- p 'a b'"
    shown = compare.command_line(parse("compare", "--workload", "w.toml"))
    assert shown == "liballoc compare --rounds 10 --workload w.toml"
    words = ("--timeout", "5", "--status", "3", "--stdin", "in", "--", "p", "\udcff")
    shown = compare.command_line(parse("compare", *words))
    assert shown == (
        "liballoc compare --rounds 10 --timeout 5 --status 3 --stdin in -- p '\\udcff'"
    )
    shown = bench.command_line(parse("bench", "--full", "--rounds", "3", "a*"))
    assert shown == "./dev bench -- --full --rounds 3 'a*'"
    shown = bench.command_line(
        parse("bench", "--rounds", "3", "--seconds", "9", "--library", "l.so")
    )
    assert shown == "./dev bench -- --rounds 3 --seconds 9 --library l.so"


def test_an_argument_that_is_no_utf_8_has_a_page() -> None:
    item = compare.subjects_of(parse("compare", "--", "p", "\udcff"))[0].item
    assert item.why.encode() == b"p '\\udcff'"


def test_a_workload_file_is_a_subject() -> None:
    file = ROOT / "workloads" / "redis.toml"
    found = compare.subjects_of(parse("compare", "--workload", str(file)))
    assert [each.item.name for each in found] == ["redis"]


LISTED = json.dumps({"profiles": [{"name": "mixed"}, {"name": "ring", "threads_min": 2}]})


def test_what_bench_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "run_quietly", lambda argv: LISTED)
    every, usual = bench.every_subject(ROOT, full=False)
    quick = {subject.item.name for subject in usual}
    assert {"allocbench/mixed", "sqlite3-shell"} <= quick
    assert "allocbench/ring" not in quick
    names = {subject.item.name for subject in bench.choose(every, usual, ["hotpath/*", "redis"])}
    assert {"hotpath/floor", "redis"} < names
    assert bench.choose(every, usual, []) == usual
    with pytest.raises(UsageError, match="nothing is called 'none'"):
        bench.choose(every, usual, ["none"])
    full = {subject.item.name for subject in bench.every_subject(ROOT, full=True)[1]}
    assert full > quick
    assert "allocbench/ring" in full
    monkeypatch.setattr(bench, "run_quietly", lambda argv: "")
    with pytest.raises(ToolMissingError, match="build it with"):
        bench.every_subject(ROOT, full=False)


def test_the_quick_form_has_a_limit_of_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[argparse.Namespace] = []

    def measure(arguments: argparse.Namespace, *rest: object) -> int:
        seen.append(arguments)
        return 0

    monkeypatch.setattr(measuring, "measure", measure)
    for words in ([], ["--full"], ["redis"]):
        bench.run(parse("bench", "--report", str(tmp_path / "o"), *words))
    assert [each.seconds for each in seen] == [140.0, float("inf"), float("inf")]
    assert [each.rounds for each in seen] == [10, 15, 10]


def rung(name: str, score: float) -> dict[str, object]:
    free = {"count": 3, "bytes": 90, "largest": 64, "buckets": [2, 1, 0, 0]}
    return {
        "name": name, "idea": "an idea", "threads": False, "score": score,
        "evidence": {
            "crumbs": {"free": free, "external_pct": 99.0, "unusable_pct": 100.0 - score},
            "internal": {"internal_pct": 4.4},
            "search": [{"live": 100, "ns_per_pair": 7.7}, {"live": 1000, "ns_per_pair": 96.0}],
        },
    }  # fmt: skip


def test_the_ladder_is_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    core = rung("core", 60.0)
    core["evidence"]["crumbs"] = {"free": None, "unusable_pct": None}  # type: ignore[index]
    document = {"bucket_from_bytes": 16, "formula": "f", "rungs": [rung("bump", 40.0), core]}
    arguments = parse("bench", "--ladder", "--report", str(tmp_path / "l"))
    monkeypatch.setattr(bench, "run_quietly", lambda argv: json.dumps(document))
    assert bench.run(arguments) == 0
    page = (tmp_path / "l" / "ladder.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 4
    assert "bump" in capsys.readouterr().out
    for text, error in (
        ("", ToolMissingError), ("x", CheckFailedError), ('{"rungs": [{}]}', CheckFailedError),
    ):  # fmt: skip
        monkeypatch.setattr(bench, "run_quietly", lambda argv, text=text: text)
        with pytest.raises(error):
            bench.run(arguments)


def test_what_a_rung_does_not_know_is_not_drawn_as_nothing() -> None:
    unknown, none = rung("core", 60.0), rung("core", 60.0)
    unknown["evidence"]["crumbs"]["unusable_pct"] = None  # type: ignore[index]
    none["evidence"]["crumbs"]["unusable_pct"] = 0.0  # type: ignore[index]
    assert ladder.fragmentation([none]).svg == ladder.fragmentation([none]).svg
    assert ladder.fragmentation([unknown]).svg != ladder.fragmentation([none]).svg


def test_find_allocators(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(registry, "find_peers", lambda: ([ALLOCATORS[2]], ["y is not installed"]))
    monkeypatch.setattr(registry, "own", lambda path: ALLOCATORS[1])
    arguments = parse("compare", "--library", "/x", "--on", "liballoc", "--", "x")
    assert [each.name for each in measuring.find_allocators(arguments)] == ["glibc", "liballoc"]
    assert capsys.readouterr().out == "y is not installed\n"


def test_a_real_process_is_measured_and_inspected(tmp_path: Path) -> None:
    code = "x = bytearray(b'x' * (64 << 20)); import time; time.sleep(0.2)"
    real = Command(
        Item("x", "why", "command", "cpu_s"), (sys.executable, "-I", "-S", "-c", code), tmp_path,
        dict(os.environ), 60.0, make_executor=SupervisedExecutor,
    )  # fmt: skip
    probe, run = real.run(ALLOCATORS[0], 0), real.run(ALLOCATORS[0], 1)
    assert (probe.state, probe.note) == ("ok", "")
    assert run.state == "ok"
    assert 64 << 20 < run.values["peak_bytes"] < 200 << 20
    assert run.values["minor_faults"] > (64 << 20) / 65536
    assert run.values["cpu_s"] > 0
    assert run.values["wall_s"] >= 0.2
    assert run.values["steady_bytes"] > 64 << 20
    assert max(size for _, size in run.series) <= run.values["peak_bytes"]


def test_the_sampler_sees_a_tree_and_ends(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    step = Step(["sh", "-c", f"sleep 1000 & echo >{ready}; wait"], {"PATH": os.defpath}, tmp_path)
    running = SupervisedExecutor(tmp_path / "steps").start(step)
    ready.read_text()
    assert len(list(tree(running.supervisor))) == 2
    assert all(resident(pid) > 0 for pid in tree(running.supervisor))
    # The supervisor, and its copy before the exec, is not the program.
    assert resident(running.supervisor) == 0
    watch = Sampler(running.supervisor, 0.001)
    running.wait(0)
    watch.stop()
    assert list(tree(1 << 30)) == []


def fake_process(proc: Path, pid: int, rollup: str | None) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "statm").write_text("100 25 1\n")
    (folder / "cmdline").write_text("server\0")
    if rollup is not None:
        (folder / "smaps_rollup").write_text(rollup)


def test_pages_that_several_processes_share_count_once(tmp_path: Path) -> None:
    rollup = "0-1 ---p [rollup]\nRss: 100 kB\nPss: 60 kB\nPss_Anon: 1 kB\n"
    for pid, text in ((1, rollup), (2, rollup), (3, None)):
        fake_process(tmp_path, pid, text)
    rss = 25 * PAGE_SIZE
    assert held([1], tmp_path) == rss
    assert held([1, 2], tmp_path) == 2 * 60 << 10
    # One that may not be read counts as a whole, one that is gone not at all.
    assert held([1, 3], tmp_path) == (60 << 10) + rss
    assert held([1, 4], tmp_path) == 60 << 10
    assert held([], tmp_path) == 0


def test_a_fork_does_not_double_what_it_has_not_copied(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    code = (
        "import os, time; x = b'x' * (64 << 20); pid = os.fork()\n"
        f"if not pid: open({str(ready)!r}, 'w').close(); time.sleep(1000)\n"
        "os.wait()"
    )
    step = Step([sys.executable, "-I", "-S", "-c", code], {"PATH": os.defpath}, tmp_path)
    running = SupervisedExecutor(tmp_path / "steps").start(step)
    ready.read_text()
    pids = list(tree(running.supervisor))
    assert len(pids) == 2
    assert sum(resident(pid) for pid in pids) > 128 << 20
    assert 64 << 20 < held(pids) < 100 << 20
    running.wait(0)


def test_series_are_thinned_and_steady_states_found() -> None:
    assert thin([(0, 1), (1, 2), (2, 3)]) == [(0, 1), (2, 3)]
    assert steady([]) is None
    assert steady([(0.0, 5)] * 3) is None
    assert steady([(float(n), n) for n in range(40)]) == 29.5
    assert LOOKS_MAX % 2 == 0
