"""Every rule of `liballoc elf` holds for a library made to keep it, and is seen failing."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from liballoc import cli
from liballoc.elf import image
from liballoc.elf.disassembly import walk
from liballoc.elf.verify import verify
from liballoc.errors import UsageError
from tests.elf.libraries import GOLDEN, Recipe, build, build_apart

# The thread-pointer word is the only one; a second variable of TLS makes a second relocation.
SECOND_WORD = (
    "__attribute__((used)) static long *spare(void) { static __thread long o; return &o; }\n"
)

CALLS_ITSELF = {
    "return take(count * size); }": (
        'void *block = take(count * size); asm volatile("call calloc"); return block; }'
    )
}
DEEP = (
    "__attribute__((noinline, used)) static void *deep(size_t n)"
    ' { asm volatile("jmp calloc"); return take(n); }\n'
)

BROKEN = [
    ("missing export", Recipe(without=("pvalloc",)), "exports: nothing is missing", "pvalloc"),
    ("extra export", Recipe("char *strdup(char *s) { return s; }\n"),
     "exports: nothing beside the family", "strdup"),
    ("data exported", Recipe(without=("mallopt",), extra="int mallopt = 1;\n"),
     "exports: functions with a size", "mallopt"),
    ("strong undefined", Recipe("extern void abort(void); asm(\".globl abort\");"
     " __attribute__((used)) static void stop(void) { abort(); }\n"),
     "undefined: all weak", "abort"),
    ("unknown undefined", Recipe("extern void getenv(void) __attribute__((weak));"
     " __attribute__((used)) static void *ask(void) { return getenv; }\n"),
     "undefined: all on the list", "getenv"),
    ("dynamic TLS", Recipe(drop_flags=("-ftls-model=initial-exec",),
     add_flags=("-ftls-model=global-dynamic",)), "undefined: no __tls_get_addr", "__tls_get_addr"),
    ("dynamic TLS relocation", Recipe(drop_flags=("-ftls-model=initial-exec",),
     add_flags=("-ftls-model=global-dynamic",)), "no dynamic TLS relocation", "R_X86_64_DTPMOD64"),
    ("newer glibc", Recipe("extern void arc4random(void) __attribute__((weak));"
     " __attribute__((used)) static void *ask(void) { return arc4random; }\n",
     add_flags=("-Wl,--no-as-needed", "-lc")),
     "undefined: nothing newer than GLIBC_2.17", "arc4random@GLIBC_2.36"),
    ("needs libc", Recipe(add_flags=("-Wl,--no-as-needed", "-lc")), "no DT_NEEDED", "libc.so.6"),
    ("no soname", Recipe(drop_flags=("-Wl,-soname,liballoc.so.1",)), "SONAME", "''"),
    ("other soname", Recipe(drop_flags=("-Wl,-soname,liballoc.so.1",),
     add_flags=("-Wl,-soname,liballoc.so.2",)), "SONAME", "'liballoc.so.2'"),
    ("may be unloaded", Recipe(drop_flags=("-Wl,-z,nodelete",)), "NODELETE", "dlclose"),
    ("no static TLS", Recipe(replace={"static __thread void *heap": "static void *heap"}),
     "STATIC_TLS", "initial-exec"),
    ("no TLS word", Recipe(replace={"static __thread void *heap": "static void *heap"}),
     "one thread-pointer relocation", "0 thread-pointer relocations"),
    ("two TLS words", Recipe(SECOND_WORD), "one thread-pointer relocation", "2 thread-pointer"),
    ("lazy", Recipe(drop_flags=("-Wl,-z,now",), add_flags=("-Wl,-z,lazy",)), "BIND_NOW", "lazily"),
    ("text relocation", Recipe('asm(".text\\n.quad heap_word\\n.bss\\nheap_word: .quad 0\\n");',
     add_flags=("-Wl,-z,notext",)), "no text relocations", "DT_TEXTREL"),
    ("writable code", Recipe(add_flags=("-Wl,-N",)),
     "no segment writable and executable", "PT_LOAD"),
    ("no relro", Recipe(drop_flags=("-Wl,-z,relro",), add_flags=("-Wl,-z,norelro",)),
     "RELRO", "no PT_GNU_RELRO"),
    ("executable stack", Recipe(drop_flags=("-Wl,-z,noexecstack",),
     add_flags=("-Wl,-z,execstack",)), "stack not executable", "is executable"),
    ("no unwind tables", Recipe(drop_flags=("-fasynchronous-unwind-tables",),
     add_flags=("-fno-asynchronous-unwind-tables",)),
     ".eh_frame covers malloc and the C++ operators", "_Znwm"),
    ("calloc calls calloc", Recipe(replace=CALLS_ITSELF), "calloc does not call calloc", "call"),
    ("calloc through the PLT", Recipe(replace=CALLS_ITSELF, drop_flags=("-Wl,-Bsymbolic",)),
     "calloc does not call calloc", "R_X86_64_JUMP_SLOT"),
    ("calloc calls what calls it",
     Recipe(replace={"void *calloc(": DEEP + "void *calloc(",
                     "return take(count * size); }": "return deep(count * size); }"}),
     "calloc does not call calloc", "jmp"),
    ("no calloc", Recipe(replace={"void *calloc(": "void *callox("}),
     "calloc does not call calloc", "not exported"),
]  # fmt: skip


def broken_rules(library: Path) -> dict[str, str]:
    return {
        entry.rule: entry.detail for entry in verify(image.load(library), GOLDEN) if not entry.ok
    }


def test_a_good_library_keeps_every_rule(tmp_path: Path) -> None:
    assert broken_rules(build(tmp_path)) == {}


@pytest.mark.parametrize(
    ("recipe", "rule", "detail"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN]
)
def test_a_broken_rule_is_seen(tmp_path: Path, recipe: Recipe, rule: str, detail: str) -> None:
    found = broken_rules(build(tmp_path, recipe))
    assert rule in found
    assert detail in found[rule]


def test_a_good_library_apart_keeps_every_rule(tmp_path: Path) -> None:
    assert broken_rules(build_apart(tmp_path)) == {}


@pytest.mark.parametrize(
    ("recipe", "rule", "detail"),
    [
        (Recipe("void *malloc(size_t n) { return take(n); }\n"),
         "exports: nothing beside the family", "malloc"),
        (Recipe("void *_Znwm(size_t n) { return take(n); }\n"),
         "exports: nothing beside the family", "_Znwm"),
        (Recipe("void *__asan_default_options(void) { return take(1); }\n"),
         "exports: nothing beside the family", "__asan_default_options"),
        (Recipe(without=("hft_alloc",)), "exports: nothing is missing", "hft_alloc"),
        (Recipe("extern void __asan_init(void) __attribute__((weak));"
         " __attribute__((used)) static void *ask(void) { return __asan_init; }\n"),
         "undefined: all on the list", "__asan_init"),
        (Recipe(replace={"return take(count * size); }": "asm volatile(\"jmp alloc_calloc\"); }"}),
         "calloc does not call calloc", "jmp"),
    ],
    ids=["malloc", "operator", "asan options", "missing", "steps aside", "calloc"],
)  # fmt: skip
def test_a_broken_rule_of_a_library_apart_is_seen(
    tmp_path: Path, recipe: Recipe, rule: str, detail: str
) -> None:
    found = broken_rules(build_apart(tmp_path, recipe))
    assert detail in found[rule]


def test_each_library_is_held_to_its_own_names(tmp_path: Path) -> None:
    # Under each other's file name every rule about names is broken.
    drop_in = build(tmp_path).rename(tmp_path / "liballoc-apart.so")
    assert "malloc" in broken_rules(drop_in)["exports: nothing beside the family"]
    apart = build_apart(tmp_path).rename(tmp_path / "liballoc.so")
    assert "malloc" in broken_rules(apart)["exports: nothing is missing"]


def test_every_rule_is_seen_failing(tmp_path: Path) -> None:
    rules = {entry.rule for entry in verify(image.load(build(tmp_path)), GOLDEN)}
    assert rules == {case[2] for case in BROKEN}


@pytest.mark.parametrize(
    ("code", "targets"),
    [
        # auipc t1, 4; jalr zero, t1, -0x90: a tail call; c.nop is not reached.
        ("17430000 670003f7 0100", {0x3F70}),
        # auipc ra, 0xffffc; jalr ra, ra, 8; c.jr ra: a call backwards from 0x10000.
        ("97c0ffff e7808000 8280", {-0x3FF8}),
        # c.nop; jalr zero, t1, -0x90: nobody knows.
        ("0100 670003f7", set()),
    ],
)
def test_far_jumps_of_riscv(code: str, targets: set[int]) -> None:
    start = 0x10000
    text = image.Section(".text", start, bytes.fromhex(code))
    nothing = image.Image(
        Path(), "EM_RISCV", "", (), frozenset(), False, (), (), (), (text,), ()
    )  # fmt: skip
    seen = list(walk(nothing, start))
    assert {target - start for _, target in seen if target is not None} == targets
    assert len(seen) == len(code.split()) - (code.endswith("0100"))


def test_the_command_says_which_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = build(tmp_path)
    assert cli.main(["elf", str(good)]) == 0
    folder = tmp_path / "bad"
    folder.mkdir()
    bad = build(folder, Recipe(drop_flags=("-Wl,-z,nodelete",)))
    capsys.readouterr()
    assert cli.main(["elf", "--json", str(good), str(bad)]) == 1
    document = json.loads(capsys.readouterr().out)
    assert all(entry["ok"] for entry in document[str(good)])
    failed = [entry["rule"] for entry in document[str(bad)] if not entry["ok"]]
    assert failed == ["NODELETE"]
    assert cli.main(["elf", str(bad)]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_what_is_no_shared_object_is_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        image.load(tmp_path / "absent.so")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(UsageError, match="no ELF file"):
        image.load(tmp_path / "text")
    (tmp_path / "cut").write_bytes(build(tmp_path).read_bytes()[:80])
    with pytest.raises(UsageError, match="cut"):
        image.load(tmp_path / "cut")
    assert cli.main(["elf", str(tmp_path / "absent.so")]) == 2
    assert cli.main(["elf"]) == 2


def test_a_library_that_is_cut_short_is_usage_at_any_length(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = build(tmp_path).read_bytes()
    cut = tmp_path / "cut.so"
    # The headers byte by byte; the rest, tables of sections at its end, in steps.
    for length in [*range(200), *range(200, len(whole) - 200, 997)]:
        cut.write_bytes(whole[:length])
        assert cli.main(["elf", str(cut)]) == 2, length
        line = capsys.readouterr().err
        assert line.startswith(f"liballoc elf: {cut}: "), length
        assert line.count("\n") == 1, length


def test_a_damaged_library_is_never_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = build(tmp_path).read_bytes()
    bad = tmp_path / "bad.so"
    seed = 1
    random_bytes = random.Random(seed)
    print(f"seed {seed}")
    for _ in range(100):
        data = bytearray(whole)
        for _ in range(8):
            # Headers and section tables: what the reader follows.
            place = random_bytes.choice(
                (range(64), range(64, 600), range(len(data) - 2200, len(data)))
            )
            data[random_bytes.choice(place)] = random_bytes.randrange(256)
        bad.write_bytes(data)
        assert cli.main(["elf", str(bad)]) in {0, 1, 2}
        assert capsys.readouterr().err.count("\n") <= 1


def test_an_archive_and_a_folder_are_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "lib.a").write_bytes(b"!<arch>\n")
    expected = {"empty": "no ELF file", "lib.a": "an archive", ".": "Is a directory"}
    for name, reason in expected.items():
        assert cli.main(["elf", str(tmp_path / name)]) == 2
        line = capsys.readouterr().err
        assert reason in line
        assert line.count("\n") == 1


def test_golden_files_that_are_absent_are_usage(tmp_path: Path) -> None:
    library = build(tmp_path)
    assert cli.main(["elf", "--golden", str(tmp_path / "none"), str(library)]) == 2
