"""allocbench: its text and its JSON, what is the same in every run, and bad input."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.native import clean_environment
from tests.programs.allocbench import BINARY, LIBRARY, USAGE, figures, run

NUMBER = r"\d{1,3}(,\d{3})*"
TEXT = re.compile(
    rf"""allocbench 1\.0
profile=mixed seed=1337 ops=200000
alloc/s: {NUMBER}
free/s: {NUMBER}
p50 latency: \d+ ns
p99 latency: \d+ ns
fragmentation: -?\d+\.\d%
"""
)
PERCENTILES = ["p50", "p90", "p99", "p99.9", "p99.99", "max"]
COUNTERS = ["cycles", "instructions", "cache_misses", "branch_misses"]


def test_the_text_is_exactly_this() -> None:
    ended = run("--seed", "1337", "--ops", "200000", "--profile", "mixed")
    assert TEXT.fullmatch(ended.stdout), ended.stdout
    assert (ended.status, ended.stderr) == (0, "")


def test_the_same_text_without_arguments() -> None:
    assert TEXT.fullmatch(run().stdout)


def test_what_differs_from_the_defaults_is_said() -> None:
    words = ("--ops", "1000", "--allocator", "system", "--threads", "2", "--profile=small")
    assert "profile=small seed=1337 ops=1000 allocator=system threads=2\n" in run(*words).stdout


def test_the_json_has_the_keys_of_the_text() -> None:
    found = figures()
    assert list(found)[:7] == [
        "profile", "seed", "ops", "alloc_per_sec", "free_per_sec", "latency_ns",
        "fragmentation_pct",
    ]  # fmt: skip
    assert (found["profile"], found["seed"], found["ops"]) == ("mixed", 1337, 200000)
    assert (found["allocator"], found["threads"]) == ("core", 1)
    for key in ("alloc_per_sec", "free_per_sec"):
        assert isinstance(found[key], int)
        assert found[key] > 0
    assert isinstance(found["fragmentation_pct"], float)


def test_rates_are_calls_by_time() -> None:
    found = figures()
    calls, elapsed = found["calls"], found["elapsed_ns"]
    assert sum(calls.values()) == found["ops"]
    assert found["alloc_per_sec"] == calls["malloc"] * 10**9 // elapsed
    assert found["free_per_sec"] == calls["free"] * 10**9 // elapsed


def test_percentiles_rise_and_count_every_call() -> None:
    found = figures()
    for key, kind in (("latency_ns", "malloc"), ("free_latency_ns", "free")):
        values = [found[key][name] for name in PERCENTILES]
        assert values == sorted(values)
        assert found[key]["count"] == found["calls"][kind]
    assert found["timer"]["subtracted_ns"] > 0


def test_the_histogram_counts_every_call() -> None:
    found = figures("--histogram", "--ops", "50000")
    for kind in ("malloc", "free"):
        buckets = found["histogram_ns"][kind]
        assert sum(count for _, _, count in buckets) == found["calls"][kind]
        assert all(first <= last for first, last, _ in buckets)
        assert buckets == sorted(buckets)
    lines = run("--histogram", "--ops", "50000").stdout.splitlines()
    malloc, free = lines.index("malloc latency (ns: calls, % at most as long)"), len(lines)
    assert malloc == 7
    free = lines.index("free latency (ns: calls, % at most as long)")
    counts = [int(line.split()[3]) for line in lines[malloc + 1 : free]]
    assert sum(counts) == found["calls"]["malloc"]


def test_details_say_how_it_was_measured() -> None:
    text = run("--details").stdout
    assert re.search(r"^timer: .+, its own cost of \d+\.\d ns is subtracted$", text, re.MULTILINE)
    assert re.search(
        r"^free ns: p50 \d+ p90 \d+ p99 \d+ p99.9 \d+ p99.99 \d+ max \d+$", text, re.MULTILINE
    )
    assert f"digest: {figures()['digest']}\n" in text


def test_counters_are_numbers_or_not_available() -> None:
    found = figures()["counters"]
    text = run("--details").stdout
    for name in COUNTERS:
        assert found[name] is None or found[name] > 0
        line = re.search(rf"^{name.replace('_', ' ')}: (.+)$", text, re.MULTILINE)
        assert line
        assert line[1] == "not available" or re.fullmatch(r"\d+\.\d{3} a call", line[1])


# The same on every machine. A change here is a change of what all figures were measured on.
DIGESTS = {
    "small": "48b84cee4324b44c",
    "mixed": "a65b9b0dc9d2857e",
    "large": "72dc2c704dc96ef1",
    "shrink": "356599ae0047cb7c",
    "server": "410bd4ba35901117",
}


@pytest.mark.parametrize("profile", DIGESTS)
def test_the_sequence_is_the_one_of_this_seed(profile: str) -> None:
    words = ("--profile", profile, "--ops", "200000")
    assert figures(*words)["digest"] == DIGESTS[profile]


@pytest.mark.parametrize("profile", ["mixed", "ring"])
def test_the_digest_depends_on_the_sequence_alone(profile: str) -> None:
    words = ("--profile", profile, "--ops", "5000")
    digests = {
        figures(*words)["digest"],
        figures(*words)["digest"],
        figures(*words, "--allocator", "system")["digest"],
        figures(*words, "--allocator", "system", preload=LIBRARY)["digest"],
    }
    assert len(digests) == 1
    others = {
        figures(*words, "--seed", "1338")["digest"],
        figures(*words, "--threads", "4")["digest"],
        figures("--profile", profile, "--ops", "5001")["digest"],
        figures("--profile", "small", "--ops", "5000")["digest"],
    }
    assert len(digests | others) == 5


@pytest.mark.parametrize("allocator", ["core", "system", "preloaded"])
@pytest.mark.parametrize("profile", ["small", "mixed", "large", "aligned", "realloc"])
def test_fragmentation_repeats_exactly(profile: str, allocator: str) -> None:
    name = "core" if allocator == "core" else "system"
    preload = LIBRARY if allocator == "preloaded" else None
    words = ("--profile", profile, "--ops", "10000", "--allocator", name)
    runs = [figures(*words, preload=preload) for _ in range(3)]
    assert len({found["fragmentation_pct"] for found in runs}) == 1
    memory: dict[str, Any] = runs[0]["memory"]
    held, requested = memory["held_at_peak"], memory["requested_peak"]
    assert 0 < requested <= held
    expected = 100 * (1 - requested / held)
    assert runs[0]["fragmentation_pct"] == pytest.approx(expected, abs=0.0051)


def test_fragmentation_is_null_where_nobody_can_say(tmp_path: Path) -> None:
    library = tmp_path / "silent.so"
    source = Path(__file__).with_name("broken_malloc.c")
    command = ["gcc", "-O1", "-shared", "-fPIC", "-DFAULT=NONE", "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    words = ("--allocator", "system", "--ops", "2000")
    found = figures(*words, preload=library)
    assert found["fragmentation_pct"] is None
    assert found["malloc_from"] == str(library)
    assert "\nfragmentation: not available\n" in run(*words, preload=library).stdout


def test_an_unknown_profile_ends_in_exactly_this() -> None:
    ended = run("--profile", "unknown")
    assert ended.status == 2
    assert ended.stdout == ""
    assert ended.stderr == (
        'allocbench: invalid profile "unknown"\nusage: allocbench --profile {small,mixed,large}\n'
    )


BAD = {
    "a flag nobody knows": (["--sed", "1"], 'unknown option "--sed"'),
    "a word": (["mixed"], 'unexpected argument "mixed"'),
    "no value": (["--ops"], "--ops needs a value"),
    "a value too much": (["--json=1"], "--json takes no value"),
    "twice": (["--seed", "1", "--seed", "2"], "--seed is given twice"),
    "ops 0": (["--ops", "0"], '--ops: "0" is not a whole number from 1 to 268435456'),
    "ops too many": (["--ops", "268435457"], '--ops: "268435457" is not a whole number'),
    "ops negative": (["--ops", "-5"], '--ops: "-5" is not a whole number'),
    "ops in words": (["--ops", "1e6"], '--ops: "1e6" is not a whole number'),
    "seed too large": (["--seed", str(2**64)], f'--seed: "{2**64}" is not a whole number'),
    "no thread": (["--threads", "0"], '--threads: "0" is not a whole number from 1 to 64'),
    "threads too many": (["--threads", "65"], '--threads: "65" is not a whole number'),
    "allocator": (["--allocator", "x"], 'invalid allocator "x"'),
    "two modes": (["--list", "--profile", "small"], "--profile and --list exclude each other"),
    "too few threads": (
        ["--profile", "server", "--threads", "1"], "--profile server needs at least 2 threads",
    ),
    "the ladder of a profile": (
        ["--ladder", "--ops", "5"], "--ops and --ladder exclude each other",
    ),
    "odd threads": (
        ["--profile", "producer-consumer", "--threads", "3"],
        "--profile producer-consumer needs an even number of threads",
    ),
    "a recording that is not there": (["--trace", "/nowhere.rep"], "/nowhere.rep: no such file"),
    "a folder": (["--trace", "/"], "/: is a folder"),
    "a rung with threads": (
        ["--allocator", "bump", "--threads", "2"], "--allocator bump is for one thread",
    ),
    "a fake heap for the core": (["--fake-heap"], "--fake-heap is for the rungs of the ladder"),
    "a recording with a seed": (
        ["--trace", "x", "--seed", "1"], "--seed and --trace exclude each other",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_the_usage(case: str) -> None:
    words, reason = BAD[case]
    ended = run(*words)
    assert ended.status == 2
    assert ended.stdout == ""
    first, second, *_ = ended.stderr.splitlines()
    assert first.startswith(f"allocbench: {reason}")
    assert second.startswith(USAGE)


def test_help_is_the_usage() -> None:
    ended = run("--help")
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith(USAGE)


def test_the_ladder_is_reported(tmp_path: Path) -> None:
    recording = tmp_path / "own.rep"
    recording.write_text("1\n1\n2\n1\na 0 8\nf 0\n")
    found = figures("--ladder", "--fake-heap", "--trace", str(recording))
    assert found["rungs"][0]["name"] == "bump"
    assert str(recording) in [trace["name"] for trace in found["traces"]]


def test_output_that_cannot_be_written_fails() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [str(BINARY), "--ops", "100"], env=clean_environment(), stdout=full,
            stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        1, "allocbench: stdout cannot be written to: NOSPC\n",
    )  # fmt: skip
