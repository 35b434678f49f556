"""From runs to the report: results files, summaries, tables, plots and the page."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from liballoc.errors import CheckFailedError, UsageError
from liballoc.measure.record import FAILED, OK, SKIPPED, Run, as_entry, read_run
from liballoc.measure.selfmeasured import cases, parse_allocbench, parse_case, profiles
from liballoc.measure.summary import PEAK, TIME, WALL, Summary, summarise
from liballoc.report import figures, measured, page
from liballoc.results.runs import ResultsFile, read
from liballoc.units import format_duration
from tests.unit.measuring import PHASES, header, item, runs

A, B = item("a"), item("allocbench/b", "alloc_ns")

finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(
    st.text(), st.dictionaries(st.text(), finite), st.lists(st.tuples(finite, st.integers(0))),
    st.integers(0, 99),
)  # fmt: skip
def test_a_run_comes_back_from_its_line(
    text: str, values: dict[str, float], series: list[tuple[float, int]], number: int
) -> None:
    phases = [(text, at, float(size)) for at, size in series]
    run = Run(text, "x", number, OK, text, text, values, series, values, phases, text)
    assert read_run(json.loads(json.dumps(as_entry(run)))) == run


def test_every_run_is_in_the_file_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    made = runs(A, rounds=2)
    with ResultsFile(path, header(A), resume=False) as file:
        for count, run in enumerate(made, 1):
            file.add(run)
            assert len(read(path)[1]) == count
    assert read(path) == (dataclasses.replace(header(A), items=[A]), made)


def test_a_resumed_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    made = runs(A, rounds=2)
    with ResultsFile(path, header(A), resume=False) as file:
        file.add(made[0])
    with ResultsFile(path, header(A), resume=True) as file:
        assert file.done == [made[0]]
        file.add(made[1])
    assert read(path)[1] == made[:2]
    before = path.read_bytes()
    with pytest.raises(UsageError, match="is there already; --resume"):
        ResultsFile(path, header(A), resume=False)
    with pytest.raises(UsageError, match="it is of other items"):
        ResultsFile(path, header(A, B), resume=True)
    other = dataclasses.replace(header(A), machine={**header(A).machine, "cpus": 64})
    with pytest.raises(UsageError, match=r"of other machine\.cpus: 2, now 64"):
        ResultsFile(path, other, resume=True)
    assert path.read_bytes() == before


HEAD = json.dumps(header(A).as_entry()) + "\n"
LINE = json.dumps(as_entry(Run("x", "glibc", 1, "ok", values={"cpu_s": 0.5}))) + "\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cut short"),
        (HEAD[:-9], "cut short"),
        (HEAD + '{"kind": "run", "item"', "cut short"),
        (HEAD + "{}\n", "line 2: is no run"),
        (HEAD + "[1]\n", "line 2: is no run"),
        (HEAD + '{"kind": "run", "item": "x"}\n', "line 2: is no run"),
        (HEAD + '{"kind": "run", "new": "x"}\n', "line 2: is no run"),
        (HEAD + LINE.replace("0.5", '"x"'), "line 2: is no run"),
        (HEAD + LINE.replace("0.5", "NaN"), "line 2: is no run"),
        (HEAD + LINE.replace('{"cpu_s": 0.5}', "7"), "line 2: is no run"),
        (HEAD + LINE.replace('"round": 1', '"round": "1"'), "line 2: is no run"),
        (HEAD + LINE.replace('"ok"', '"fine"'), "line 2: is no run"),
        (HEAD.replace('"name": "glibc"', '"nome": "glibc"'), "its header lacks"),
        (HEAD.replace('"seed": 1', '"seed": "1"'), "its header lacks"),
        ("hello\n", "is no results file"),
        ('{"kind": "header"}\n', "is no results file"),
        (HEAD.replace('"format": 2', '"format": 1'), "is of version 1, this reads version 2"),
        (HEAD.replace('"seed"', '"sead"'), "its header lacks"),
        (HEAD.replace('"items"', '"itens"'), "its header lacks"),
    ],
)
def test_a_file_that_cannot_be_used_is_left_as_it_is(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    for act in (lambda: read(path), lambda: ResultsFile(path, header(A), resume=True)):
        with pytest.raises(UsageError, match=reason):
            act()
    assert path.read_text() == text


def test_a_file_that_is_not_text_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with pytest.raises(UsageError, match="cannot be read"):
        read(path)
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(UsageError, match="not UTF-8"):
        read(path)


def cell_ratio(summary: Summary, item_name: str, allocator: str, metric: str) -> float:
    row = summary.row(item_name, allocator)
    assert row is not None
    ratio = row.cells[metric].ratio
    assert ratio is not None
    return ratio.value


def test_a_summary_finds_what_the_runs_were_made_of() -> None:
    summary = summarise(header(A, B), runs(A, B))
    assert cell_ratio(summary, "a", "liballoc", TIME) == pytest.approx(0.5, rel=0.02)
    assert cell_ratio(summary, "allocbench/b", "peer", PEAK) == 2
    mean = summary.mean("liballoc", TIME)
    assert mean is not None
    assert (mean.items, mean.of) == (2, 2)
    assert mean.ratio.value == pytest.approx(0.5, rel=0.02)
    assert mean.ratio.significant
    same = summary.mean("peer", WALL)
    assert same is not None
    assert not same.ratio.significant
    assert summary.rounds == 8
    assert measured.verdict(mean.ratio, TIME) in ("50 % faster", "51 % faster", "49 % faster")
    assert measured.verdict(same.ratio, TIME) == "no significant difference"


def test_a_standing_is_to_the_best_of_the_others() -> None:
    summary = summarise(header(A, B), runs(A, B))
    found = {(each.item, each.metric): each for each in summary.standings}
    time = found["a", TIME]
    # Half of glibc's time, which is also the peer's; half of the peer's memory.
    assert time.rival in ("glibc", "peer")
    assert time.ratio.value == pytest.approx(0.5, rel=0.02)
    assert not time.is_behind
    assert found["a", PEAK].rival == "peer"
    table = measured.standing_table(summary)
    assert [row[0] for row in table.rows] == ["a", "allocbench/b"]
    assert all("behind" not in cell for row in table.rows for cell in row)


def test_means_to_each_other_are_over_what_both_ran() -> None:
    summary = summarise(header(A, B), with_failure(runs(A, B), "peer", 3))
    (time,) = [mean for mean in summary.beside if mean.metric == TIME]
    assert (time.allocator, time.items, time.of) == ("peer", 1, 2)
    assert time.ratio.value == pytest.approx(0.5, rel=0.02)
    # 1.2 of glibc's memory, of which the peer takes twice as much.
    (peak,) = [mean for mean in summary.beside if mean.metric == PEAK]
    assert peak.ratio.value == pytest.approx(0.6)
    (row,) = measured.beside_table(summary).rows
    assert row[0] == "peer"
    assert row[-1].endswith(" of 2")
    assert measured.as_json(summary)["beside"]


def test_a_standing_behind_is_said_and_a_failed_rival_is_none() -> None:
    made = [
        dataclasses.replace(run, values={**run.values, "cpu_s": 0.01 + run.round / 1e5})
        if run.allocator == "peer" and "cpu_s" in run.values
        else run
        for run in runs(A)
    ]
    (row,) = measured.standing_table(summarise(header(A), made)).rows
    assert row[1] == "peer"
    assert row[2].endswith("behind")
    # Nor is one that did something else, or a baseline that is another allocator.
    other = [
        dataclasses.replace(run, digest="other" if run.allocator == "peer" else "same")
        for run in made
    ]
    (row,) = measured.standing_table(summarise(header(A), other)).rows
    assert (row[1], row[3]) == ("glibc", "-")
    noted = [
        dataclasses.replace(run, note="is linked with x" if run.allocator == "glibc" else "")
        for run in runs(A)
    ]
    (row,) = measured.standing_table(summarise(header(A), noted)).rows
    assert row[1] == "peer"
    (row,) = measured.standing_table(summarise(header(A), with_failure(made, "peer", 3))).rows
    assert row[1] == "glibc"
    assert row[3] == "-"
    assert not summarise(header(A), with_failure(made, "liballoc", 3)).standings


def test_the_probe_counts_for_nothing_but_a_peak_that_nothing_else_has() -> None:
    made = [
        dataclasses.replace(run, values={**run.values, "cpu_s": 1e6}) if run.round == 0
        else dataclasses.replace(
            run, values={k: v for k, v in run.values.items() if k != "peak_bytes"})
        for run in runs(A)
    ]  # fmt: skip
    row = summarise(header(A), made).row("a", "glibc")
    assert row is not None
    assert row.cells["cpu_s"].spread.high < 100
    assert row.cells[PEAK].from_probe
    assert measured.cell_text(row.cells[PEAK], "bytes") == "64.0 MiB (one look)"
    assert row.cells[PEAK].ratio is None


def with_failure(made: list[Run], allocator: str, number: int) -> list[Run]:
    bad = Run("a", allocator, number, FAILED, "died by SIGSEGV")
    kept = [run for run in made if (run.allocator, run.item) != (allocator, "a")
            or run.round < number]  # fmt: skip
    return [*kept, bad]


def test_one_crash_makes_the_row_say_so_and_the_rest_stays() -> None:
    made = with_failure(runs(A, B), "peer", 5)
    summary = summarise(header(A, B), made)
    row = summary.row("a", "peer")
    assert row is not None
    assert (row.state, dict(row.cells)) == (FAILED, {})
    assert row.reason == "died by SIGSEGV (after 4 that went well)"
    mean = summary.mean("peer", TIME)
    assert mean is not None
    assert (mean.items, mean.of) == (1, 2)
    assert "a on peer: died by SIGSEGV (after 4 that went well)" in measured.remarks(summary)


def test_what_was_interrupted_is_one_line() -> None:
    first = [run for run in runs(A, B) if run.item == A.name and run.round == 1]
    lines = measured.remarks(summarise(header(A, B), first[:1]))
    others = [name for name in ("glibc", "liballoc", "peer") if name != first[0].allocator]
    assert f"{A.name} on {', '.join(others)}: was not run" in lines
    assert f"interrupted before they were run: {B.name}" in lines
    assert "1 round is too few for intervals; 5 are needed" in lines


def test_without_the_baseline_there_are_figures_and_no_ratios() -> None:
    summary = summarise(header(A), with_failure(runs(A), "glibc", 0))
    row = summary.row("a", "liballoc")
    assert row is not None
    assert row.cells[TIME].ratio is None
    assert not summary.means
    assert figures.draw(summary)
    text = page.as_page(summary, "t", [])
    assert "died by SIGSEGV" in text


def test_what_the_program_brings_is_no_baseline_of_the_means() -> None:
    noted = [
        dataclasses.replace(run, note="the program brings x") if run.item == "a" else run
        for run in runs(A, B)
    ]
    summary = summarise(header(A, B), noted)
    mean = summary.mean("liballoc", TIME)
    assert mean is not None
    assert mean.items == 1


def test_an_item_that_has_a_figure_now_and_then_is_left_out_of_its_mean() -> None:
    made = [
        dataclasses.replace(run, values={**run.values, "steady_bytes": 1e6})
        if run.item == "a" or run.round < 3 else run
        for run in runs(A, B)
    ]  # fmt: skip
    summary = summarise(header(A, B), made)
    mean = summary.mean("peer", "steady_bytes")
    assert mean is not None
    assert (mean.items, mean.ratio.low is not None) == (1, True)
    row = next(row for row in measured.mean_table(summary).rows if row[0] == "peer")
    assert row[-1] == "2/2/2/1 of 2"


def test_what_allocbench_does_not_measure_is_in_no_table_and_no_mean() -> None:
    bench = dataclasses.replace(B, group="allocbench")
    made = [
        dataclasses.replace(run, values={
            key: value for key, value in [*run.values.items(), ("steady_bytes", 5e6)]
            if run.item == "a" or key not in {"wall_s", "steady_bytes"}
        }) for run in runs(A, bench)
    ]  # fmt: skip
    summary = summarise(header(A, bench), made)
    for metric, items in ((TIME, 2), (PEAK, 2), (WALL, 1), ("steady_bytes", 1)):
        mean = summary.mean("peer", metric)
        assert mean is not None
        assert mean.items == items
        assert len(measured.overview(summary, metric).rows) == items
    assert measured.OF_ALLOCBENCH in measured.remarks(summary)
    assert measured.OF_ALLOCBENCH not in measured.remarks(summarise(header(A), runs(A)))


def test_another_sequence_is_another_measurement() -> None:
    made = [
        dataclasses.replace(run, digest="e") if run.allocator == "peer" else run for run in runs(A)
    ]
    row = summarise(header(A), made).row("a", "peer")
    assert row is not None
    assert row.reason == "did another sequence of operations"


def test_the_time_of_a_block_says_what_is_in_it() -> None:
    table = measured.detail_table(summarise(header(B), runs(B)), B)
    assert table.rows[1][0] == "time a block (made, touched, freed)"


def test_too_few_rounds_are_said() -> None:
    summary = summarise(header(A), runs(A, rounds=3))
    assert "3 rounds are too few for intervals; 5 are needed" in measured.remarks(summary)
    mean = summary.mean("peer", TIME)
    assert mean is not None
    assert measured.verdict(mean.ratio, TIME) == "too few rounds to tell"


@pytest.mark.parametrize("items", [(A,), (A, B)])
def test_the_report_is_whole(items: tuple[object, ...]) -> None:
    made = [*runs(*items), Run("c", "", 0, SKIPPED, "x missing")]  # type: ignore[arg-type]
    summary = summarise(header(*items, item("c")), made)  # type: ignore[arg-type]
    plots = figures.draw(summary)
    phases = ["fragmentation"] if B in items else []
    names = ["time-memory", "bars-time", "bars-peak", "latency", *phases, "memory"]
    assert [plot.name for plot in plots] == names
    for plot in plots:
        assert ET.fromstring(plot.svg).tag.endswith("svg")
    assert [plot.svg for plot in figures.draw(summary)] == [plot.svg for plot in plots]
    text = page.as_page(summary, "A <title>", plots)
    assert text.count("data:image/svg+xml;base64,") == len(names)
    assert "A &lt;title&gt;" in text
    # Nothing is fetched from elsewhere.
    assert not re.findall(r"(?:src|href)=\"(?!data:)", text)
    markdown = page.as_markdown(summary, "title", plots)
    for words in ("c was not run: x missing", "A CPU", "not available", "liballoc compare -- x"):
        assert words in text
        assert words in markdown
    out = io.StringIO()
    measured.show(summary, out)
    assert "liballoc" in out.getvalue()
    assert json.loads(json.dumps(measured.as_json(summary)))["rounds"] == 8


def test_memory_that_is_not_a_peak_is_not_called_one(monkeypatch: pytest.MonkeyPatch) -> None:
    labels: list[str] = []

    def label(figure: Figure) -> str:
        labels.append(figure.axes[0].get_ylabel())
        return ""

    monkeypatch.setattr(figures, "as_svg", label)
    without = [
        dataclasses.replace(run, values={
            "steady_bytes" if key == "peak_bytes" and run.allocator == "peer" else key: value
            for key, value in [*run.values.items(), ("steady_bytes", 5e6)]
        }) for run in runs(A)
    ]  # fmt: skip
    figures.against(summarise(header(A), runs(A)))
    figures.against(summarise(header(A), without))
    assert [label.partition(",")[0] for label in labels] == ["peak memory", "steady memory"]


def test_looks_differ() -> None:
    looks = [figures.style(index) for index in range(len(figures.COLOURS))]
    for name in ("colour", "marker", "hatch", "dashes"):
        assert len({str(getattr(look, name)) for look in looks}) == len(looks)


def test_values_as_they_are_read() -> None:
    assert measured.format_value(0.5, "seconds") == "500 ms"
    assert measured.format_value(12.34, "ns") == "12.3 ns"
    assert measured.format_value(9.876, "percent") == "9.9 %"
    assert measured.format_value(1234.0, "count") == "1,234"
    assert format_duration(5000.0) == "5000 s"


ALLOCBENCH = {
    "profile": "mixed", "seed": 1337, "ops": 200000, "alloc_per_sec": 20_000_000,
    "free_per_sec": 18_410_000, "latency_ns": {"p50": 62, "p99": 410, "max": 9, "p999": None},
    "fragmentation_pct": 9.8, "counters": {"instructions": 7},
    "memory": {"resident_peak": 4096, "minor_faults": 3}, "phases": None,
}  # fmt: skip


def test_allocbench_is_read() -> None:
    found = parse_allocbench(json.dumps(ALLOCBENCH).encode())
    assert found.values == {
        "alloc_ns": 50.0, "p50_ns": 62.0, "p99_ns": 410.0, "fragmentation_pct": 9.8,
        "instructions": 7.0, "peak_bytes": 4096.0, "minor_faults": 3.0,
    }  # fmt: skip
    assert found.latencies == {"50": 62.0, "99": 410.0}
    more = {**ALLOCBENCH, "digest": "d", "fragmentation_pct": None, "alloc_per_sec": None,
            "counters": {"instructions": None}, "latency_ns": {"p99.9": 1, "p9999": 2},
            "memory": {"resident_peak": None, "minor_faults": 3}, "phases": None}  # fmt: skip
    found = parse_allocbench(json.dumps(more).encode())
    assert found.for_process
    assert list(found.phases) == []
    assert (found.digest, found.values) == (
        "d", {"p99.9_ns": 1.0, "p99.99_ns": 2.0, "minor_faults": 3.0},
    )  # fmt: skip


def test_phases_that_were_reached_are_read() -> None:
    reached = {"name": "grown", "requested": 0, "resident": 7}
    phases = [reached, {"name": "freed", "requested": None, "resident": None}]
    found = parse_allocbench(json.dumps({**ALLOCBENCH, "phases": phases}).encode())
    assert list(found.phases) == [("grown", 0.0, 7.0)]


def test_fragmentation_is_drawn_over_phases() -> None:
    made = [
        dataclasses.replace(run, phases=[
            (name, asked, held * (1 + run.round)) for name, asked, held in run.phases
        ]) for run in runs(B, rounds=5)
    ]  # fmt: skip
    row = summarise(header(B), made).row(B.name, "peer")
    assert row is not None
    # The probe counts for nothing: the median of rounds 1 to 5 is that of round 3.
    assert list(row.phases) == [(name, asked, 4 * held) for name, asked, held in PHASES]
    figure = Figure()
    left, right = figure.subplots(1, 2)
    for axes, is_ratio in ((left, False), (right, True)):
        figures.phase_panel(axes, summarise(header(B), made), B.name, is_ratio=is_ratio)
    assert left.get_legend_handles_labels()[1] == ["glibc", "liballoc", "peer", "requested"]
    markers = [list(map(float, line.get_ydata())) for line in right.lines[:3]]
    assert all(marker[:2] == [5.0, 16.0] and marker[2] != marker[2] for marker in markers)
    assert [text.get_text() for text in right.texts] == ["nothing\nlives"]
    assert right.get_ylabel() == "resident / requested"
    assert figures.fragmentation(summarise(header(A), runs(A))) is None


@pytest.mark.parametrize("text", [b"", b"x", b"[]", b"{}", b'{"alloc_per_sec": 1}',
                                  b'{"alloc_per_sec": "x", "latency_ns": {}}'])  # fmt: skip
def test_what_is_not_allocbenchs_is_refused(text: bytes) -> None:
    with pytest.raises(CheckFailedError):
        parse_allocbench(text)


def test_cases_of_the_hot_path() -> None:
    found = parse_case(b'{"ns_per_op": 2.5, "rss_kib": 100}')
    assert found.values == {"op_ns": 2.5, "peak_bytes": 102_400.0}
    assert not parse_case(b'{"ns_per_op": null, "rss_kib": null}').values
    assert next(each.item.name for each in cases(Path("/x"), {})) == "hotpath/pair-32"


def test_profiles_are_those_that_allocbench_lists() -> None:
    listed = {"profiles": [{"name": "mixed", "about": "m"}, {"name": "ring", "threads_min": 2}]}
    quick = profiles(Path("/x"), listed, {}, 5, full=False)
    assert [each.item.name for each in quick] == ["allocbench/mixed"]
    full = profiles(Path("/x"), listed, {}, 5, full=True)
    assert [each.item.name for each in full] == ["allocbench/mixed", "allocbench/ring"]
    assert quick[0].argv[-1] == "--brief"
    assert "--brief" not in full[0].argv
    assert "5000000" in quick[0].argv
    words = " ".join(full[1].argv)
    assert "--allocator system --profile ring --seed 5" in words
    assert "--threads 2 --json" in words
