"""Rows C52 to C58 of the compatibility table: CPUs, libcs and containers a heap finds itself in.

What only other machines show (hot-plugged CPUs, more than 1,024 of them, gVisor, WSL2) stands in
rows.toml with what is shown instead.
"""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compat.test_kernel import KERNEL, check, confined, in_namespace
from tests.native import Native, Subject, clean_environment, make_subject

CPU_QUOTA_FOLDERS = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))


def on_cpu(cpu: int) -> Callable[[], None]:
    """What a child does before it starts the program."""
    return lambda: os.sched_setaffinity(0, {cpu})


@pytest.mark.parametrize("subject_name", ["release", "debug", "glibc"])
def test_C52_moves_between_cpus(
    native: Native, subject_name: str, request: pytest.FixtureRequest
) -> None:
    subject = make_subject(subject_name, request)
    check(native.run(native.build(KERNEL), "moves_between_cpus", subject=subject))


def test_C52_cpu_ids_above_the_count(native: Native, preloaded: Subject) -> None:
    # One usable CPU, and its id is at least that count.
    last = max(os.sched_getaffinity(0))
    if last == 0:
        pytest.skip("this machine has CPU 0 alone")
    outcome = native.run(
        native.build(KERNEL), "churns_in_64_threads", subject=preloaded, preexec_fn=on_cpu(last)
    )
    check(outcome)


def test_C52_half_a_cpu(native: Native, release: Subject) -> None:
    program = native.build(KERNEL)
    folder = quota_folder()
    try:
        script = f"echo $$ > {folder}/cgroup.procs; exec {shlex.quote(str(program))} churns_small"
        check(native.run("/bin/sh", "-c", script, subject=release))
    finally:
        folder.rmdir()


def quota_folder() -> Path:
    """A new control group with half a CPU; skips where there can be none."""
    for parent in CPU_QUOTA_FOLDERS:
        folder = parent / f"liballoc-test-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        for file, value in (("cpu.max", "50000 100000"), ("cpu.cfs_quota_us", "50000")):
            if (folder / file).exists():
                (folder / file).write_text(value)
                return folder
        folder.rmdir()
    pytest.skip("no control group for CPU time can be made here")


def test_C53_never_asks_for_cpus(native: Native, preloaded: Subject) -> None:
    # What does not know CPUs cannot fail at the 1,025th: the questions are deadly, 64 threads run.
    rules = ["kill:getcpu", "kill:sched_getaffinity"]
    check(confined(native, preloaded, rules, "churns_in_64_threads"))


@pytest.mark.parametrize("rseq", ["0", "1"])
def test_C54_rseq_registered_or_not(native: Native, preloaded: Subject, rseq: str) -> None:
    env = {"GLIBC_TUNABLES": f"glibc.pthread.rseq={rseq}"}
    for case in ("churns_small", "churns_in_64_threads"):
        check(native.run(native.build(KERNEL), case, subject=preloaded, env=env))


def test_C54_rseq_is_not_needed(native: Native, preloaded: Subject) -> None:
    check(confined(native, preloaded, ["errno:rseq:38"], "churns_in_64_threads"))


def test_C56_core_is_as_large_as_what_is_resident(
    native: Native, release: Subject, tmp_path: Path
) -> None:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith("|") or "/" in pattern:
        pytest.skip(f"core files go elsewhere here: {pattern}")
    if resource.getrlimit(resource.RLIMIT_CORE)[1] not in {resource.RLIM_INFINITY, -1}:
        limit = resource.getrlimit(resource.RLIMIT_CORE)[1]
        if limit == 0:
            pytest.skip("core files are not allowed")
    outcome = native.run(native.build(KERNEL), "dumps_core", subject=release, cwd=tmp_path)
    assert outcome.status == -signal.SIGABRT, outcome.ending
    resident = int(outcome.stdout)
    (core,) = tmp_path.glob("core*")
    size, on_disk = core.stat().st_size, core.stat().st_blocks * 512
    core.unlink()
    print(f"resident {resident}, core file {size}, on disk {on_disk}")
    assert on_disk <= resident * 1.10
    # What is committed ahead of need, an eighth at most, are holes in the file.
    assert size <= resident * 1.25


def loader_and_libraries(program: Path) -> list[Path]:
    """What ldd lists: the files a program needs beside itself."""
    done = subprocess.run(
        ["ldd", program], capture_output=True, text=True, check=True, env=clean_environment()
    )
    words = [word for word in done.stdout.split() if word.startswith("/")]
    return sorted({Path(word) for word in words})


def test_C58_an_image_with_nothing_but_libc(
    native: Native, preloaded: Subject, tmp_path: Path
) -> None:
    # Distroless: the program, its libraries, the loader and the preload; no shell, no /etc, /proc.
    if os.geteuid() != 0:
        pytest.skip("only root can change its root folder")
    program = native.build(KERNEL)
    assert preloaded.file is not None
    for file in [program, preloaded.file, *loader_and_libraries(program)]:
        target = tmp_path / file.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    for case in ("churns", "keeps_no_file_open"):
        check(native.run(program, case, subject=preloaded, preexec_fn=lambda: os.chroot(tmp_path)))


def test_C58_in_a_new_user_and_mount_namespace(native: Native, release: Subject) -> None:
    program = shlex.quote(str(native.build(KERNEL)))
    check(in_namespace(native, release, f"exec {program} churns_small"))
