"""Every case of the programs in tests/abi/src, on glibc and on every form of liballoc.

A case marked CASE in its source runs on glibc too, which proves the test itself; one marked OURS
asks for what liballoc alone promises. Programs that take arguments have a test file of their own.
"""

from pathlib import Path

import pytest

from tests.native import Case, Native, cases_of, make_subject

SOURCES = Path(__file__).resolve().parent / "src"
PROGRAMS = [
    "alignment.c", "alloc_h.c", "arenas.c", "cxx_new.cpp", "cxx_replace.cpp", "errno_kept.c",
    "fork.c", "give_back.c", "heaps.c", "hft.c", "introspect.c", "kept.c", "libc_results.c",
    "lifetime.cpp", "matrix.cpp", "oom.c", "overflow.c", "pools.c", "realloc.c", "shared_pools.c",
    "signals.c",
    "sparse.c", "startup.c", "stepped.c", "stepped_twice.c", "threads.c", "usable.c", "zeroing.c",
]  # fmt: skip
# Programs that are also linked with liballoc.so, and with liballoc.a into a dynamic executable:
# enough to see that each form brings the whole ABI.
LINKED = [
    "alignment.c", "alloc_h.c", "arenas.c", "cxx_new.cpp", "heaps.c", "hft.c", "lifetime.cpp",
    "matrix.cpp", "pools.c", "shared_pools.c", "startup.c",
]  # fmt: skip
# What else runs in a static executable, where libc's threads, forks, signals, errno and stdio, and
# the access to the thread word, are put together by the linker.
STATIC = [
    *LINKED, "cxx_replace.cpp", "errno_kept.c", "fork.c", "introspect.c", "kept.c",
    "libc_results.c", "oom.c", "overflow.c", "realloc.c", "signals.c", "sparse.c", "stepped.c",
    "threads.c", "usable.c", "zeroing.c",
]  # fmt: skip
# As static, but relocated at the start by the program itself.
STATIC_PIE = ["alloc_h.c", "errno_kept.c", "introspect.c", "startup.c", "usable.c"]
# Five seconds and more each, for nothing that other cases would not show there.
NOT_STATIC = {
    "C30_storm_from_another_thread", "C41_mixed_sizes_after_each_other", "C43_a_limit_set_later",
    "a_hundred_thousand_last_acts",
}  # fmt: skip
FORMS = {"linked": LINKED, "archive": LINKED, "static": STATIC, "static-pie": STATIC_PIE}
# These take arguments, and have a test file of their own.
WITH_ARGUMENTS = ["plugins.c", "traffic.c"]

CASES = [case for program in PROGRAMS for case in cases_of(SOURCES / program)]
LINKED_CASES = [
    (case, form)
    for form, programs in FORMS.items()
    for case in CASES
    if case.source.name in programs
    if not (form.startswith("static") and case.name in NOT_STATIC)
]


def name_of(value: object) -> str:
    """How pytest names a case or a form; by `archive` the mutations know what needs the archive."""
    if isinstance(value, Case):
        return value.id
    return f"archive-{value}" if str(value).startswith("static") else str(value)


def test_every_program_is_listed() -> None:
    present = {path.name for path in SOURCES.iterdir() if path.suffix in {".c", ".cpp"}}
    assert present == {*PROGRAMS, *WITH_ARGUMENTS}
    assert {*LINKED, *STATIC, *STATIC_PIE} <= set(PROGRAMS)
    assert {case.name for case in CASES} >= NOT_STATIC
    assert [program for program in PROGRAMS if not cases_of(SOURCES / program)] == []


@pytest.mark.parametrize("case", [c for c in CASES if c.everywhere], ids=lambda case: case.id)
def test_on_glibc(case: Case, native: Native, request: pytest.FixtureRequest) -> None:
    native.check_case(case, make_subject("glibc", request))


@pytest.mark.parametrize("subject", ["release", "debug"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_preloaded(
    case: Case, subject: str, native: Native, request: pytest.FixtureRequest
) -> None:
    native.check_case(case, make_subject(subject, request))


@pytest.mark.parametrize(("case", "subject"), LINKED_CASES, ids=name_of)
def test_linked(case: Case, subject: str, native: Native, request: pytest.FixtureRequest) -> None:
    native.check_case(case, make_subject(subject, request))
