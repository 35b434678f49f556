"""What the introspection and exit paths print: parsed, not only survived."""

import json
import resource
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.native import Case, Native, Outcome, Subject, make_subject

SOURCES = Path(__file__).resolve().parent / "src"
STATS_KEYS = {
    "allocations", "frees", "bytes_in_use", "bytes_mapped", "bytes_resident",
    "fragmentation_pct", "total_allocated", "total_pages",
}  # fmt: skip


def run(native: Native, program: str, name: str, subject: Subject) -> Outcome:
    outcome = native.run_case(Case(SOURCES / program, name, everywhere=True), subject)
    assert outcome.status == 0, outcome.ending
    return outcome


def check_malloc_info(text: str) -> None:
    root = ElementTree.fromstring(text)
    assert root.tag == "malloc"
    assert root.get("version") == "1"
    heaps = root.findall("heap")
    assert heaps
    totals = {total.get("type"): total for total in root.findall("total")}
    assert int(totals["mmap"].get("size") or 0) >= 50 << 20, text
    for total in root.iter("total"):
        count, size = (int(total.get(key) or 0) for key in ("count", "size"))
        assert count <= size, text
        assert count > 0 or size == 0, text
    systems = {system.get("type"): system for system in root.findall("system")}
    assert int(systems["current"].get("size") or 0) > 0, text


def test_C40_malloc_info_on_glibc(native: Native, glibc: Subject) -> None:
    check_malloc_info(run(native, "introspect.c", "C40_malloc_info_document", glibc).stdout)


def test_C40_malloc_info(native: Native, preloaded: Subject) -> None:
    check_malloc_info(run(native, "introspect.c", "C40_malloc_info_document", preloaded).stdout)


@pytest.mark.parametrize(
    "name", ["linked", "archive", "static", "static-pie"],
    ids=["linked", "archive", "archive-static", "archive-static-pie"],
)  # fmt: skip
def test_C40_malloc_info_in_every_form(
    native: Native, name: str, request: pytest.FixtureRequest
) -> None:
    # A static program has of libc's stdio only what some object of it asks for by a strong name.
    subject = make_subject(name, request)
    check_malloc_info(run(native, "introspect.c", "C40_malloc_info_document", subject).stdout)


def test_C40_malloc_stats_on_glibc(native: Native, glibc: Subject) -> None:
    outcome = run(native, "introspect.c", "C40_malloc_stats_report", glibc)
    assert "in use bytes" in outcome.stderr


def test_C40_malloc_stats(native: Native, preloaded: Subject) -> None:
    outcome = run(native, "introspect.c", "C40_malloc_stats_report", preloaded)
    assert outcome.stdout == ""
    assert "in use bytes" in outcome.stderr
    assert any(character.isdigit() for character in outcome.stderr)


def test_alloc_stats_json(native: Native, preloaded: Subject) -> None:
    values = json.loads(run(native, "alloc_h.c", "stats_as_json", preloaded).stdout)
    assert set(values) >= STATS_KEYS
    assert all(values[key] >= 0 for key in STATS_KEYS - {"fragmentation_pct"})


def test_C13_atexit_and_destructors_on_glibc(native: Native, glibc: Subject) -> None:
    outcome = run(native, "startup.c", "C13_atexit_and_destructors", glibc)
    assert outcome.stdout == "atexit destructor\n"


def test_C13_atexit_and_destructors(native: Native, preloaded: Subject) -> None:
    outcome = run(native, "startup.c", "C13_atexit_and_destructors", preloaded)
    assert outcome.stdout == "atexit destructor\n"


def run_in_512_mib(native: Native, subject: Subject, name: str) -> Outcome:
    program = native.build(SOURCES / "oom.c")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))

    return native.run(program, name, subject=subject, preexec_fn=limit)


def test_C41_small_address_space_on_glibc(native: Native, glibc: Subject) -> None:
    outcome = run_in_512_mib(native, glibc, "C41_fills_a_small_address_space")
    assert outcome.status == 0, outcome.ending


def test_C41_small_address_space(native: Native, preloaded: Subject) -> None:
    # The reservation that liballoc would like is refused; it must make do with less.
    outcome = run_in_512_mib(native, preloaded, "C41_fills_a_small_address_space")
    assert outcome.status == 0, outcome.ending


def test_a_failed_check_fails(native: Native, glibc: Subject) -> None:
    # The frame itself can fail: 300 MiB do not fit where even 200 are refused.
    program = native.build(SOURCES / "oom.c")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20))

    outcome = native.run(
        program, "C41_fills_a_small_address_space", subject=glibc, preexec_fn=limit
    )
    assert outcome.status == 1
    assert "blocks[i] != NULL: block" in outcome.stderr


def test_the_provider_is_checked(native: Native, release: Subject) -> None:
    # A preload that did not happen is a failure, not a silent run on glibc.
    program = native.build(SOURCES / "traffic.c")
    outcome = native.run(program, "returns", env={"ABI_PROVIDER": str(release.file)})
    assert outcome.status == 1
    assert "malloc comes from" in outcome.stderr
