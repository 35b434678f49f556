"""The ABI programs on aarch64 and riscv64 under qemu-user, with pages of 4, 16 and 64 KiB.

Short form: a choice of programs on the release library. `--long`: every program, release and
debug. What qemu cannot show is listed below with its reason. Static programs are not here: the ABI
programs ask for names that musl, the one static libc at hand, does not have.
"""

from __future__ import annotations

import pytest

from liballoc.toolchain import variants
from tests.cross.machines import MACHINES, Emulated, Machine
from tests.native import ROOT, Case, Subject, cases_of, skip_missing

SOURCES = ROOT / "tests" / "abi" / "src"
PAGES = (4096, 16384, 65536)
SHORT = (
    "alignment.c", "alloc_h.c", "arenas.c", "errno_kept.c", "overflow.c", "pools.c", "realloc.c",
    "zeroing.c",
)  # fmt: skip
LONG = (
    *SHORT, "fork.c", "heaps.c", "hft.c", "introspect.c", "libc_results.c", "shared_pools.c",
    "signals.c", "threads.c", "usable.c",
)  # fmt: skip

# On aarch64 each of these but sparse.c, kept.c and those of libstdc++, and each case below, was
# seen to fail or hang with glibc's malloc too.
NOT_HERE_PROGRAMS = {
    "give_back.c": "reads /proc/self/statm, which counts qemu's own memory",
    "oom.c": "qemu ignores RLIMIT_AS set by the program",
    "sparse.c": "reads /proc/self/statm, which counts qemu's own memory",
    "startup.c": "its ifunc resolver crashes under qemu-aarch64",
    "kept.c": "limits of address space and resident memory, which are those of qemu there",
    "cxx_new.cpp": "zig's libc++ is static and has operators of its own; libstdc++ is not here",
    "cxx_replace.cpp": "as cxx_new.cpp",
    "lifetime.cpp": "as cxx_new.cpp",
    "matrix.cpp": "as cxx_new.cpp",
    "stepped.c": "single-steps with ptrace and x86-64 flags, which qemu-user does not play",
    "stepped_twice.c": "as stepped.c",
}
MINCORE = "qemu answers mincore in pages of the host, 16 times as many as there is room for"
SIZES = "reads /proc/self/statm, which counts qemu's own memory in pages of the host"
FORKS = "qemu loses a child that several threads, or a handler, have forked"
POPULATE = "qemu answers MADV_POPULATE_WRITE with 0 and does nothing"
STORMS = "signals come faster than qemu delivers them: no end"
NOT_HERE: dict[str, str] = {
    "alloc_h.stats_of_huge_blocks": MINCORE,
    "fork.C23_child_of_many_threads_exits": FORKS,
    "fork.C23_threads_allocate_while_forking": FORKS,
    "fork.C23_threads_fork_together": FORKS,
    "fork.C26_vfork_child_that_allocates": "vfork is fork there",
    "fork.C27_child_of_many_threads_has_threads": FORKS,
    "fork.C30_fork_in_a_signal_handler": FORKS,
    "hft.pool_needs_no_page_later": POPULATE,
    "pools.prefaulted": POPULATE,
    "realloc.C34_zero_frees": SIZES,
    "realloc.huge_growth_does_not_copy": SIZES,
    "signals.C30_handler_forks_and_child_returns": FORKS,
    "signals.C30_interval_timer": STORMS,
    "signals.C30_storm_from_another_thread": STORMS,
    "threads.C03_first_call_is_a_remote_free": SIZES,
    "threads.C13_last_act_is_a_free_in_a_destructor": SIZES,
    "threads.C32_producer_and_consumer": SIZES,
    "threads.C31_memory_of_dead_threads_is_reused": SIZES,
    "threads.C31_ten_thousand_short_threads": SIZES,
    "threads.a_hundred_thousand_last_acts": "as many threads take minutes there",
}


def chosen(request: pytest.FixtureRequest, machine: Machine, page: int) -> Emulated:
    """The emulator of a test; skips with the missing packages, or in the short form."""
    absent = machine.missing()
    if absent:
        skip_missing(f"missing packages: {' '.join(absent)}")
    factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    return Emulated(factory.getbasetemp(), machine, page)


def subject_of(name: str, machine: Machine) -> Subject:
    """The library of a machine, as it gets into the program."""
    mode = "debug" if name == "debug" else "release"
    variant = variants.Variant(mode, machine.architecture)
    path = variant.shared(ROOT)
    if not path.is_file():
        pytest.fail(f"{path.relative_to(ROOT)} is missing: ./dev build -- --all")
    return Subject(name, path)


def plan() -> list[tuple[Machine, str, int, Case]]:
    """Every case that qemu can show, on everything it is run on."""
    rows = []
    for machine in MACHINES:
        for program in LONG:
            for case in cases_of(SOURCES / program):
                if case.id in NOT_HERE:
                    continue
                # riscv64 has no pages but those of 4 KiB.
                pages = PAGES if machine.architecture == "aarch64" else PAGES[:1]
                rows += [(machine, "release", page, case) for page in pages]
                rows.append((machine, "debug", 4096, case))
    return rows


def is_short(machine: Machine, name: str, page: int, case: Case) -> bool:
    """Enough to see that the library works there."""
    programs = SHORT if page != 16384 else ("zeroing.c",)
    return name == "release" and case.source.name in programs


def parameter(row: tuple[Machine, str, int, Case]) -> object:
    """A row of the plan as pytest wants it."""
    machine, name, page, case = row
    return pytest.param(
        row,
        id=f"{machine.architecture}-{name}-{page >> 10}k-{case.id}",
        marks=[] if is_short(*row) else [pytest.mark.cross_long],
    )


@pytest.mark.parametrize("row", [parameter(row) for row in plan()])
def test_C46_C47_case(row: tuple[Machine, str, int, Case], request: pytest.FixtureRequest) -> None:
    machine, name, page, case = row
    emulated = chosen(request, machine, page)
    outcome = emulated.run_case(case, subject_of(name, machine))
    assert outcome.status == 0, outcome.ending


def test_what_cannot_be_shown_exists() -> None:
    programs = {path.name for path in SOURCES.iterdir() if path.suffix in {".c", ".cpp"}}
    with_arguments = {"plugins.c", "traffic.c"}
    assert programs == {*LONG, *NOT_HERE_PROGRAMS, *with_arguments}
    cases = {case.id for program in LONG for case in cases_of(SOURCES / program)}
    assert set(NOT_HERE) <= cases
