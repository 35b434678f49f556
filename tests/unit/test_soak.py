"""The soak run without the soak program: growth, verdicts, journals, reports and the watcher."""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from liballoc import cli
from liballoc.commands import soak as command
from liballoc.errors import CheckFailedError, ToolMissingError, UsageError
from liballoc.measure import growth, rows, trend
from liballoc.measure.process import look_at
from liballoc.measure.soak import Plan, SoakRun
from liballoc.report import plot
from liballoc.report import soak as report
from liballoc.results.journal import Journal, read_journal
from liballoc.units import MIB
from liballoc.workload.schema import Workload
from liballoc.workload.smoke import Result

Entries = list[dict[str, Any]]
LINE = '{"cycle": 1, "phase": "forks", "seconds": 0.1, "rss": 4096, "mappings": 9, "forks": 2}'
# Loads everywhere and changes nothing: it is there already.
NEUTRAL = Path("libc.so.6")
WORKLOAD = Workload("x", "because", ("x",), 60, (), ())


def phase_entries(value: Callable[[int], Mapping[str, Any]], count: int = 40) -> Entries:
    return [
        {"kind": "phase", "program": "release", "phase": "forks", "cycle": cycle, "forks": cycle,
         "seconds": cycle * 1.0, "rss": 100 * MIB, "mappings": 50,
         "stats": {"bytes_in_use": 1000}, **value(cycle)}
        for cycle in range(count)
    ]  # fmt: skip


def noisy(cycle: int) -> int:
    return 100 * MIB + random.Random(cycle).randrange(20 * MIB)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lambda cycle: {"rss": noisy(cycle)}, ""),
        (lambda cycle: {"rss": noisy(cycle) + min(cycle, 8) * 20 * MIB}, ""),  # warming up
        (lambda cycle: {"rss": noisy(cycle) - cycle * MIB}, ""),
        (lambda cycle: {"rss": 100 * MIB + cycle * 100_000}, ""),  # surely, but under the bound
        (lambda cycle: {"rss": noisy(cycle) + cycle * 2 * MIB}, "resident memory"),
        (lambda cycle: {"mappings": 50 + 2 * cycle}, "mappings"),
        (lambda cycle: {"stats": {"bytes_in_use": 20_000 * cycle}}, "bytes in use"),
        (lambda cycle: {"stats": None}, ""),
    ],
)
def test_growth_is_told_from_noise(value: Callable[[int], Mapping[str, Any]], words: str) -> None:
    summary = growth.summarise(phase_entries(value))
    assert summary.verdict == ("failed" if words else "ok"), summary.reasons
    assert len(summary.reasons) == (1 if words else 0)
    assert words in "".join(summary.reasons)
    assert summary.forks == 39
    assert not summary.too_short


def test_the_worst_phase_is_named() -> None:
    entries = phase_entries(lambda cycle: {"rss": cycle * MIB})
    entries += phase_entries(lambda cycle: {"rss": cycle * 2 * MIB, "phase": "huge"})
    entries += phase_entries(lambda cycle: {"rss": cycle * MIB, "phase": "mild"})
    (reason,) = growth.summarise(entries).reasons
    assert reason.startswith("release: resident memory after 3 of the phases, most after huge")


def test_too_few_cycles_say_nothing() -> None:
    summary = growth.summarise(phase_entries(lambda cycle: {"rss": cycle * 100 * MIB}, count=9))
    assert summary.verdict == "ok"
    assert summary.too_short == ["release"]
    assert "too few cycles" in "\n".join(report.closing_lines(summary))


def test_a_line_through_points_is_found() -> None:
    minutes = [index / 10 for index in range(20)]
    found = trend.fit(minutes, [3 * x + (0.01 if i % 2 else -0.01) for i, x in enumerate(minutes)])
    assert found is not None
    assert found.points == 15
    assert found.slope == pytest.approx(3, abs=0.05)
    assert found.low < 3 < found.high
    flat = trend.fit(minutes, [5.0] * 20)
    assert flat is not None
    assert (flat.low, flat.slope, flat.high) == (0, 0, 0)
    assert trend.fit([1.0] * 20, [2.0] * 20) is None


