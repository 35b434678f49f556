"""What programs know from glibc: the same calls get the same answers, line by line.

Where glibc itself differs between versions, or the standard leaves it open, the program prints
nothing; those promises are tested in tests/abi.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.native import Case, Native, Subject, cases_of, clean_environment

SOURCES = Path(__file__).resolve().parent / "src"
ABI_SOURCES = SOURCES.parents[1] / "abi" / "src"
MANNERS = cases_of(SOURCES / "manners.c")
CHILDREN = SOURCES / "children.c"
# What glibc said, by case.
EXPECTED: dict[str, list[str]] = {}

# psutil opens libc.so.6 and asks it by name, so its figures are libc's under any preload: what it
# can do is to call, and to trim, without harm.
HEAP_INFO = """
import ctypes, psutil
process = ctypes.CDLL(None)
class Info(ctypes.Structure):
    _fields_ = [(f"f{number}", ctypes.c_size_t) for number in range(10)]
process.mallinfo2.restype = Info
def figures():
    info = process.mallinfo2()
    return info.f7, info.f4
before = figures()
psutil.heap_info()
keep = [bytearray(40 << 20) for _ in range(3)]
small = [bytes(700) for _ in range(20000)]
during = figures()
del keep, small
psutil.heap_info()
psutil.heap_trim()
after = figures()
print([during[i] - before[i] for i in (0, 1)], [after[i] - before[i] for i in (0, 1)])
"""


def output(native: Native, source: Path, name: str, subject: Subject) -> str:
    outcome = native.run(native.build(source, subject), name, subject=subject)
    assert outcome.status == 0, outcome.ending
    return outcome.stdout


@pytest.mark.parametrize("case", MANNERS, ids=lambda case: case.id)
def test_same_lines(case: Case, native: Native, preloaded: Subject, glibc: Subject) -> None:
    if case.name not in EXPECTED:
        EXPECTED[case.name] = output(native, case.source, case.name, glibc).splitlines()
    assert len(EXPECTED[case.name]) >= 4
    assert output(native, case.source, case.name, preloaded).splitlines() == EXPECTED[case.name]


def schema(text: str) -> dict[str, set[tuple[str, ...]]]:
    """Path of every element -> sets of its attributes, with the values of `type` spelt out."""
    found: dict[str, set[tuple[str, ...]]] = {}

    def walk(element: ElementTree.Element, above: str) -> None:
        path = f"{above}/{element.tag}" + (
            f"[{element.get('type')}]" if "type" in element.attrib else ""
        )
        found.setdefault(path, set()).add(tuple(sorted(element.keys())))
        for attribute, value in element.items():
            if attribute != "type":
                assert re.fullmatch(r"\d+", value), f"{path}: {attribute}={value!r}"
        for child in element:
            walk(child, path)

    walk(ElementTree.fromstring(text), "")
    return found


def test_C40_malloc_info_has_glibcs_schema(
    native: Native, preloaded: Subject, glibc: Subject
) -> None:
    # Sizes of free chunks and sub-heaps of arenas are of glibc's own inside: they may be absent.
    name = "C40_malloc_info_document"
    theirs = schema(output(native, ABI_SOURCES / "introspect.c", name, glibc))
    ours = schema(output(native, ABI_SOURCES / "introspect.c", name, preloaded))
    inner = {path for path in theirs if "/sizes/" in path or "subheaps" in path}
    assert {path: keys for path, keys in theirs.items() if path not in inner} == ours


def test_C40_python_reads_this_heap(release: Subject) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HEAP_INFO], capture_output=True, text=True, check=False, timeout=120,
        env={**clean_environment(), "PYTHONMALLOC": "malloc", "LD_PRELOAD": str(release.file)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    grown, left = (json.loads(part + "]") for part in done.stdout.split("]")[:2])
    assert grown[0] >= 20000 * 700
    assert grown[1] >= 120 << 20
    assert left[0] < 4 << 20
    assert left[1] == 0


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("C28_faults_of_children_of_1000_threads", 2.0),
        ("C29_faults_of_a_fork_and_exec_loop", 1.2),
    ],
)
def test_cost_of_fork_in_page_faults(
    native: Native, release: Subject, glibc: Subject, name: str, factor: float
) -> None:
    theirs, ours = (int(output(native, CHILDREN, name, subject)) for subject in (glibc, release))
    assert ours <= theirs * factor + 100, f"{ours} page faults, glibc {theirs}"


@pytest.mark.parametrize("conf", ["decay_ms:0", "decay_ms:-1", "thp:never"])
@pytest.mark.parametrize("case", cases_of(ABI_SOURCES / "zeroing.c"), ids=lambda case: case.id)
def test_zero_under_other_settings(case: Case, conf: str, native: Native, release: Subject) -> None:
    # With decay_ms:0 every block is purged before it is used again, with -1 none.
    program = native.build(case.source, release)
    outcome = native.run(program, case.name, subject=release, env={"ALLOC_CONF": conf})
    assert outcome.status == 0, outcome.ending
