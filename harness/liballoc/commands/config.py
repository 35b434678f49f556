"""Show what the harness uses here, or the flags to build with: `cc $(liballoc config --libs)`.

Without flags: compiler, caches, and the libraries that are built. With --cflags and --libs: one
line for a compiler's command, of the library that this checkout has built.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
from pathlib import Path

from liballoc import __version__
from liballoc.errors import UsageError
from liballoc.report.table import print_table
from liballoc.toolchain import variants, zig
from liballoc.toolchain.driver import find_root

NAME = "config"


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Flags of `liballoc config`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--cflags", action="store_true", help="print where the headers are")
    parser.add_argument("--libs", action="store_true", help="print what links the library")
    parser.add_argument("--static", action="store_true", help="with --libs: the archive")
    parser.add_argument(
        "--apart", action="store_true", help="with --libs: the library that leaves malloc alone"
    )


def collect(root: Path, compiler: zig.Zig) -> dict[str, object]:
    """The facts, as they are put into JSON."""
    return {
        "version": __version__,
        "root": str(root),
        "zig": str(compiler.executable),
        "zig_version": compiler.version,
        "zig_cache": str(zig.cache_dir(os.environ)),
        "built": {
            variant.name: str(variant.shared(root))
            for variant in variants.all_variants()
            if variant.shared(root).is_file()
        },
    }


def flags(prefix: Path, *, cflags: bool, libs: bool, static: bool, apart: bool) -> list[str]:
    """What a compiler is to be given for the library installed under a prefix."""
    folder = prefix / "lib"
    name = "alloc-apart" if apart else "alloc"
    needed = [folder / f"lib{name}.{'a' if static else 'so'}"] if libs else []
    needed += [prefix / "include" / "alloc.h"] if cflags else []
    for path in needed:
        if not path.is_file():
            raise UsageError(f"{path} is missing; build it with ./dev build")
    found = [f"-I{prefix / 'include'}"] if cflags else []
    if libs and static:
        found.append(str(needed[0]))
    elif libs:
        # A checkout is in no folder that the loader looks into.
        found += [f"-L{folder}", f"-l{name}", f"-Wl,-rpath,{folder}"]
    for flag in found:
        # The shell splits what $(...) gives and takes no quotes from it.
        if shlex.quote(flag) != flag or (libs and "," in str(folder)):
            raise UsageError(f"{prefix}: no path for $(...): move the checkout, or use pkg-config")
    return found


def run(arguments: argparse.Namespace) -> int:
    """Print flags for a compiler, or the facts as a table or as JSON."""
    for word in ("static", "apart"):
        if getattr(arguments, word) and not arguments.libs:
            raise UsageError(f"--{word} says which library --libs is for: give both")
    if arguments.cflags or arguments.libs:
        if arguments.json:
            raise UsageError("--json is not for --cflags and --libs")
        prefix = variants.prefix(find_root(Path(__file__)), variants.DEFAULT_ARCHITECTURE)
        line = flags(
            prefix, cflags=arguments.cflags, libs=arguments.libs, static=arguments.static,
            apart=arguments.apart,
        )  # fmt: skip
        print(*line)
        return 0
    facts = collect(find_root(Path.cwd()), zig.find())
    if arguments.json:
        print(json.dumps(facts, indent=2))
        return 0
    built = facts.pop("built")
    rows = [(name, str(value)) for name, value in facts.items()]
    if isinstance(built, dict):
        rows += [(f"built {name}", path) for name, path in built.items()]
    print_table("liballoc", ("what", "value"), rows)
    return 0
