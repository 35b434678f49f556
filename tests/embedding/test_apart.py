"""liballoc-apart: alloc.h and hft_alloc.h in a process whose malloc is another's."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.embedding import tools
from tests.native import ROOT, Native, cases_of

SOURCES = Path(__file__).parent / "src"
CASES = SOURCES / "apart.c"
LIBC = "libc.so.6"
# Their end is not an exit with status 0: see the tests that run them.
ENDINGS = (
    "a_block_given_to_free", "a_block_of_the_process", "a_double_free", "no_memory_there",
)  # fmt: skip
PRELOADED = ("two_copies", "one_copy")
CLEAN = [case.name for case in cases_of(CASES) if case.name not in {*ENDINGS, *PRELOADED}]
HEADERS = f"-I{ROOT / 'zig' / 'include'}"
PUBLIC = re.compile(r"\b((?:alloc|hft)_\w+)\(")

Linked = Callable[[Path], Path]


@pytest.fixture(params=["shared", "archive"])
def linked(
    request: pytest.FixtureRequest, native: Native, apart_library: Path, apart_archive: Path
) -> Linked:
    """Builds a program with one of the two forms."""
    shared = [str(apart_library), f"-Wl,-rpath,{apart_library.parent}"]
    link = shared if request.param == "shared" else [str(apart_archive)]
    return lambda source: native.build(source, flags=[HEADERS, "-pthread"], link=link)


@pytest.mark.parametrize("case", CLEAN)
def test_beside_glibcs_malloc(native: Native, linked: Linked, case: str) -> None:
    outcome = native.run(linked(CASES), case, LIBC)
    assert (outcome.status, outcome.stderr) == (0, ""), outcome.ending


def test_every_case_is_run() -> None:
    assert {*ENDINGS, *PRELOADED} < {case.name for case in cases_of(CASES)}
    assert len(CLEAN) == 5


def test_free_is_not_ours(native: Native, linked: Linked) -> None:
    outcome = native.run(linked(CASES), "a_block_given_to_free", LIBC)
    assert outcome.status == -signal.SIGABRT, outcome.ending
    assert "invalid pointer" in outcome.stderr  # glibc's words.
    assert "liballoc" not in outcome.stderr


def test_the_option_refuses_blocks_of_the_process(native: Native, linked: Linked) -> None:
    refuse = {"ALLOC_CONF": "foreign:abort"}
    outcome = native.run(linked(CASES), "a_block_of_the_process", LIBC, env=refuse)
    assert outcome.status == -signal.SIGABRT, outcome.ending
    assert re.fullmatch(r"liballoc: free\(0x\w+\): foreign pointer\n", outcome.stderr)
    assert native.run(linked(CASES), "a_block_of_the_process", LIBC).status == 0


@pytest.mark.parametrize(
    ("case", "reason"), [("a_double_free", "double free"), ("no_memory_there", "foreign pointer")]
)
def test_misuse_is_reported_here(native: Native, linked: Linked, case: str, reason: str) -> None:
    outcome = native.run(linked(CASES), case, LIBC)
    assert outcome.status == -signal.SIGABRT, outcome.ending
    assert re.fullmatch(rf"liballoc: free\(0x\w+\): {reason}\n", outcome.stderr)


def test_a_malloc_before_it_gets_its_blocks(native: Native, linked: Linked) -> None:
    program = linked(SOURCES / "apart_own_malloc.c")
    outcome = native.run(program)
    assert (outcome.status, outcome.stderr) == (0, ""), outcome.ending


@pytest.mark.parametrize("case", ["two_copies", "fork_among_threads", "threads_that_end"])
def test_beside_the_preloaded_drop_in(
    native: Native, library: Path, apart_archive: Path, case: str
) -> None:
    # The archive's alloc_malloc is the program's own: two copies of the library serve.
    link = [str(apart_archive)]
    program = native.build(CASES, flags=[HEADERS, "-pthread"], link=link)
    outcome = native.run(program, case, library.name, env={"LD_PRELOAD": str(library)})
    assert (outcome.status, outcome.stderr) == (0, ""), outcome.ending


def test_preloaded_the_drop_in_serves_both(
    native: Native, library: Path, apart_library: Path
) -> None:
    # It comes first for every name, so that no block meets another copy.
    link = [str(apart_library), f"-Wl,-rpath,{apart_library.parent}"]
    program = native.build(CASES, flags=[HEADERS, "-pthread"], link=link)
    outcome = native.run(program, "one_copy", library.name, env={"LD_PRELOAD": str(library)})
    assert (outcome.status, outcome.stderr) == (0, ""), outcome.ending


def test_options_and_statistics_are_the_same(
    native: Native, linked: Linked, tmp_path: Path
) -> None:
    stats = tmp_path / "stats"
    options = {"ALLOC_CONF": f"stats_at_exit:{stats}"}
    assert native.run(linked(CASES), "two_heaps", LIBC, env=options).status == 0
    (line,) = stats.read_text().splitlines()
    assert '"allocations"' in line


def test_a_static_program(tmp_path: Path, apart_archive: Path) -> None:
    (tmp_path / "static.c").write_text(
        "#include <alloc.h>\n#include <stdlib.h>\n#include <string.h>\n"
        'int main(void) { char *block = alloc_malloc(10); alloc_free(strdup("a copy"));\n'
        "alloc_free(block); return alloc_usable_size(block = malloc(100)) >= 100 ? 0 : 1; }\n"
    )
    program = tmp_path / "static"
    files: list[str | Path] = ["static.c", "-o", program, apart_archive]
    tools.run([tools.need("cc"), "-static", HEADERS, *files], tmp_path)
    tools.run([program], tmp_path)
    symbols = tools.run(["nm", program], tmp_path)
    assert re.search(r" T __libc_malloc$", symbols, re.MULTILINE)
    assert len(re.findall(r" [TW] malloc$", symbols, re.MULTILINE)) == 1


def test_loaded_at_run_time(native: Native, apart_library: Path, tmp_path: Path) -> None:
    source = tmp_path / "load.c"
    source.write_text(
        "#include <dlfcn.h>\n#include <stdlib.h>\n"
        "int main(int count, char **words) { (void)count;\n"
        "void *library = dlopen(words[1], RTLD_NOW | RTLD_LOCAL); if (!library) return 1;\n"
        'void *(*take)(size_t) = (void *(*)(size_t))dlsym(library, "alloc_malloc");\n'
        'void (*give)(void *) = (void (*)(void *))dlsym(library, "alloc_free");\n'
        "give(take(100)); give(malloc(100)); dlclose(library); give(take(100)); return 0; }\n"
    )
    outcome = native.run(native.build(source), apart_library)
    assert (outcome.status, outcome.stderr) == (0, ""), outcome.ending


def test_both_forms_define_what_the_headers_declare(
    apart_library: Path, apart_archive: Path
) -> None:
    declared = set[str]()
    for name in ("alloc.h", "hft_alloc.h"):
        text = (ROOT / "zig" / "include" / name).read_text()
        declared |= set(PUBLIC.findall(re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)))
    assert len(declared) > 50
    assert defined([apart_library, "-D"]) == declared
    assert defined([apart_archive]) == declared


def defined(arguments: list[str | Path]) -> set[str]:
    """Names that other files can link to; those of the compiler's runtime are hidden."""
    flag = "--dyn-syms" if "-D" in arguments else "--syms"
    done = subprocess.run(
        ["readelf", "-W", flag, str(arguments[0])],
        capture_output=True, text=True, check=True, timeout=60, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    rows = [line.split() for line in done.stdout.splitlines()]
    return {
        row[7] for row in rows
        if len(row) == 8 and row[4] in {"GLOBAL", "WEAK"} and row[5] == "DEFAULT"
        and row[6] != "UND"
    }  # fmt: skip
