"""Builds small shared objects with gcc: one that keeps every rule, and one for each that breaks it.

The good one is made of the same golden list as the real library, so that each broken one differs
from it in a single thing.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from liballoc.elf.exports import read_golden
from liballoc.elf.verify import GOLDEN_FOLDER, Golden

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Golden(ROOT / GOLDEN_FOLDER)

FLAGS = ("-O2", "-fPIC", "-shared", "-nostdlib", "-fno-stack-protector", "-fomit-frame-pointer",
         "-fno-builtin", "-fasynchronous-unwind-tables",
         "-ftls-model=initial-exec", "-fcf-protection=none")  # fmt: skip
LINK = ("-Wl,-soname,liballoc.so.1", "-Wl,-z,nodelete", "-Wl,-z,now", "-Wl,-z,relro",
        "-Wl,-z,noexecstack", "-Wl,--build-id=none", "-Wl,-Bsymbolic")  # fmt: skip

HEAD = """
typedef unsigned long size_t;
static __thread void *heap;
extern void *dlsym(void *, const char *) __attribute__((weak));
__attribute__((noinline, used)) static void *take(size_t n) {
    char *block = heap;
    heap = block + n;
    return dlsym ? block : 0;
}
void *calloc(size_t count, size_t size) { return take(count * size); }
"""


@dataclass(frozen=True)
class Recipe:
    """How a library differs from the good one."""

    extra: str = ""
    without: tuple[str, ...] = ()
    add_flags: tuple[str, ...] = ()
    drop_flags: tuple[str, ...] = ()
    replace: dict[str, str] = field(default_factory=dict)


def source(recipe: Recipe, golden: Golden = GOLDEN) -> str:
    """The C text: a function for every golden name, then what is special."""
    calloc = f"{golden.prefix}calloc"
    text = HEAD.replace("*calloc(", f"*{calloc}(")
    for name in sorted(read_golden(golden.exports) - {calloc}):
        if name not in recipe.without:
            text += f"void *{name}(size_t n) {{ return take(n); }}\n"
    for old, new in recipe.replace.items():
        assert old in text
        text = text.replace(old, new)
    return text + recipe.extra


def build(folder: Path, recipe: Recipe | None = None) -> Path:
    """Compile a library; its path."""
    recipe = recipe or Recipe()
    code = folder / "library.c"
    code.write_text(source(recipe))
    library = folder / "library.so"
    flags = [flag for flag in (*FLAGS, *LINK) if flag not in recipe.drop_flags]
    argv = ["gcc", "-w", *flags, *recipe.add_flags, "-o", str(library), str(code)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return library


def build_apart(folder: Path, recipe: Recipe | None = None) -> Path:
    """A good library that leaves malloc alone, or one that differs from it by a recipe."""
    recipe = recipe or Recipe()
    code = folder / "apart.c"
    golden = Golden(GOLDEN.folder / "apart", "alloc_")
    code.write_text(source(recipe, golden).replace("dlsym", "environ"))
    library = folder / "liballoc-apart.so"
    link = [flag.replace("liballoc.so", "liballoc-apart.so") for flag in LINK]
    argv = ["gcc", "-w", *FLAGS, *link, "-o", str(library), str(code)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return library