def test_failures_make_the_verdict() -> None:
    entries: Entries = phase_entries(lambda _: {})
    for state, reasons in (("ok", []), ("FAIL", ["status 1"]), ("FAIL", []), ("cut", ["late"])):
        entries.append(
            {"kind": "workload", "time": 60, "name": "x", "state": state, "reasons": reasons}
        )
    entries.append({"kind": "failure", "time": 120, "reason": "release: killed"})
    summary = growth.summarise(entries)
    assert summary.reasons == ["release: killed", "workload x: status 1", "workload x: failed"]
    assert summary.workloads == {"ok": 1, "FAIL": 2, "cut": 1}
    assert summary.minutes == 2
    assert growth.summarise([]).reasons == ["the soak program reported nothing"]


def test_a_report_in_all_its_forms(tmp_path: Path) -> None:
    entries = phase_entries(lambda cycle: {"mappings": 50 + 3 * cycle})
    entries += phase_entries(lambda cycle: {"program": "debug"}, count=4)
    entries += [
        {"kind": "sample", "time": 1, "process": "a: b", "rss": size, "mappings": 7, "threads": 2}
        for size in (1024, 4096, 2048)
    ]
    summary = growth.summarise(entries)
    assert summary.processes == [growth.ProcessSummary("a: b", 3, (1024, 2048, 4096, 2048),
                                                       (7, 7, 7, 7), 2)]  # fmt: skip
    shown = io.StringIO()
    report.show(summary, shown)
    assert "verdict: failed" in shown.getvalue()
    text = report.as_markdown(summary, "./dev soak", "soak.png")
    assert "| release | forks | 40 | 100 MiB |" in text
    assert "50 / 108 / 167 / 167" in text
    assert "| too short |" in text
    assert "| a: b | 3 | 1.00 KiB | 2.00 KiB | 4.00 KiB | 2.00 KiB | 7 | 7 | 2 |" in text
    document = json.loads(json.dumps(report.as_json(summary, {"seed": 3})))
    assert (document["seed"], document["ok"], document["verdict"]) == (3, False, "failed")
    for some in (entries, []):
        plot.plot_soak(some, tmp_path / "x.png", "x")
        assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_a_journal_is_whole_but_for_its_last_line(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.add({"kind": "a"})
        assert path.read_text() == '{"kind": "a"}\n'
    path.write_text('{"kind": "a"}\n{"kind": "b"')
    assert read_journal(path) == [{"kind": "a"}]
    for bad in ("{\n", "[]\n", "{}\n"):
        path.write_text(bad)
        with pytest.raises(UsageError, match="is no journal"):
            read_journal(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_journal(tmp_path / "none")
    with pytest.raises(UsageError, match="cannot be written"):
        Journal(tmp_path / "none" / "j")


def test_a_look_at_a_process(tmp_path: Path) -> None:
    own = look_at(os.getpid(), Path("/no/library"))
    assert own is not None
    assert own.rss > MIB
    assert own.mappings > 10
    assert own.threads >= 1
    assert not own.has_library
    folder = tmp_path / "7"
    (folder / "task" / "7").mkdir(parents=True)
    (folder / "maps").write_text("1-2 r-xp 0 0:0 1 /x/liballoc.so\n3-4 rw-p 0 0:0 0\n")
    (folder / "statm").write_text("9 2 1 1 0 1 0\n")
    (folder / "comm").write_text("name\n")
    seen = look_at(7, Path("/x/liballoc.so"), tmp_path)
    assert seen is not None
    assert (seen.name, seen.mappings, seen.threads, seen.has_library) == ("name", 2, 1, True)
    (folder / "maps").write_text("")  # a zombie
    assert look_at(7, Path("/x"), tmp_path) is None
    assert look_at(8, Path("/x"), tmp_path) is None


def make_plan(tmp_path: Path, script: str, **changes: Any) -> Plan:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    given: dict[str, Any] = {
        "seed": 1, "seconds": 20, "program": program, "libraries": {"one": NEUTRAL},
        "workloads": (), "interval": 0.01, **changes,
    }  # fmt: skip
    return Plan(**given)


def run_plan(plan: Plan, work: Callable[[Workload], Result] | None = None) -> Entries:
    entries: Entries = []

    def none(workload: Workload) -> Result:
        return Result(workload.name, "ok", "")

    SoakRun(plan, lambda entry: entries.append(dict(entry)), work or none).run()
    return entries


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 0", ""),
        ("echo wrong >&2; exit 1", "one: exit status 1: wrong"),
        ("kill -SEGV $$", "one: killed by SIGSEGV"),
        ("echo 'liballoc: double free' >&2", "one: said liballoc: double free"),
        ("echo '{'", "the watcher ended"),
        ("LD_PRELOAD=/no/library /bin/true", "one: said ERROR: ld.so: object '/no/library'"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_how_a_program_ends(tmp_path: Path, script: str, words: str) -> None:
    entries = run_plan(make_plan(tmp_path, f"echo '{LINE}'\n{script}"))
    assert [entry["phase"] for entry in entries if entry["kind"] == "phase"][:1] in (["forks"], [])
    failures = [entry["reason"] for entry in entries if entry["kind"] == "failure"]
    assert len(failures) == (1 if words else 0)
    assert words in "".join(failures)


def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    entries = run_plan(make_plan(tmp_path, "exec sleep 60", stall=0.05))
    assert [entry["reason"] for entry in entries if entry["kind"] == "failure"] == [
        "one: no progress for 0.05 s"
    ]
    assert any(entry["kind"] == "sample" for entry in entries)


def test_an_interrupt_is_told_and_ends_the_programs(tmp_path: Path) -> None:
    entries: Entries = []

    def interrupt(_: Workload) -> Result:
        raise KeyboardInterrupt

    plan = make_plan(tmp_path, "exec sleep 60", workloads=(WORKLOAD,))
    assert not SoakRun(plan, lambda entry: entries.append(dict(entry)), interrupt).run()
    pids = {entry["pid"] for entry in entries if entry["kind"] == "sample"}
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not [entry for entry in entries if entry["kind"] == "failure"]


def test_rounds_run_in_the_seeds_order_until_a_program_ends(tmp_path: Path) -> None:
    done = tmp_path / "done"
    orders = []
    for _ in range(2):
        order: list[str] = []
        done.unlink(missing_ok=True)

        def work(workload: Workload, order: list[str] = order) -> Result:
            assert workload.seconds <= 20
            order.append(workload.name)
            if len(order) == 12:
                done.touch()
            return Result(workload.name, "FAIL", "", ["why"])

        some = tuple(Workload(name, "", ("x",), 60, (), ()) for name in "abcdef")
        script = f"until test -e {done}; do :; done"
        entries = run_plan(make_plan(tmp_path, script, workloads=some), work)
        assert next(entry["state"] for entry in entries if entry["kind"] == "workload") == "FAIL"
        orders.append(order[:12])
    assert orders[0] == orders[1]
    assert sorted(orders[0][:6]) == list("abcdef") == sorted(orders[0][6:])
    assert orders[0][:6] != orders[0][6:]


def test_what_the_end_cuts_off_is_no_failure(tmp_path: Path) -> None:
    run = SoakRun(
        make_plan(tmp_path, "", seconds=-1), print, lambda workload: Result("x", "ok", "")
    )
    recorded: Entries = []
    run._record = lambda entry: recorded.append(dict(entry))
    run._run_workload = lambda workload: Result("x", "FAIL", "", ["no end after 1 s"])
    run._one(WORKLOAD)
    assert recorded[0]["state"] == "cut"


def test_rows_judge_what_their_programs_print(tmp_path: Path) -> None:
    table = rows.make_rows(Path("/bin/echo"), Path("/bin/echo"), 5)
    storm, churn = table["C23-storm"], table["C67-churn"]
    assert storm.judge("forks 1000\n") == ""
    assert "printed" in storm.judge("forks 3\n")
    assert churn.judge("1000\n") == ""
    assert "over 1.2" in churn.judge("999999\n")
    assert "printed" in churn.judge("x")
    result = rows.run_row(storm, storm.workload, NEUTRAL)
    assert (result.state, result.name) == ("FAIL", "C23-storm")
    assert result.reasons == ["printed 'C23_storm 5 4 2 1000\\n'"]
    missing = rows.Row(Workload("x", "", ("/bin/false",), 9, (), ()), lambda _: "")
    assert rows.run_row(missing, missing.workload, NEUTRAL).reasons == ["exit status 1: "]
    slow = rows.Row(Workload("x", "", ("sleep", "99"), 0.01, (), ()), lambda _: "")
    assert rows.run_row(slow, slow.workload, NEUTRAL).reasons == ["no end in time: "]


def test_a_control_group_is_made_where_one_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "GROUP_PARENTS", (tmp_path / "none", tmp_path))
    with rows.control_group(5) as group:
        assert group is None  # A folder without the files of a control group.
    assert not list(tmp_path.iterdir())


def arguments_of(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.prepare_parser(parser)
    return parser.parse_args(words)


def test_the_command_that_repeats_a_run() -> None:
    plain = arguments_of("--minutes", "2.5")
    assert command.repeat_command(plain, 7) == "./dev soak -- --minutes 2.5 --seed 7"
    words = ("--on", "debug", "--no-workloads", "--leak", "5", "a*")
    assert command.repeat_command(arguments_of(*words), 7) == (
        "./dev soak -- --minutes 60 --seed 7 --leak 5 --on debug --no-workloads 'a*'"
    )
    assert command.program_arguments(arguments_of(*words)) == (
        "--every", "12", "--cycles", "144", "--leak", "5",
    )  # fmt: skip


def test_which_workloads_are_run() -> None:
    found = [
        WORKLOAD,
        Workload("long", "", ("x",), 9, (), (), long=True),
        Workload("slow", "", ("x",), 999, (), ()),
        Workload("index", "", ("x",), 9, (), (), requirements=("a==1",)),
    ]
    assert command.choose_workloads(found, []) == [WORKLOAD]
    assert command.choose_workloads(found, ["slow"]) == [found[2]]
    with pytest.raises(UsageError):
        command.choose_workloads(found, ["none"])


@pytest.mark.parametrize(
    "words",
    [
        ["--minutes", "0"], ["--minutes", "nan"], ["--minutes", "1e9"], ["--minutes", "x"],
        ["--seed", "-1"], ["--leak", "-1"], ["--on", "other"], ["--report", "/no/such/folder"],
    ],
)  # fmt: skip
def test_bad_arguments(root: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.chdir(root)
    assert cli.main(["soak", *words]) == 2


def test_a_missing_compiler_or_package(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    bad = tmp_path / "bad.c"
    bad.write_text("int main(void) { return x; }\n")
    if shutil.which("gcc"):
        with pytest.raises(CheckFailedError, match=r"bad\.c: gcc: "):
            command.compile_program(bad, tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissingError, match="gcc is missing"):
        command.compile_program(bad, tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "scipy", None)
    with pytest.raises(ToolMissingError, match="scipy is missing"):
        command.run(arguments_of("--report", str(tmp_path)))


def test_a_library_that_is_not_built(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such library"):
        command.find_libraries(tmp_path, ["release"])


def test_the_report_can_be_made_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    words = ["soak", "--read", "--report", str(tmp_path)]
    assert cli.main(words) == 2
    with Journal(tmp_path / "samples.jsonl") as journal:
        for entry in phase_entries(lambda _: {}):
            journal.add(entry)
    assert cli.main(words) == 2  # It does not say what was run.
    with Journal(tmp_path / "samples.jsonl") as journal:
        for entry in [{"kind": "run", "command": "./dev soak"}, *phase_entries(lambda _: {})]:
            journal.add(entry)
    assert cli.main(words) == 0
    assert json.loads((tmp_path / "report.json").read_text())["command"] == "./dev soak"
