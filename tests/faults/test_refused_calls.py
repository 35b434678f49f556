"""mmap, munmap, mprotect, madvise and mremap refused, in the release library, under programs.

The n-th call of the library is refused for every n until a run makes no further one. A program
then either ends normally with the right output, or says in its own words that memory is out. The
C program `mixed` also frees and tries again, and measures at the end that nothing was lost.

The short form refuses each of the first calls and then every so many; FAULTS_LONG=1 refuses every
one (about ten minutes on two cores). FAULTS_SEED is the seed of `mixed`. A failure prints the
options of the launcher (src/refuse.c) that repeat it. Rows C41, C42, C49 and C51.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.faults.refusal import LONG, Refusal, Supervised, Supervisor, judge_clear, sweep
from tests.native import Native, skip_missing

MIXED = Path(__file__).resolve().parent / "src" / "mixed.c"
SEED = os.environ.get("FAULTS_SEED", "1")
CALLS = ["mmap", "munmap", "mprotect", "madvise", "mremap"]
ERRORS = {
    "mmap": ["ENOMEM"],
    "munmap": ["ENOMEM"],
    "mprotect": ["ENOMEM"],
    "madvise": ["EAGAIN", "ENOMEM", "EPERM", "ENOSYS"],
    "mremap": ["ENOMEM", "EAGAIN", "EPERM", "ENOSYS"],
}
PAIRS = [(call, error) for call in CALLS for error in ERRORS[call]]
FIRST_PAIRS = PAIRS if LONG else [(call, ERRORS[call][0]) for call in CALLS]
OUT_OF_MEMORY = 3


@pytest.fixture(scope="session")
def mixed(native: Native) -> Path:
    """The C program, see its source."""
    return native.build(MIXED)


def judge_recovered(each: Supervised) -> None:
    """One refusal never stops a program that tries again, and nothing is lost by it."""
    assert each.outcome.status == 0, each.ending
    assert each.outcome.stderr == "", each.ending


@pytest.mark.parametrize(("call", "error"), FIRST_PAIRS)
def test_C41_one_refusal(supervisor: Supervisor, mixed: Path, call: str, error: str) -> None:
    command = [mixed, "one_thread", SEED, "once"]
    refusal = Refusal(call, error)
    assert sweep(lambda each: supervisor.run(each, command), refusal, judge_recovered) > 0


@pytest.mark.parametrize("call", CALLS)
def test_C41_one_refusal_among_threads(supervisor: Supervisor, mixed: Path, call: str) -> None:
    command = [mixed, "threads", SEED, "once"]
    refusal = Refusal(call, ERRORS[call][0])
    assert sweep(lambda each: supervisor.run(each, command), refusal, judge_recovered) > 0


def judge_ended(each: Supervised) -> None:
    """All went well without, or the program gave up in its own words."""
    outcome = each.outcome
    if outcome.status == OUT_OF_MEMORY:
        # Threads may say it together.
        assert set(outcome.stderr.splitlines()) == {"mixed: out of memory"}, each.ending
        return
    judge_recovered(each)


@pytest.mark.parametrize("case", ["one_thread", "threads"])
@pytest.mark.parametrize(("call", "error"), FIRST_PAIRS)
def test_C41_refused_for_ever(
    supervisor: Supervisor, mixed: Path, case: str, call: str, error: str
) -> None:
    command = [mixed, case, SEED, "for-ever"]
    refusal = Refusal(call, error, onwards=True)
    assert sweep(lambda each: supervisor.run(each, command), refusal, judge_ended) > 0


@pytest.mark.parametrize(("call", "error"), [p for p in PAIRS if p[0] in {"madvise", "mremap"}])
def test_C49_a_sandbox_without_the_call(
    supervisor: Supervisor, mixed: Path, call: str, error: str
) -> None:
    # Advice and moving pages are never needed: a program does not notice that they are missing.
    # Nothing is lost either, but without advice memory does not go back.
    refusal = Refusal(call, error, nth=1, onwards=True)
    form = "for-ever" if call == "madvise" else "once"
    each = supervisor.run(refusal, [mixed, "one_thread", SEED, form])
    judge_recovered(each)
    assert each.refused > 0


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_C49_moves_that_are_not_allowed_cost_no_address_space(
    supervisor: Supervisor, mixed: Path, error: str
) -> None:
    # realloc then copies; the place it had reserved for the move must go back each time.
    refusal = Refusal("mremap", error, nth=1, onwards=True)
    each = supervisor.run(refusal, [mixed, "moves", SEED, "once"])
    judge_recovered(each)
    assert each.refused > 10


def test_C51_refused_advice_is_not_asked_for_again_and_again(
    supervisor: Supervisor, mixed: Path
) -> None:
    # C51: madvise answers EAGAIN under memory pressure; to insist is to spin.
    command = [mixed, "one_thread", SEED, "for-ever"]
    accepted = supervisor.run(Refusal("madvise", "EAGAIN"), command)
    refused = supervisor.run(Refusal("madvise", "EAGAIN", nth=1, onwards=True), command)
    assert refused.outcome.status == 0, refused.ending
    assert refused.refused == refused.calls > 0
    assert refused.calls <= accepted.calls, (refused.calls, accepted.calls)


@pytest.mark.parametrize("size", [1 << 40, 1 << 34, 1 << 30, 1 << 26, 1 << 23])
def test_C42_reservations_above_a_size_refused(
    supervisor: Supervisor, mixed: Path, size: int
) -> None:
    # C42: strict overcommit, or a sandbox that counts address space.
    refusal = Refusal("mmap", "ENOMEM", nth=1, onwards=True, reservations=size)
    for case in ("one_thread", "threads"):
        each = supervisor.run(refusal, [mixed, case, SEED, "once"])
        judge_recovered(each)
        assert each.refused > 0 or size > 1 << 36, each.ending


def test_C42_every_reservation_refused(supervisor: Supervisor, mixed: Path) -> None:
    refusal = Refusal("mmap", "ENOMEM", nth=1, onwards=True, reservations=1)
    judge_ended(supervisor.run(refusal, [mixed, "one_thread", SEED, "for-ever"]))


@pytest.mark.parametrize("call", ["mmap", "munmap", "mprotect"])
def test_C41_refusals_to_libc_and_the_loader_too(
    supervisor: Supervisor, mixed: Path, call: str
) -> None:
    # The loader gives up (status 127), leaves the library out, or all is well. It crashes itself
    # when its first call is refused: then it does so without the library too.
    command = [mixed, "threads", SEED, "for-ever"]

    def judge(each: Supervised) -> None:
        outcome = each.outcome
        assert "liballoc:" not in outcome.stderr, each.ending
        if outcome.status < 0:
            bare = supervisor.run(each.refusal, command, preload=False)
            assert bare.outcome.status == outcome.status, each.ending
        elif outcome.status == 127:
            assert "cannot" in outcome.stderr or "error" in outcome.stderr, each.ending
        else:
            assert outcome.status in {0, OUT_OF_MEMORY}, each.ending

    # Every one in the short form too: the library's first calls come after many of the loader's.
    refusal = Refusal(call, ERRORS[call][0], everybody=True)
    assert sweep(lambda each: supervisor.run(each, command), refusal, judge, long=True) > 0


@dataclass(frozen=True)
class Program:
    """A real program, its input, and the file that it makes besides its output."""

    name: str
    command: tuple[str, ...]
    files: tuple[tuple[str, str], ...] = ()
    product: str = ""
    calls: tuple[str, ...] = ("mmap", "mprotect", "madvise")
    """Those of CALLS that the library makes under it; the others would show nothing."""


WORDS = "".join(f"word-{number * 7919 % 100003:06d}\n" for number in range(20000))
TABLE = """CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, note BLOB);
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 8000)
INSERT INTO item SELECT n, printf('item-%d', n * 7919 % 10007), zeroblob(n % 300) FROM number;
CREATE INDEX item_name ON item (name);
SELECT count(*), min(name), max(name), sum(length(note)) FROM item;
SELECT group_concat(name) FROM (SELECT name FROM item ORDER BY name LIMIT 2000);
"""
JSON = """import json
rows = [{"id": n, "name": str(n * 7919 % 10007), "in": {"value": n / 3}} for n in range(3000)]
text = json.dumps(rows, indent=1)
assert json.loads(text) == rows
print(text)
"""
VECTORS = """import zlib
both = bytearray(), bytearray()
while len(both[1]) < 30_000_000:
    for grown in both:
        grown += bytes(range(256)) * 4000
