"""Rows C42 to C51 of the compatibility table: what a kernel, a limit or a sandbox does to the heap.

A test is named by the row that it shows; docs/compat.md is made from these names. What changes the
whole machine (overcommit) runs only with LIBALLOC_MACHINE_SETTINGS=1, as root, and is put back.
"""

from __future__ import annotations

import errno
import os
import resource
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.native import SKIPPED, Native, Outcome, Subject, skip_missing

SOURCES = Path(__file__).resolve().parent / "src"
KERNEL = SOURCES / "kernel.c"
GIB = 1 << 30
NOBODY = 65534
HUGE_PAGE_KIB = 2048
OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")

Limit = tuple[int, int]


def check(outcome: Outcome) -> Outcome:
    """A case that passed; skips where it says that the machine cannot show it."""
    __tracebackhide__ = True
    if outcome.status == SKIPPED:
        pytest.skip(outcome.stderr.strip())
    assert outcome.status == 0, outcome.ending
    assert "liballoc:" not in outcome.stderr, outcome.ending
    return outcome


def limited(kind: int, size: int) -> Callable[[], None]:
    """What a child does before it starts the program."""
    return lambda: resource.setrlimit(kind, (size, size))


def confined(native: Native, subject: Subject, rules: list[str], *case: str) -> Outcome:
    """A case of kernel.c under a seccomp filter."""
    launcher = native.build(SOURCES / "confine.c")
    program = native.build(KERNEL, subject)
    return native.run(launcher, *rules, "--", program, *case, subject=subject)


def need_memory(gib: float) -> None:
    """Skips where the machine is too small for it; where something else has the memory just now,
    that is a failure if no skip is allowed."""
    memory = psutil.virtual_memory()
    if memory.total < 3 * gib * GIB:
        pytest.skip(f"the machine has less than {3 * gib} GiB of memory")
    if memory.available < gib * GIB:
        skip_missing(f"less than {gib} GiB of memory are free")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user may enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="liballoc-compat-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("limit_mib", [64, 16])
def test_C42_a_big_reservation_is_refused(
    native: Native, preloaded: Subject, limit_mib: int
) -> None:
    # What overcommit refuses as a rule: no single mapping above the limit.
    rule = f"above:mmap:1:{limit_mib << 20}:{errno.ENOMEM}"
    check(confined(native, preloaded, [rule], "churns_small"))


@pytest.mark.parametrize("mode", [1, 2])
def test_C42_overcommit_modes(native: Native, release: Subject, mode: int) -> None:
    # Skipped unless asked for: under strict accounting every program of the machine, not only this
    # test, is refused memory that was only reserved. The cases themselves hold in every mode.
    if os.environ.get("LIBALLOC_MACHINE_SETTINGS") != "1" or not os.access(OVERCOMMIT, os.W_OK):
        pytest.skip("changes the whole machine: as root, with LIBALLOC_MACHINE_SETTINGS=1")
    before = OVERCOMMIT.read_text()
    program = native.build(KERNEL)
    try:
        OVERCOMMIT.write_text(str(mode))
        check(native.run(program, "charges_what_it_uses", subject=release))
        check(native.run(program, "churns", subject=release))
    finally:
        OVERCOMMIT.write_text(before)


def test_C42_charges_what_it_uses(native: Native, preloaded: Subject) -> None:
    check(native.run(native.build(KERNEL), "charges_what_it_uses", subject=preloaded))


def test_C42_charges_what_it_uses_on_glibc(native: Native, glibc: Subject) -> None:
    check(native.run(native.build(KERNEL), "charges_what_it_uses", subject=glibc))


def test_C42_a_writable_reservation_is_seen(native: Native, release: Subject) -> None:
    # The kernel charges it in no mode but strict accounting: the case sees it all the same.
    program = native.build(KERNEL)
    outcome = native.run(program, "charges_what_it_uses", "writable", subject=release)
    assert outcome.status == 1, outcome.ending
    assert "charged at the start" in outcome.stderr


@pytest.mark.parametrize("size_kib", [64, 512, 3000, 40960])
@pytest.mark.parametrize(("limit", "held_mib"), [(512 << 20, 400), (8 * GIB, 7000)])
def test_C43_limited_address_space(
    native: Native, release: Subject, limit: int, held_mib: int, size_kib: int
) -> None:
    need_memory(1.5)
    outcome = native.run(
        native.build(KERNEL), "holds", str(held_mib), str(size_kib),
        subject=release, env={"ALLOC_CONF": "thp:never"},
        preexec_fn=limited(resource.RLIMIT_AS, limit),
    )  # fmt: skip
    check(outcome)


