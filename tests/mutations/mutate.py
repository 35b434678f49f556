"""`nox -s mutate`: breaks the library on purpose, and demands that the tests of the row go red.

Exit status: 0 every mutation went red, 1 one survived, did not build or has no test, 2 usage or a
mutation that does not apply, 3 a tool is missing.
"""

from __future__ import annotations

import argparse
import queue
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from liballoc.errors import LiballocError
from liballoc.report.table import print_table
from liballoc.toolchain import zig
from tests.mutations import catalogue
from tests.mutations.worker import State, Verdict, Worker


def parser() -> argparse.ArgumentParser:
    """The flags."""
    made = argparse.ArgumentParser(prog="nox -s mutate --", description=__doc__)
    made.add_argument("names", nargs="*", metavar="NAME", help="mutations, or rows as C14")
    made.add_argument("--jobs", type=int, default=1, metavar="N", help="copies at work at once")
    made.add_argument("--list", action="store_true", help="say what there is, and end")
    made.add_argument(
        "--no-baseline", action="store_true", help="do not run the tests on the unchanged library"
    )
    return made


def run(mutations: Sequence[catalogue.Mutation], jobs: int, baseline: bool) -> list[Verdict]:
    """Every mutation's verdict, in order; a line for each as it comes."""
    tool = zig.find()
    with tempfile.TemporaryDirectory(prefix="liballoc-mutate-") as folder:
        free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        workers = [
            Worker(catalogue.ROOT, Path(folder) / str(number), tool)
            for number in range(min(jobs, len(mutations)))
        ]
        for worker in workers:
            worker.prepare()
        if baseline:
            workers[0].check_green(list(mutations))
            print("green without a mutation: the same tests", flush=True)
        for worker in workers:
            free.put(worker)

        def judge(mutation: catalogue.Mutation) -> Verdict:
            worker = free.get()
            try:
                verdict = worker.judge(mutation)
                print(f"{verdict.state.value:9} {mutation.name}", flush=True)
                if verdict.state is not State.RED:
                    print(worker.log[-1], flush=True)
                return verdict
            finally:
                free.put(worker)

        with ThreadPoolExecutor(len(workers)) as pool:
            return list(pool.map(judge, mutations))


def report(verdicts: Sequence[Verdict]) -> None:
    """The table."""
    rows = [
        [v.mutation.name, " ".join(v.mutation.rows), v.state.value, f"{v.build_s:.0f}",
         f"{v.tests_s:.0f}", v.mutation.breaks]
        for v in verdicts
    ]  # fmt: skip
    columns = ["mutation", "rows", "tests", "build s", "tests s", "what it breaks"]
    print_table("mutations", columns, rows, right=["build s", "tests s"])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the chosen mutations; the exit status."""
    arguments = parser().parse_args(argv)
    if arguments.jobs < 1:
        parser().error("--jobs must be 1 or more")
    try:
        chosen = catalogue.choose(catalogue.load(), arguments.names)
        for mutation in chosen:
            mutation.applied((catalogue.ROOT / mutation.file).read_text())
        if arguments.list:
            for mutation in chosen:
                print(f"{mutation.name}: {' '.join(mutation.rows)}: {mutation.breaks}")
            return 0
        verdicts = run(chosen, arguments.jobs, not arguments.no_baseline)
    except LiballocError as error:
        print(f"mutate: {error}", file=sys.stderr)
        return error.exit_status
    report(verdicts)
    survivors = [v.mutation.name for v in verdicts if v.state is not State.RED]
    print(f"{len(verdicts) - len(survivors)} of {len(verdicts)} went red")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
