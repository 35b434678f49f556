"""Verify shared objects: names, dynamic section, segments, TLS, unwind tables, calloc, hit paths.

The golden files lie in tests/elf/golden. The hit paths of malloc and free are checked on a release
library for x86_64, on such a machine.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from liballoc.elf import fast_path, image
from liballoc.elf.finding import Finding
from liballoc.elf.verify import GOLDEN_FOLDER, Golden, verify, verify_fast_path
from liballoc.errors import UsageError
from liballoc.report.table import print_table
from liballoc.results.store import write_json
from liballoc.toolchain import variants
from liballoc.toolchain.driver import find_root

NAME = "elf"


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Flags of `liballoc elf`."""
    parser.add_argument("files", nargs="*", metavar="FILE", type=Path, help="shared objects")
    parser.add_argument("--built", action="store_true", help="every variant that is built")
    parser.add_argument("--golden", type=Path, metavar="FOLDER", help="other golden files")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--fast-path", action="store_true", help="check the hit paths of a FILE given by name too"
    )
    parser.add_argument(
        "--update-golden", action="store_true", help="write the hit paths' counts as they are now"
    )


def run(arguments: argparse.Namespace) -> int:
    """Verify; 1 when a rule is broken."""
    golden = Golden(arguments.golden or find_root(Path.cwd()) / GOLDEN_FOLDER)
    if arguments.update_golden:
        return update(golden, arguments.files)
    if not arguments.files and not arguments.built:
        raise UsageError("give a FILE or --built")
    chosen = [(path, arguments.fast_path) for path in arguments.files]
    if arguments.built:
        chosen += built(find_root(Path.cwd()))
    findings = {str(path): check(path, golden, with_path) for path, with_path in chosen}
    if arguments.json:
        print(json.dumps(as_json(findings), indent=2))
    else:
        for name, results in findings.items():
            show(name, results)
    return 0 if all(entry.ok for results in findings.values() for entry in results) else 1


def built(root: Path) -> list[tuple[Path, bool]]:
    """The variants that are built, and whether each one's hit paths are golden."""
    found = [
        (variant.shared(root), variant.mode == "release")
        for variant in variants.all_variants()
        if variant.shared(root).is_file()
    ]
    if not found:
        raise UsageError("nothing is built: ./dev build -- --all")
    return found


def check(path: Path, golden: Golden, with_fast_path: bool) -> list[Finding]:
    """All findings on a file."""
    loaded = image.load(path)
    findings = verify(loaded, golden)
    if with_fast_path and fast_path.can_trace(loaded):
        findings += verify_fast_path(loaded, golden)
    return findings


def update(golden: Golden, files: list[Path]) -> int:
    """Write the counts of the given library, or of the built one."""
    library = (
        files[0] if files else variants.Variant("release", "x86_64").shared(find_root(Path.cwd()))
    )
    write_json(golden.fast_path, fast_path.as_golden(fast_path.measure(image.load(library))))
    print(f"wrote {golden.fast_path}")
    return 0


def show(name: str, findings: list[Finding]) -> None:
    """A table of the rules on one file."""
    rows = [(entry.rule, "ok" if entry.ok else "FAIL", entry.detail) for entry in findings]
    print_table(name, ("rule", "result", "detail"), rows)


def as_json(findings: dict[str, list[Finding]]) -> dict[str, object]:
    """The document for --json."""
    return {
        name: [{"rule": entry.rule, "ok": entry.ok, "detail": entry.detail} for entry in results]
        for name, results in findings.items()
    }
