"""The command `hotpath`: what it measures, in which order, and how it shows it."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from liballoc.commands import hotpath
from liballoc.errors import CheckFailedError, ToolMissingError, UsageError


class Machine:
    """Runs nothing: answers with costs that depend on the allocator and the call's number."""

    def __init__(self, cycles: bool = True) -> None:
        self.cycles = cycles
        self.calls: list[tuple[str, str]] = []

    def __call__(self, command: Sequence[str], environment: Mapping[str, str]) -> str:
        case = " ".join(command[1:])
        preload = environment.get("LD_PRELOAD", "")
        self.calls.append((preload, case))
        cost = (10.0 if preload else 40.0) + len(self.calls) % 3
        floor = case == "floor"
        return json.dumps(
            {
                "case": case,
                "ops": 1000,
                "cycles_per_op": cost if self.cycles and not floor else None,
                "instructions_per_op": None,
                "ns_per_op": None if floor else cost / 4,
                "rss_kib": 1500 if preload else 1000,
            }
        )


def arguments(tmp_path: Path, *texts: str) -> argparse.Namespace:
    for name in ("hotpath", "liballoc.so", "other.so"):
        (tmp_path / name).touch()
    parser = argparse.ArgumentParser()
    hotpath.prepare_parser(parser)
    fixed = ["--binary", str(tmp_path / "hotpath"), "--library", str(tmp_path / "liballoc.so")]
    return parser.parse_args([*fixed, "--only", *texts])


def test_every_sample_is_taken_in_a_random_order_that_the_seed_repeats(tmp_path: Path) -> None:
    orders = []
    for seed in ("1", "1", "2"):
        machine = Machine()
        options = ("--rounds", "4", "--seed", seed, f"other={tmp_path}/other.so")
        assert hotpath.run(arguments(tmp_path, *options), machine) == 0
        orders.append(machine.calls)
    count = 3 * len(hotpath.CASES)
    rounds = [orders[0][start : start + count] for start in range(0, 4 * count, count)]
    assert len(orders[0]) == 4 * count
    assert all(sorted(each) == sorted(rounds[0]) for each in rounds)
    assert all(len(set(each)) == count for each in rounds)
    assert rounds[0] != rounds[1]
    assert orders[0] == orders[1] != orders[2]


def test_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out.json"
    options = ("--rounds", "3", "--case", "pair  32", "--case", "floor", "--json", str(file))
    assert hotpath.run(arguments(tmp_path, *options), Machine()) == 0
    shown = capsys.readouterr().out
    assert "median of 3, half range, ratio to glibc" in shown
    assert "cycles" in shown
    assert "x1.50" in shown
    assert "nanoseconds" not in shown
    value = json.loads(file.read_text())
    assert value["metric"] == "cycles_per_op"
    assert len(value["samples"]) == 3 * 2 * 2
    assert value["allocators"] == {"glibc": "", "liballoc": str(tmp_path / "liballoc.so")}
    assert {sample["case"] for sample in value["samples"]} == {"pair 32", "floor"}


def test_without_counters_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hotpath.run(arguments(tmp_path, "--rounds", "1"), Machine(cycles=False)) == 0
    assert "no hardware counters: costs are nanoseconds" in capsys.readouterr().out


@pytest.mark.parametrize("peer", ["x", "=path", "name=", "glibc=/x", "liballoc=/x", "a=/nowhere"])
def test_bad_peers(tmp_path: Path, peer: str) -> None:
    with pytest.raises(UsageError):
        hotpath.run(arguments(tmp_path, peer), Machine())


def test_a_name_twice(tmp_path: Path) -> None:
    peer = f"a={tmp_path}/other.so"
    with pytest.raises(UsageError, match="'a' is taken"):
        hotpath.run(arguments(tmp_path, peer, peer), Machine())


def test_bad_rounds_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--rounds 0"):
        hotpath.run(arguments(tmp_path, "--rounds", "0"), Machine())
    missing = arguments(tmp_path)
    missing.binary = tmp_path / "nowhere"
    with pytest.raises(ToolMissingError, match="nowhere: no such program"):
        hotpath.run(missing, Machine())
    no_library = arguments(tmp_path)
    no_library.preload = tmp_path / "nowhere.so"
    with pytest.raises(UsageError, match=r"nowhere\.so: no such library"):
        hotpath.run(no_library, Machine())


def test_debian_peers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / f"{hotpath.machine()}-linux-gnu"
    folder.mkdir()
    (folder / "libjemalloc.so.2").touch()
    (tmp_path / "libmimalloc.so.2.0").touch()
    found = hotpath.find_debian_peers([tmp_path])
    assert set(found) == {"jemalloc", "mimalloc"}
    assert "tcmalloc is not installed (Debian package libtcmalloc-minimal4)" in (
        capsys.readouterr().out
    )


def script(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "program"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return [str(file), "pair", "32"]


def test_a_sample_that_complains_is_refused(tmp_path: Path) -> None:
    command = script(tmp_path, "echo '{}'; echo 'x.so cannot be preloaded' >&2")
    with pytest.raises(CheckFailedError, match=r"on glibc: x\.so cannot be preloaded"):
        hotpath.run_process(command, {})
    with pytest.raises(CheckFailedError, match="exit status 9"):
        hotpath.run_process(script(tmp_path, "exit 9"), {})
    with pytest.raises(UsageError, match="no such case"):
        hotpath.run_process(script(tmp_path, "echo no such case >&2; exit 2"), {})
    assert hotpath.run_process(script(tmp_path, "echo fine"), {}) == "fine\n"


def test_cells() -> None:
    summary = hotpath.Summary(20.0, 19.0, 21.0)
    assert hotpath.format_cell(summary, hotpath.Summary(40.0, 40.0, 40.0)) == "20.0 ±5% x0.50"
    assert hotpath.format_cell(summary, None) == "20.0 ±5%"
    assert hotpath.format_cell(hotpath.Summary(2.5, 2.5, 2.5), None) == "2.50 ±0%"
    assert hotpath.format_cell(hotpath.Summary(0, 0, 0), summary) == "0.00 ±0% x0.00"
    assert hotpath.format_cell(None, summary) == "-"


def test_cpu_name(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor: 0\nmodel name\t: A Fast One\n")
    assert hotpath.cpu_name(file) == "A Fast One"
    assert hotpath.cpu_name(tmp_path / "none") == hotpath.machine()
