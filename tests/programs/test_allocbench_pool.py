"""allocbench --pool: exactly its text, what of its JSON is sure, and bad input."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.programs.allocbench import LIBRARY, USAGE, figures, run

SMALL = ("--ops", "2000")
TEXT = r"""Memory Allocator Benchmark
==========================
Object size: {size} bytes
Allocations: {ops}

malloc: \d+\.\d ns avg
pool_alloc: \d+\.\d ns avg
Speedup: \d+\.\dx

Pool Statistics:
 Total objects: {ops}
 Allocated: {ops}
 Free: 0
 Memory used: {used} bytes
 Overhead: \d+ bytes \(\d+\.\d%\)

Latency Distribution \(pool_alloc\):
 p50: \d+\.\d ns
 p99: \d+\.\d ns
 p999: \d+\.\d ns
 max: \d+\.\d ns
"""
ROUNDS = 5
RANKS = ["p50", "p90", "p99", "p99.9", "p99.99", "max"]
KINDS = [
    "alloc_cold", "alloc_warm", "free_warm", "alloc_scattered", "free_scattered", "alloc_hot",
    "free_hot", "alloc_batch", "free_batch",
]  # fmt: skip


def text(ops: int, size: int, used: int | None = None) -> re.Pattern[str]:
    return re.compile(TEXT.format(ops=ops, size=size, used=used or ops * size))


def test_the_text_without_more_is_exactly_this() -> None:
    ended = run("--pool")
    assert text(1_000_000, 64).fullmatch(ended.stdout), ended.stdout
    assert (ended.status, ended.stderr) == (0, "")


@pytest.mark.parametrize(("ops", "size"), [(1, 1), (15, 8), (17, 100), (3000, 4096)])
def test_the_text_with_other_numbers(ops: int, size: int) -> None:
    ended = run("--pool", "--ops", str(ops), "--object-size", str(size))
    # An object under 8 bytes counts as 8.
    assert text(ops, size, ops * max(size, 8)).fullmatch(ended.stdout), ended.stdout
    assert (ended.status, ended.stderr) == (0, "")


def test_details_come_after_the_same_text() -> None:
    shown = run("--pool", "--details", *SMALL).stdout
    head = text(2000, 64).match(shown)
    assert head
    rest = shown[head.end() :]
    assert re.search(r"^malloc is that of /.*libc\.so\.6$", rest, re.MULTILINE)
    assert re.search(r"^Timer: .* in steps of \d+\.\d ns; .* the p50 is subtracted$", rest, re.M)
    for name in ("alloc, cold", "alloc, cold, pool_create in", "alloc, warm", "alloc, scattered",
                 "free", "free, scattered", "alloc and free, hot"):  # fmt: skip
        assert re.search(rf"^{name} +\d+\.\d +\d+\.\d +\d+\.\dx$", rest, re.MULTILINE), name
    for call in ("malloc", "pool_alloc", "free", "pool_free"):
        for state in ("cold", "warm", "scattered", "hot"):
            if state == "cold" and "free" in call:
                continue
            numbers = r"( +\d+\.\d){4} \|( +\d+\.\d){4}"
            assert re.search(rf"^{call}, {state} {numbers}$", rest, re.MULTILINE), (call, state)
    assert "\nBatches of 16 calls, warm (ns a call above the timer's cost):\n" in rest
    for name in ("arena_alloc, warm", "arena_alloc, batches", "arena_reset"):
        assert re.search(rf"^{name} +\d", rest, re.MULTILINE), name
    for name in ("shared pool", r"router \(hft_alloc\)"):
        assert re.search(rf"^{name} +\d+\.\d +\d+\.\d +\d+\.\dx$", rest, re.MULTILINE), name


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """The JSON of one run."""
    return figures("--pool", "--histogram", *SMALL)


def test_the_json_has_the_keys_of_the_text(found: dict[str, Any]) -> None:
    assert list(found)[:7] == [
        "benchmark", "object_size", "allocations", "malloc_ns", "pool_alloc_ns", "speedup",
        "pool_statistics",
    ]  # fmt: skip
    assert (found["benchmark"], found["object_size"], found["allocations"]) == ("pool", 64, 2000)
    assert found["speedup"] == pytest.approx(found["malloc_ns"] / found["pool_alloc_ns"], rel=0.01)


def test_the_statistics_are_those_with_all_objects_live(found: dict[str, Any]) -> None:
    stats = found["pool_statistics"]
    assert stats == {
        "object_size": 64, "total_objects": 2000, "allocated_objects": 2000, "free_objects": 0,
        "allocations_count": 2000, "frees_count": 0, "bytes_allocated": 128_000,
        "bytes_overhead": stats["bytes_overhead"],
    }  # fmt: skip
    expected = 100 * stats["bytes_overhead"] / 128_000
    assert found["overhead_pct"] == pytest.approx(expected, abs=0.0051)


def test_what_is_held_repeats_exactly(found: dict[str, Any]) -> None:
    assert figures("--pool", *SMALL)["pool_statistics"] == found["pool_statistics"]


@pytest.mark.parametrize("subject", ["malloc_latency_ns", "pool_latency_ns"])
def test_every_call_of_every_round_is_there(subject: str, found: dict[str, Any]) -> None:
    assert list(found[subject]) == KINDS
    for kind, entry in found[subject].items():
        # Objects by rounds; the hot case makes whole rounds of 64; batches are of 16.
        calls = 2048 if kind.endswith("hot") else 2000
        assert entry["count"] * entry["calls_each"] == ROUNDS * calls
        for ranks in (entry, entry["raw"]):
            values = [ranks[rank] for rank in RANKS]
            assert values == sorted(values)
        assert sum(count for _, _, count in entry["histogram"]) == entry["count"]


def test_the_timers_median_is_what_is_subtracted(found: dict[str, Any]) -> None:
    timer = found["timer"]
    assert timer["subtracted_ns"] == timer["empty_pair"]["raw"]["p50"] > 0
    assert timer["empty_pair"]["p50"] == 0
    for subject in ("malloc_latency_ns", "pool_latency_ns"):
        for entry in found[subject].values():
            for rank in RANKS:
                above = max(0.0, entry["raw"][rank] - timer["subtracted_ns"])
                assert entry[rank] == pytest.approx(above / entry["calls_each"], abs=0.011)


def test_averages_have_their_ratio(found: dict[str, Any]) -> None:
    averages = found["averages_ns"]
    for kind in ("cold", "warm", "scattered", "free", "free_scattered", "hot_pair"):
        entry = averages[kind]
        assert entry["ratio"] == pytest.approx(entry["malloc"] / entry["pool"], rel=0.02)
    assert averages["warm"]["malloc"] == found["malloc_ns"]
    assert averages["warm"]["pool"] == found["pool_alloc_ns"]
    assert averages["pool_create"] > 0


def test_arena_and_threads_are_there(found: dict[str, Any]) -> None:
    arena = found["arena"]
    assert arena["alloc"]["count"] == 2000
    assert arena["alloc_batch"]["count"] == 2000 // 16
    assert arena["cold_ns"] > 0
    assert arena["warm_ns"] > 0
    assert list(found["pair_ns_by_threads"]) == ["shared_pool", "router"]
    for values in found["pair_ns_by_threads"].values():
        assert len(values) == 2
        assert min(values) > 0


def test_malloc_is_the_one_that_is_preloaded() -> None:
    found = figures("--pool", "--ops", "500", preload=LIBRARY)
    assert found["malloc_from"] == str(LIBRARY)


def test_a_pool_that_there_is_no_memory_for() -> None:
    # More than a process has addresses for: refused before a page is touched.
    words = ("--pool", "--ops", "268435456", "--object-size", "1048576")
    ended = run(*words)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr == (
        "allocbench: no memory for a pool of 268435456 objects of 1048576 bytes\n"
    )


BAD = {
    "a profile": (["--pool", "--profile", "small"], "--profile and --pool exclude each other"),
    "a recording": (["--pool", "--trace", "x"], "--trace and --pool exclude each other"),
    "a seed": (["--pool", "--seed", "1"], "--seed and --pool exclude each other"),
    "threads": (["--pool", "--threads", "2"], "--threads and --pool exclude each other"),
    "an allocator": (["--pool", "--allocator", "core"], "--allocator and --pool exclude each"),
    "brief": (["--pool", "--brief"], "--brief and --pool exclude each other"),
    "the ladder": (["--pool", "--ladder"], "--ladder and --pool exclude each other"),
    "the list": (["--pool", "--list"], "--list and --pool exclude each other"),
    "a fake heap": (["--pool", "--fake-heap"], "--fake-heap and --pool exclude each other"),
    "no object": (["--pool", "--ops", "0"], '--ops: "0" is not a whole number from 1'),
    "size 0": (["--pool", "--object-size", "0"], '--object-size: "0" is not a whole number'),
    "size too large": (
        ["--pool", "--object-size", "1048577"],
        '--object-size: "1048577" is not a whole number from 1 to 1048576',
    ),
    "size alone": (["--object-size", "8"], "--object-size is for --pool"),
    "twice": (["--pool", "--pool"], "--pool is given twice"),
    "a value": (["--pool=1"], "--pool takes no value"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_the_usage(case: str) -> None:
    words, reason = BAD[case]
    ended = run(*words)
    assert (ended.status, ended.stdout) == (2, "")
    first, second, *_ = ended.stderr.splitlines()
    assert first.startswith(f"allocbench: {reason}"), first
    assert second.startswith(USAGE)
