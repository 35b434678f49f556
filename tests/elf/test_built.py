"""The built libraries: absent weak names are tolerated, and the hit paths are traced."""

from __future__ import annotations

import functools
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from liballoc.elf import disassembly, dynamic, exports, fast_path, image
from liballoc.elf.disassembly import Counts
from liballoc.elf.verify import GOLDEN_FOLDER, Golden, verify
from liballoc.errors import CheckFailedError, UsageError
from liballoc.toolchain.variants import APART, Variant

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Golden(ROOT / GOLDEN_FOLDER)
FREESTANDING = Path(__file__).with_name("freestanding.cpp")

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the programs of this file are written for x86_64"
)


def link_freestanding(folder: Path, archive: Path, *flags: str) -> Path:
    program = folder / "freestanding"
    argv = [
        "g++", "-O1", "-nostdlib", "-static", "-fno-exceptions", "-fno-stack-protector",
        "-fno-builtin", "-fno-pie", "-no-pie", *flags,
        "-o", str(program), str(FREESTANDING), str(archive),
    ]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return program


# Row of the compatibility table -> rules of `liballoc elf` that keep it. That each rule can fail is
# shown in test_rules.py.
ROWS = {
    "C05": {"exports: nothing is missing", "exports: functions with a size"},
    "C08": {"no DT_NEEDED", "undefined: all weak", "undefined: all on the list"},
    "C09": {"undefined: no __tls_get_addr", "one thread-pointer relocation",
            "no dynamic TLS relocation"},
    "C10": {"one thread-pointer relocation", "STATIC_TLS"},
    "C21": {"undefined: nothing newer than GLIBC_2.17"},
}  # fmt: skip


@functools.cache
def details(mode: str) -> dict[str, str]:
    """What each rule says of a built library: nothing where it holds."""
    loaded = image.load(Variant(mode, "x86_64").shared(ROOT))
    findings = [
        *exports.check_exports(loaded, exports.read_golden(GOLDEN.exports)),
        *exports.check_undefined(loaded, exports.read_golden(GOLDEN.undefined)),
        *dynamic.check_dynamic(loaded),
        *dynamic.check_tls(loaded),
    ]
    return {finding.rule: finding.detail for finding in findings}