def test_C43_churns_in_limited_address_space(native: Native, preloaded: Subject) -> None:
    limit = limited(resource.RLIMIT_AS, 768 << 20)
    check(native.run(native.build(KERNEL), "churns", subject=preloaded, preexec_fn=limit))


def test_C44_sparse_heap_of_200_gib(native: Native, release: Subject) -> None:
    need_memory(2)
    program = native.build(SOURCES / "mappings.c")
    check(native.run(program, "sparse_heap", "200", subject=release))


@pytest.mark.parametrize("case", ["grown_blocks", "huge_blocks"])
def test_C44_many_blocks_with_mappings(native: Native, release: Subject, case: str) -> None:
    need_memory(2)
    check(native.run(native.build(SOURCES / "mappings.c"), case, subject=release))


def run_as_nobody(native: Native, library: Path, source: str, folder: Path) -> Outcome:
    """A case as a user who may lock 8 MiB at most: preloaded, or given the library to open."""
    if os.geteuid() != 0:
        pytest.skip("only root can become a user who may not lock memory")
    program = shutil.copy(native.build(SOURCES / source), folder / "program")
    own = str(shutil.copy(library, folder / library.name))
    limit = limited(resource.RLIMIT_MEMLOCK, 8 << 20)
    if source == "locked_late.c":
        case, more, env = "before_the_first_call", [own], {}
    else:
        case, more = "future_under_a_small_limit", []
        env = {"LD_PRELOAD": own, "ABI_PROVIDER": own}
    return native.run(program, case, *more, env=env, user=NOBODY, preexec_fn=limit)


@pytest.mark.parametrize("source", ["locked.c", "locked_late.c"])
def test_C45_locked_future(native: Native, library: Path, open_folder: Path, source: str) -> None:
    check(run_as_nobody(native, library, source, open_folder))


def test_C45_all_locked_without_a_limit(native: Native, preloaded: Subject) -> None:
    need_memory(1.5)
    program = native.build(SOURCES / "locked.c")
    check(native.run(program, "all_without_a_limit", subject=preloaded))


@pytest.mark.parametrize("bits", [39, 36])
def test_C47_smaller_address_space(native: Native, library: Path, bits: int) -> None:
    # Opened late: nothing has called the library when the upper part is occupied.
    program = native.build(SOURCES / "addresses.c")
    check(native.run(program, "of_so_many_bits", library, str(bits)))


def test_C47_addresses_of_57_bits(native: Native, library: Path) -> None:
    program = native.build(SOURCES / "addresses.c")
    env = {"ALLOC_CONF": "foreign:ignore"}
    check(native.run(program, "above_47_bits", library, env=env))


@pytest.mark.parametrize("layout", ["--addr-compat-layout", "--addr-no-randomize"])
def test_C47_other_layouts(native: Native, release: Subject, layout: str) -> None:
    setarch = shutil.which("setarch")
    if setarch is None:
        skip_missing("no setarch (Debian package util-linux)")
    program = native.build(KERNEL)
    check(native.run(setarch, layout, program, "churns", subject=release))


def footprint(native: Native, subject: Subject, mode: str) -> tuple[int, int, int]:
    """Resident KiB when full, with a tenth left, and at the end, in one mode of huge pages."""
    program = native.build(SOURCES / "hugepages.c")
    arguments = ["footprint", "always"] if mode == "always" else ["footprint"]
    env = {"ALLOC_CONF": "thp:never"} if mode == "never" else {}
    full, tenth, end = check(
        native.run(program, *arguments, subject=subject, env=env)
    ).stdout.split()
    return int(full), int(tenth), int(end)


@pytest.mark.parametrize("mode", ["always", "madvise"])
def test_C48_huge_pages_keep_the_footprint(native: Native, release: Subject, mode: str) -> None:
    # `always` is asked for by the program, over the whole heap; `never` by the option.
    need_memory(1)
    without, with_them = footprint(native, release, "never"), footprint(native, release, mode)
    print(f"never {without}, {mode} {with_them}")
    for low, high in zip(without, with_them, strict=True):
        # Of a heap that held 220 MiB; where little is left a huge page or two are more than 10 %.
        assert high <= low * 1.10 + 2 * HUGE_PAGE_KIB


