"""Rows of the compatibility table that are programs: each case on glibc and on every form of ours.

The id of the row stands before the case's name: `pytest -k C13`. A case marked OURS in its source
asks for what glibc does not promise.
"""

from pathlib import Path

import pytest

from tests.native import Case, Native, cases_of, make_subject

SOURCES = Path(__file__).resolve().parent / "src"
PRELOADED = [
    "children.c",
    "crash_report.c",
    "endings.c",
    "first_calls.c",
    "fortified.c",
    "matrices.c",
    "sparse.c",
]
# Start-up, and the end of threads and of the process, are other code in each form of executable.
LINKED = ["endings.c", "first_calls.c"]
FLAGS = {"fortified.c": ["-O2", "-fbuiltin", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"]}
SETTINGS = {"C03_decay_runs_for_threads_that_only_free": "decay_ms:0"}
# Their output is compared in another file.
FIGURES = {"C28_faults_of_children_of_1000_threads", "C29_faults_of_a_fork_and_exec_loop"}
# Half a minute of checked calls in the debug library shows nothing that the release does not.
RELEASE_ONLY = {"C31_a_hundred_thousand_threads"}
# dlsym in a static executable looks for a libc to load.
DYNAMIC_ONLY = {"C02_error_of_dlsym"}

CASES = [
    case
    for program in PRELOADED
    for case in cases_of(SOURCES / program)
    if case.name not in FIGURES
]
PRELOADED_CASES = [
    (case, subject)
    for case in CASES
    for subject in ("release", "debug")
    if not (subject == "debug" and case.name in RELEASE_ONLY)
]
LINKED_CASES = [
    (case, subject)
    for case in CASES
    for subject in ("linked", "archive", "static", "static-pie")
    if case.source.name in LINKED and case.name not in RELEASE_ONLY
    if not (subject.startswith("static") and case.name in DYNAMIC_ONLY)
]


def name_of(value: object) -> str:
    """How pytest names a case or a subject."""
    return value.id if isinstance(value, Case) else str(value)


def check(case: Case, name: str, native: Native, request: pytest.FixtureRequest) -> None:
    """Runs a case of a program that has flags and settings of its own."""
    subject = make_subject(name, request)
    program = native.build(case.source, subject, FLAGS.get(case.source.name, []))
    env = {"ALLOC_CONF": SETTINGS[case.name]} if case.name in SETTINGS else {}
    outcome = native.run(program, case.name, subject=subject, env=env, timeout=300)
    assert outcome.status == 0, outcome.ending


@pytest.mark.parametrize("case", [c for c in CASES if c.everywhere], ids=lambda case: case.id)
def test_on_glibc(case: Case, native: Native, request: pytest.FixtureRequest) -> None:
    check(case, "glibc", native, request)


@pytest.mark.parametrize(("case", "subject"), PRELOADED_CASES, ids=name_of)
def test_preloaded(
    case: Case, subject: str, native: Native, request: pytest.FixtureRequest
) -> None:
    check(case, subject, native, request)


@pytest.mark.parametrize(("case", "subject"), LINKED_CASES, ids=name_of)
def test_linked(case: Case, subject: str, native: Native, request: pytest.FixtureRequest) -> None:
    check(case, subject, native, request)


def test_settings_name_cases() -> None:
    names = {case.name for program in PRELOADED for case in cases_of(SOURCES / program)}
    assert {*SETTINGS, *FIGURES, *RELEASE_ONLY, *DYNAMIC_ONLY} <= names
