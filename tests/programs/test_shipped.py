"""The workload files that are shipped: they load, and every program of the promise is there."""

from __future__ import annotations

import re
from pathlib import Path

from liballoc.workload.loader import load_folder

PROMISED = {
    "awk", "bash-scripts", "clang", "cmake", "cpython-processes", "cpython-processes+malloc",
    "cpython-tests", "cpython-tests+malloc", "curl", "ffmpeg", "gdb", "ghostscript", "go", "java",
    "lua", "mariadb", "memcached", "musl", "nginx", "openssl", "php", "php+malloc", "postgres",
    "pypi", "pypi+malloc", "ruby", "rust", "tar", "z3",
    "ls", "bash", "sqlite3-shell", "git", "gcc", "gxx", "perl", "xz", "node", "redis",
    *(
        f"python-{part}{variant}"
        for part in ("json", "dicts", "threads", "fork", "spawn", "ctypes", "sqlite3")
        for variant in ("", "+malloc")
    ),
}  # fmt: skip


def test_every_promised_program_is_there(root: Path) -> None:
    assert {workload.name for workload in load_folder(root / "workloads")} >= PROMISED


def test_what_is_promised_runs_without_being_asked_for(root: Path) -> None:
    long = {workload.name for workload in load_folder(root / "workloads") if workload.long}
    assert not long & PROMISED


def test_every_package_is_installed_by_ci(root: Path) -> None:
    script = (root / ".ci" / "run").read_text()
    listed = set(re.sub(r"#.*", "", script[script.index("packages=(") :]).split())
    listed |= {"nodejs"}  # Only where there is no other node.
    for workload in load_folder(root / "workloads"):
        assert set(workload.packages) <= listed, workload.name


def test_reasons_are_sentences(root: Path) -> None:
    for workload in load_folder(root / "workloads"):
        assert workload.why.endswith("."), workload.name


def test_bulk_is_bulk(root: Path) -> None:
    text = (root / "workloads" / "src" / "bulk.sql").read_text()
    assert "n < 100000" in text
    assert re.search(r"^CREATE INDEX", text, re.MULTILINE)
    assert re.search(r"^VACUUM", text, re.MULTILINE)


def test_no_source_is_left_over(root: Path) -> None:
    folder = root / "workloads"
    used = {folder / name for workload in load_folder(folder) for name in workload.files}
    used.add(folder / "src" / "soak.c")  # The program of `liballoc soak`.
    used.add(folder / "src" / "order_book" / "memory_pool.h")  # Of `liballoc order-book`.
    assert {path for path in (folder / "src").rglob("*") if path.is_file()} == used
