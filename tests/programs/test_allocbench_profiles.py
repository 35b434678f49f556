"""allocbench: every profile on every malloc, recordings, and allocators that are broken."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.programs.allocbench import LIBRARY, USAGE, figures, profiles, run

PROFILES = [
    "small", "mixed", "large",
    "replace-1k", "replace-30k", "replace-400k",
    "batch-lifo", "batch-fifo", "batch-shuffled", "bursty", "generations",
    "realloc", "aligned", "calloc", "phases", "shrink",
    "server", "producer-consumer", "fan-in", "fan-out", "ring", "free-only", "thread-churn",
]  # fmt: skip
RUNGS = [
    "bump", "first-fit", "first-fit-split", "first-fit-coalesce", "best-fit", "boundary-tag",
    "buddy", "slab",
]  # fmt: skip
OPS = 10_000
REPLAYED = """\
20000
3
9
1
a 0 512
a 1 128
r 0 640
a 2 0
f 1
f -1
r 0 0
f 0
f 2
"""


def test_these_are_all_profiles() -> None:
    assert profiles() == PROFILES
    listed = run("--list").stdout
    for name in (*PROFILES, "core", "system", *RUNGS):
        assert f"\n  {name} " in listed


@pytest.mark.parametrize("allocator", ["core", "system", "preloaded"])
@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_runs(profile: str, allocator: str) -> None:
    name = "core" if allocator == "core" else "system"
    preload = LIBRARY if allocator == "preloaded" else None
    words = ("--profile", profile, "--ops", str(OPS), "--allocator", name)
    found = figures(*words, preload=preload)
    assert found["ops"] == OPS
    assert sum(found["calls"].values()) == OPS
    assert found["latency_ns"]["count"] + found["free_latency_ns"]["count"] == OPS
    assert (found["malloc_from"] == str(LIBRARY)) == (allocator == "preloaded")
    assert found["memory"]["requested_peak"] <= found["memory"]["held_at_peak"]


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize(
    "profile", ["small", "mixed", "realloc", "aligned", "calloc", "batch-shuffled"]
)
def test_the_rungs_keep_contents_and_repeat(profile: str, rung: str) -> None:
    words = ("--profile", profile, "--allocator", rung, "--ops", "2000")
    first, second = figures(*words), figures(*words)
    assert first["allocator"] == rung
    assert first["digest"] == figures("--profile", profile, "--ops", "2000")["digest"]
    assert first["memory"]["held_at_peak"] >= first["memory"]["requested_peak"] > 0
    assert first["fragmentation_pct"] == second["fragmentation_pct"]


def test_a_rung_in_a_fake_heap_runs_out_of_memory() -> None:
    words = ("--allocator", "bump", "--fake-heap", "--profile", "small", "--ops")
    assert figures(*words, "1000")["memory"]["held_at_peak"] <= 1 << 20
    ended = run(*words, "100000")
    assert ended.status == 1
    assert ended.stderr.startswith("allocbench: bump: no memory for ")


@pytest.mark.parametrize("profile", ["mixed", "realloc", "aligned", "calloc", "thread-churn"])
def test_profiles_of_one_thread_run_in_several(profile: str) -> None:
    found = figures("--profile", profile, "--ops", str(OPS), "--threads", "5")
    assert sum(found["calls"].values()) == OPS
    assert found["threads"] == 5


@pytest.mark.parametrize(
    "profile", ["server", "producer-consumer", "fan-in", "fan-out", "ring", "free-only"]
)
def test_more_threads_than_processors_come_to_an_end(profile: str) -> None:
    found = figures("--profile", profile, "--ops", "40000", "--threads", "16")
    assert found["calls"]["malloc"] + found["calls"]["free"] == 40_000


def test_what_is_made_by_one_thread_is_freed_by_another() -> None:
    found = figures("--profile", "producer-consumer", "--ops", "20000")
    assert found["calls"]["malloc"] == found["calls"]["free"] == 10_000


def test_shrink_shows_resident_memory_at_each_phase() -> None:
    found = figures("--profile", "shrink", "--ops", "120000")
    resident = {phase["name"]: phase["resident"] for phase in found["phases"]}
    assert list(resident) == ["grown", "freed", "idle", "small"]
    assert found["memory"]["requested_peak"] >= 384 << 20
    assert resident["grown"] >= 384 << 20
    assert resident["freed"] <= resident["grown"]
    requested = [phase["requested"] for phase in found["phases"]]
    assert requested[0] == found["memory"]["requested_peak"]
    assert requested[1] == requested[2]
    assert 0.14 < requested[1] / requested[0] < 0.16
    assert resident["idle"] >= 384 * 0.15 * (1 << 20)


def test_a_sequence_that_ends_before_a_phase_says_so() -> None:
    words = ("--profile", "shrink", "--ops", "100")
    for phase in figures(*words)["phases"]:
        assert (phase["requested"], phase["resident"]) == (None, None)
    assert run(*words).stdout.endswith("\nresident when small: not available\n")


@pytest.mark.parametrize("profile", ["mixed", "replace-30k", "producer-consumer", "phases"])
def test_a_brief_run_makes_the_same_calls(profile: str) -> None:
    words = ("--profile", profile, "--ops", "300000")
    brief, whole = figures(*words, "--brief"), figures(*words)
    for name in ("digest", "calls", "threads"):
        assert brief[name] == whole[name]
    assert brief["fragmentation_pct"] is brief["memory"]["requested_peak"] is None
    assert brief["memory"]["resident_peak"] > 0
    left_out = ["idle"] if profile == "phases" else []
    assert [each["name"] for each in brief["phases"] or () if each["resident"] is None] == left_out
    calls = [each["latency_ns"]["count"] + each["free_latency_ns"]["count"] for each in
             (brief, whole)]  # fmt: skip
    # Threads wait for each other's blocks; a mark is no call.
    timed = 300_000 if profile == "producer-consumer" else 200_000
    assert timed - 5 <= calls[0] <= timed
    assert calls[1] == 300_000
    assert "most requested: not available" in run(*words, "--brief", "--details").stdout


def test_a_recording_is_replayed(tmp_path: Path) -> None:
    recording = tmp_path / "calls.rep"
    recording.write_text(REPLAYED)
    for allocator in ("core", "system"):
        found = figures("--trace", str(recording), "--allocator", allocator)
        assert (found["profile"], found["seed"]) == ("trace", None)
        assert found["trace"] == str(recording)
        assert found["calls"] == {"malloc": 3, "free": 3, "realloc": 2, "aligned": 0, "calloc": 0}
        assert found["ops"] == 8
        assert found["memory"]["requested_peak"] == 768
    text = run("--trace", str(recording)).stdout
    assert text.splitlines()[1] == f"profile=trace file={recording} ops=8"


def test_a_recording_is_cut_after_ops(tmp_path: Path) -> None:
    recording = tmp_path / "calls.rep"
    recording.write_text(REPLAYED)
    found = figures("--trace", str(recording), "--ops", "2")
    assert found["calls"]["malloc"] == found["ops"] == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", ":1: the four lines of the header are missing"),
        ("1\n2\n3\n4\n", ":5: fewer operations than the header says"),
        ("1\n2\nthree\n4\n", ":3: not a number where one should be"),
        ("1\n2\n2\n4\na 0 8\na 0 8\n", ":6: the block is live already"),
        ("1\n2\n1\n4\nf 0\n", ":5: the block is not live"),
        ("1\n2\n1\n4\nq 0\n", ":5: "),
        ("1\n2\n1\n4\na 0 8 9\n", ":5: more on the line than an operation"),
        ("1\n2\n1\n4\na 0 1073741824\n", ": a block of 1 GiB or more"),
    ],
)
def test_a_bad_recording_is_refused_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    recording = tmp_path / "bad.rep"
    recording.write_text(text)
    ended = run("--trace", str(recording))
    first, second, *_ = ended.stderr.splitlines()
    assert first.startswith(f"allocbench: {recording}{reason}")
    assert second.startswith(USAGE)
    assert (ended.status, ended.stdout) == (2, "")


def broken(folder: Path, fault: str, first_pass: int = 1) -> Path:
    """A malloc with a fault, from a pass on."""
    source = Path(__file__).with_name("broken_malloc.c")
    library = folder / f"{fault}-{first_pass}.so"
    flags = ["-O1", "-shared", "-fPIC", "-pthread", f"-DFAULT={fault}", f"-DPASS={first_pass}"]
    subprocess.run(["gcc", *flags, "-o", str(library), str(source)], check=True)
    return library


FAULTS = [
    ("TWICE", "small", "does not hold what was written into it"),
    ("SCRIBBLE", "small", "does not hold what was written into it"),
    ("NO_COPY", "realloc", "does not hold what was written into it"),
    ("MISALIGNED", "mixed", "is not aligned to 16"),
    ("MISALIGNED", "aligned", "is not aligned to"),
    ("SHORT", "mixed", "has a usable size of"),
    ("NOT_ZERO", "calloc", "byte 100 of a zeroed block of"),
    ("NO_MEMORY", "mixed", "no memory for"),
    ("CRASH", "mixed", "the pass for contents was killed by signal 11"),
]


@pytest.mark.parametrize(("fault", "profile", "reason"), FAULTS)
def test_a_broken_allocator_fails(tmp_path: Path, fault: str, profile: str, reason: str) -> None:
    library = broken(tmp_path, fault)
    words = ("--allocator", "system", "--profile", profile, "--ops", "20000")
    ended = run(*words, preload=library)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr.startswith("allocbench: system: ")
    assert reason in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("first_pass", [2, 3])
@pytest.mark.parametrize("fault", ["TWICE", "SCRIBBLE"])
@pytest.mark.parametrize("profile", ["producer-consumer", "server"])
def test_threads_check_contents_in_the_measured_passes_too(
    tmp_path: Path, profile: str, fault: str, first_pass: int
) -> None:
    library = broken(tmp_path, fault, first_pass)
    ended = run("--allocator", "system", "--profile", profile, preload=library)
    assert ended.status == 1
    assert "does not hold what was written into it" in ended.stderr


@pytest.mark.parametrize(("first_pass", "name"), [(2, "rates"), (3, "latencies")])
def test_a_crash_is_no_time(tmp_path: Path, first_pass: int, name: str) -> None:
    ended = run("--allocator", "system", preload=broken(tmp_path, "CRASH", first_pass))
    assert (ended.status, ended.stdout) == (1, "")
    assert f"the pass for {name} was killed by signal 11" in ended.stderr