@pytest.mark.parametrize("subject_name", ["release", "debug"])
@pytest.mark.parametrize(
    "call", ["madvise", "mremap", "getrandom", "prctl", "rseq", "membarrier", "sysinfo",
             "prlimit64", "mincore", "readlink"],
)  # fmt: skip
@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_C49_a_refused_call_is_tolerated(
    native: Native, call: str, error: str, subject_name: str, request: pytest.FixtureRequest
) -> None:
    fixture = "library" if subject_name == "release" else "debug_library"
    subject = Subject(subject_name, request.getfixturevalue(fixture))
    number = getattr(errno, error)
    check(confined(native, subject, [f"errno:{call}:{number}"], "churns_small"))


def test_C49_all_of_them_refused(native: Native, preloaded: Subject) -> None:
    calls = ("madvise", "mremap", "getrandom", "rseq", "membarrier", "sysinfo", "mincore")
    rules = [f"errno:{call}:{errno.EPERM}" for call in calls]
    check(confined(native, preloaded, rules, "churns"))


def test_C49_sandbox_after_init(native: Native, preloaded: Subject) -> None:
    check(native.run(native.build(KERNEL), "sandbox_after_init", subject=preloaded))


def test_C49_sandbox_in_limited_address_space(native: Native, preloaded: Subject) -> None:
    # Regions are small then: further ones are reserved inside the sandbox.
    need_memory(2)
    program, limit = native.build(KERNEL), limited(resource.RLIMIT_AS, 3 * GIB)
    check(native.run(program, "sandbox_that_grows", subject=preloaded, preexec_fn=limit))


def test_C49_the_sandbox_is_one(native: Native, release: Subject) -> None:
    outcome = native.run(native.build(KERNEL), "sandbox_kills", subject=release)
    if outcome.status == SKIPPED:
        pytest.skip(outcome.stderr.strip())
    assert outcome.status == -signal.SIGSYS, outcome.ending


def in_namespace(native: Native, subject: Subject, script: str) -> Outcome:
    """Runs a shell script in a mount namespace of its own."""
    unshare = shutil.which("unshare")
    if unshare is None:
        skip_missing("no unshare (Debian package util-linux)")
    own = ["--mount"] if os.geteuid() == 0 else ["--map-root-user", "--mount"]
    probe = subprocess.run([unshare, *own, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no mount namespace: {probe.stderr.decode().strip()}")
    return native.run(unshare, *own, "sh", "-ec", script, subject=subject)


def test_C50_without_proc_and_sys(native: Native, preloaded: Subject) -> None:
    program = shlex.quote(str(native.build(KERNEL)))
    hide = "mount -t tmpfs none /proc && mount -t tmpfs none /sys"
    check(in_namespace(native, preloaded, f"{hide} && exec {program} churns"))


def test_C50_read_only_file_system(native: Native, preloaded: Subject) -> None:
    program = shlex.quote(str(native.build(KERNEL)))
    script = f"mount --bind / /mnt && mount -o remount,bind,ro /mnt && exec chroot /mnt {program}"
    check(in_namespace(native, preloaded, f"{script} churns"))


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_C50_closed_standard_streams(native: Native, preloaded: Subject, closed: str) -> None:
    program = shlex.quote(str(native.build(KERNEL)))
    outcome = native.run("/bin/sh", "-c", f"exec {program} churns {closed}", subject=preloaded)
    assert outcome.status == 0, outcome.ending


def test_C50_keeps_no_file_open(native: Native, preloaded: Subject) -> None:
    check(native.run(native.build(KERNEL), "keeps_no_file_open", subject=preloaded))


def test_C50_keeps_no_file_open_on_glibc(native: Native, glibc: Subject) -> None:
    check(native.run(native.build(KERNEL), "keeps_no_file_open", subject=glibc))


def test_C51_madvise_is_refused_for_a_while(native: Native, preloaded: Subject) -> None:
    outcome = check(native.run(native.build(KERNEL), "madvise_says_eagain", subject=preloaded))
    assert int(outcome.stdout) > 0, "madvise was never called: nothing was shown"
