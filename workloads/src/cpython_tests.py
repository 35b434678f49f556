"""Runs test modules of CPython and prints what became of each test, in order.

Debian's package and an installation from source each lack some modules, so every module is run by
the first interpreter that has it: Debian's, then the one that runs this.
"""

import collections
import os
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

HAS = (
    "import importlib.util, sys; sys.exit(importlib.util.find_spec('test.' + sys.argv[1]) is None)"
)


def has(python: str, module: str) -> bool:
    argv = [python, "-c", HAS, module]
    return subprocess.run(argv, stderr=subprocess.DEVNULL, check=False).returncode == 0


def run(python: str, modules: list[str]) -> dict[str, str]:
    """The state of each test, or that of the whole run when it left no report."""
    report = Path("tests.xml")
    report.unlink(missing_ok=True)
    argv = [python, "-m", "test", "-j2", "--timeout=600", f"--junit-xml={report}", *modules]
    for pattern in os.environ.get("MATCH", "").split():
        argv += ["-m", pattern]
    for pattern in os.environ.get("IGNORE", "").split():
        argv += ["-i", pattern]
    with Path("log").open("w") as log:
        status = subprocess.run(argv, stdout=log, stderr=log, check=False).returncode
    states = {"exit status": str(status)}
    if status:
        print("".join(Path("log").read_text().splitlines(keepends=True)[-40:]), file=sys.stderr)
    if report.exists():
        for case in xml.etree.ElementTree.parse(report).iter("testcase"):
            kinds = [k for k in ("failure", "error", "skipped") if case.find(k) is not None]
            states[str(case.get("name"))] = kinds[0] if kinds else "passed"
    return states


def main() -> None:
    wanted = os.environ["TESTS"].split()
    for python in ("/usr/bin/python3", sys.executable):
        modules = [module for module in wanted if has(python, module)]
        wanted = [module for module in wanted if module not in modules]
        if modules:
            print("==", python, *modules)
            states = run(python, modules)
            print(sorted(collections.Counter(states.values()).items()))
            print("\n".join(f"{name} {state}" for name, state in sorted(states.items())))
    print("not there:", wanted)


main()
