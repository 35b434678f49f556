"""Run a matching engine's orders from malloc and from a pool, and print both latencies.

The same requests, drawn from a seed with quiet stretches and bursts, go through the order book of
workloads/src/order_book: once with malloc and free, once with a pool for orders and an arena for
what a request needs (hft_alloc.h), once with liballoc's malloc. Each run is a process of its own;
they take turns. That all of them make the same trades is checked.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path

from liballoc.allocators import preload, registry
from liballoc.allocators.registry import Allocator
from liballoc.errors import ToolMissingError, UsageError
from liballoc.measure import order_book as measured
from liballoc.measure.order_book import MALLOC, POOL, Contender, Plan, Shown
from liballoc.report import order_book as report
from liballoc.results.store import check_target, write_bytes
from liballoc.toolchain.driver import find_root

NAME = "order-book"
EPILOG = "exit status: 0 fine, 1 a run failed or traded differently, 2 usage, 3 a tool is missing"

ORDERS_MAX, ROUNDS_MAX = 100_000_000, 1000


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Flags of `liballoc order-book`."""
    parser.add_argument(
        "--orders", type=int, default=1_000_000, metavar="N",
        help="requests: orders and cancels (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="of the requests (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each (%(default)s)")
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME=PATH",
        help="another malloc beside these; repeatable",
    )  # fmt: skip
    parser.add_argument("--library", dest="preload", type=Path, help="the liballoc.so to use")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="histograms, as .svg or .png")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def check_flags(arguments: argparse.Namespace) -> None:
    """UsageError where a number is none that can be meant, or the plot cannot be written."""
    limits = (("orders", 1, ORDERS_MAX), ("seed", 0, (1 << 64) - 1), ("rounds", 1, ROUNDS_MAX))
    for name, low, high in limits:
        value = getattr(arguments, name)
        if not low <= value <= high:
            raise UsageError(f"--{name} {value}: is not from {low} to {high}")
    if arguments.plot is None:
        return
    report.check_plot(arguments.plot)
    check_target(arguments.plot)
    try:
        import matplotlib  # noqa: F401, PLC0415
    except ImportError as error:
        raise ToolMissingError(
            f"{error.name} is missing: pip install 'liballoc[measure]', or start with ./dev"
        ) from error


def contenders(library: Path, peers: Sequence[Allocator]) -> list[Contender]:
    """The process's malloc, the pool, liballoc's malloc, and those of the command line."""
    return [
        Contender(MALLOC, MALLOC, Allocator("")),
        Contender(POOL, POOL, Allocator("")),
        Contender("liballoc's malloc", MALLOC, registry.own(library)),
        *(Contender(f"{peer.name}'s malloc", MALLOC, peer) for peer in peers),
    ]


def run(arguments: argparse.Namespace) -> int:
    """Build, run, report."""
    check_flags(arguments)
    library = (arguments.preload or preload.find_library(platform.machine())).resolve()
    chosen = contenders(library, registry.parse_peers(arguments.peer))
    # From any folder: the sources lie where this file does.
    root = find_root(Path(__file__))
    with tempfile.TemporaryDirectory(prefix="liballoc-order-book-") as folder:
        programs = measured.build(root, library, Path(folder))
        plan = Plan(programs, chosen, arguments.orders, arguments.seed, arguments.rounds)
        show(measured.measure(plan), arguments)
    return 0


def show(shown: Sequence[Shown], arguments: argparse.Namespace) -> None:
    """Print and draw."""
    if arguments.json:
        print(json.dumps(measured.as_json(shown, arguments.rounds)))
    else:
        report.show(shown, arguments.rounds)
    if arguments.plot is not None:
        write_bytes(arguments.plot, report.plot(shown, arguments.plot.suffix))
        if not arguments.json:
            print(f"histograms: {arguments.plot}")