@pytest.mark.parametrize("mode", ["release", "debug"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row}_rules")
def test_rules_behind_a_row(row: str, mode: str) -> None:
    answers = {rule: detail for rule, detail in details(mode).items() if rule in ROWS[row]}
    assert answers == dict.fromkeys(ROWS[row], "")


def test_the_library_apart_keeps_every_rule() -> None:
    findings = verify(image.load(Variant(APART, "x86_64").shared(ROOT)), GOLDEN)
    assert {finding.rule: finding.detail for finding in findings if not finding.ok} == {}
    names = exports.read_golden(GOLDEN.folder / "apart" / "exports.txt")
    everything = exports.read_golden(GOLDEN.exports)
    assert names == {name for name in everything if name.startswith(("alloc_", "hft_"))}


@pytest.mark.parametrize("mode", ["release", "debug"])
def test_C08_every_weak_name_may_be_absent(tmp_path: Path, mode: str) -> None:
    program = link_freestanding(tmp_path, Variant(mode, "x86_64").static(ROOT))
    done = subprocess.run([program], capture_output=True, check=False, timeout=60, env={})
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_freestanding_program_can_fail(tmp_path: Path) -> None:
    # The same checks on a malloc that forgets to keep blocks apart.
    bad = tmp_path / "bad.cpp"
    bad.write_text(
        'typedef unsigned long size_t; static char area[1 << 20]; extern "C" {\n'
        "void *malloc(size_t) { return area; } void free(void *) {}\n"
        "void *calloc(size_t, size_t) { return area; }\n"
        "void *realloc(void *p, size_t) { return p; }\n"
        "void *aligned_alloc(size_t, size_t) { return area; }\n"
        "void *memalign(size_t, size_t) { return area; }\n"
        "size_t malloc_usable_size(void *) { return 1 << 20; }\n"
        "int malloc_trim(size_t) { return 0; } }\n"
        "void *operator new(size_t) { return area; }\n"
        "void *operator new[](size_t) { return area; }\n"
        "void operator delete(void *, size_t) noexcept {}\n"
        "void operator delete[](void *) noexcept {}\n"
        "static __thread int word; int *spare() { return &word; }\n"
    )
    program = link_freestanding(tmp_path, bad, "-w")
    assert subprocess.run([program], check=False, timeout=60).returncode == 3


def test_the_trace_is_the_same_twice() -> None:
    loaded = image.load(Variant("release", "x86_64").shared(ROOT))
    assert fast_path.trace(loaded) == fast_path.trace(loaded)


def test_the_hit_paths_are_short_and_call_nothing() -> None:
    measured = fast_path.measure(image.load(Variant("release", "x86_64").shared(ROOT)))
    assert measured["malloc"].calls == measured["free"].calls == 0
    assert 10 < measured["malloc"].instructions < 40
    assert 10 < measured["free"].instructions < 50


@pytest.mark.parametrize(
    ("name", "instructions"),
    [("alloc_pool_alloc", 8), ("alloc_pool_free", 8), ("alloc_arena_alloc", 10)],
)
def test_the_hit_paths_of_pools_and_arenas(name: str, instructions: int) -> None:
    counts = fast_path.measure(image.load(Variant("release", "x86_64").shared(ROOT)))[name]
    assert 4 < counts.instructions <= instructions
    assert counts.branches <= 2
    assert counts.calls == 0


def test_a_longer_path_is_a_failing_diff() -> None:
    golden = {"malloc": vars(Counts(10, 2, 0, 5, 1, 0)), "free": vars(Counts(20, 3))}
    measured = {"malloc": Counts(11, 2, 0, 5, 1, 0), "free": Counts(20, 3)}
    measured |= dict.fromkeys(fast_path.CHECKED[2:], Counts(8))
    malloc, free, *_ = fast_path.compare(measured, golden)
    assert free.ok
    assert malloc.detail == f"instructions 10 -> 11 (accept with: {fast_path.UPDATE})"
    assert not next(fast_path.compare(measured, {})).ok
    assert fast_path.as_golden(measured)["free"]["instructions"] == 20


def test_the_most_frequent_round_is_taken(tmp_path: Path) -> None:
    library = tmp_path / "lib.so"
    lines = [f"library {library}", "malloc 1 10", "malloc 1 14", "malloc 2 10", "malloc 3 10"]
    assert fast_path.most_frequent("\n".join(lines), library) == {"malloc": [0x10]}
    with pytest.raises(CheckFailedError, match="malloc came from"):
        fast_path.most_frequent("\n".join(lines), tmp_path / "other.so")


def test_golden_counts_must_be_readable(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="make it with"):
        fast_path.read_golden(tmp_path / "absent")
    for text, words in (("{", "no JSON"), ("[]", "must be an object")):
        (tmp_path / "golden").write_text(text)
        with pytest.raises(UsageError, match=words):
            fast_path.read_golden(tmp_path / "golden")


def classify(compile_code: Callable[[str], Path], code: str) -> Counts:
    loaded = image.load(compile_code(code))
    start = loaded.exported("code")
    assert start is not None
    addresses, at = [], start.address
    while at < start.address + start.size:
        addresses.append(at)
        at += instruction_length(loaded, at)
    return disassembly.count(loaded, addresses)


def instruction_length(loaded: image.Image, address: int) -> int:
    disassembler = disassembly.make_disassembler(loaded)
    return int(next(disassembler.disasm(loaded.read(address, 16), address, 1)).size)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("mov (%rdi), %rax", Counts(1, loads=1)),
        ("mov %rax, (%rdi)", Counts(1, stores=1)),
        ("add %rax, (%rdi)", Counts(1, loads=1, stores=1)),
        ("cmp %rax, 8(%rdi)", Counts(1, loads=1)),
        ("cmpq $0, 8(%rdi)", Counts(1, loads=1)),
        ("test %eax, (%rdi)", Counts(1, loads=1)),
        ("movzwl (%rdi,%rax,2), %eax", Counts(1, loads=1)),
        ("mov %fs:0, %rax", Counts(1, loads=1)),
        ("lea 8(%rdi), %rax", Counts(1)),
        ("nopw 0(%rax,%rax,1)", Counts(1)),
        ("prefetcht0 (%rdi)", Counts(1)),
        ("push %rbx", Counts(1, stores=1)),
        ("pop %rbx", Counts(1, loads=1)),
        ("1: jne 1b", Counts(1, branches=1)),
        ("1: jmp 1b", Counts(1, jumps=1)),
        ("jmp *%rax", Counts(1, jumps=1)),
        ("call *%rax", Counts(1, calls=1)),
        ("ret", Counts(1)),
        ("movups %xmm0, (%rdi)", Counts(1, stores=1)),
        ("shr $4, %eax", Counts(1)),
    ],
)
def test_instructions_are_classified(tmp_path: Path, code: str, expected: Counts) -> None:
    def compile_code(text: str) -> Path:
        source = tmp_path / "code.s"
        source.write_text(f".globl code\n.type code, @function\ncode: {text}\n.size code, .-code\n")
        library = tmp_path / "code.so"
        subprocess.run(
            ["gcc", "-shared", "-nostdlib", "-o", library, source], check=True, timeout=60
        )
        return library

    assert classify(compile_code, code) == expected