print(*(zlib.crc32(grown) for grown in both))
"""
FUNCTIONS = "".join(f"int f{n}(int a) {{ return a * {n} + {n % 7}; }}\n" for n in range(300))
PROGRAMS = [
    Program("ls", ("ls", "-la", "/usr/include")),
    Program(
        "sort", ("sort", "--parallel=2", "words"), (("words", WORDS),),
        calls=("mmap", "munmap", "mprotect", "madvise"),
    ),
    Program("sqlite3", ("sqlite3", ":memory:", ".read table.sql"), (("table.sql", TABLE),)),
    Program("python", (sys.executable, "-I", "json.py"), (("json.py", JSON),)),
    Program(
        "vectors", (sys.executable, "-I", "vectors.py"), (("vectors.py", VECTORS),),
        calls=tuple(CALLS),
    ),
    Program("gcc", ("gcc", "-O1", "-c", "f.c", "-o", "f.o"), (("f.c", FUNCTIONS),), "f.o"),
]  # fmt: skip
PROGRAM_CALLS = [(program, call) for program in PROGRAMS for call in program.calls]


def run_program(supervisor: Supervisor, program: Program, refusal: Refusal) -> Supervised:
    """Runs it in a fresh folder; what it made is appended to its output."""
    with tempfile.TemporaryDirectory(dir=supervisor.launcher.parent) as name:
        folder = Path(name)
        for file, text in program.files:
            (folder / file).write_text(text)
        each = supervisor.run(refusal, program.command, cwd=folder)
        if program.product and each.outcome.status == 0:
            made = (folder / program.product).read_bytes().hex()
            outcome = replace(each.outcome, stdout=each.outcome.stdout + made)
            return replace(each, outcome=outcome)
        return each


@pytest.mark.parametrize(
    ("program", "call"), PROGRAM_CALLS, ids=[f"{each.name}-{call}" for each, call in PROGRAM_CALLS]
)
def test_C41_programs(supervisor: Supervisor, program: Program, call: str) -> None:
    if shutil.which(program.command[0]) is None:
        skip_missing(f"{program.command[0]} is not installed")
    whole = run_program(supervisor, program, Refusal(call, "ENOMEM"))
    assert whole.outcome.status == 0, whole.ending
    expected = whole.outcome.stdout
    refusals = 0
    for error in ERRORS[call] if LONG else ERRORS[call][:1]:
        for onwards in (False, True) if LONG else (False,):
            refusals += sweep(
                lambda each: run_program(supervisor, program, each),
                Refusal(call, error, onwards=onwards),
                lambda each: judge_clear(each, expected),
            )
    assert refusals > 0
