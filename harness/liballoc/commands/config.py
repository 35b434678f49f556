"""Show what the harness uses here: compiler, caches, and the libraries that are built."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from liballoc import __version__
from liballoc.report.table import print_table
from liballoc.toolchain import variants, zig
from liballoc.toolchain.driver import find_root

NAME = "config"


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Flags of `liballoc config`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


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


def run(arguments: argparse.Namespace) -> int:
    """Print the facts as a table or as JSON."""
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
