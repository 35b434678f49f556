"""Build the library, or run the Zig half's own checks.

By default release and debug of the default architecture are built, as .so and .a, into zig-out;
other architectures go into zig-out/<architecture>.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from liballoc.errors import UsageError
from liballoc.toolchain import variants, zig
from liballoc.toolchain.driver import Driver, find_root

NAME = "build"


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Flags of `liballoc build`."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--all", action="store_true", help="every architecture")
    choice.add_argument(
        "--architecture",
        choices=variants.ARCHITECTURES,
        default=variants.DEFAULT_ARCHITECTURE,
        help="the one to build (default: %(default)s)",
    )
    choice.add_argument("--test", action="store_true", help="run the Zig unit tests instead")
    parser.add_argument(
        "--page-size", type=int, metavar="BYTES", help="with --test: as if pages had this size"
    )
    choice.add_argument("--model", action="store_true", help="build the model of races instead")
    choice.add_argument("--tsan", action="store_true", help="test under the thread sanitizer")
    choice.add_argument("--check-format", action="store_true", help="run zig fmt --check instead")


def run(arguments: argparse.Namespace, driver: Driver | None = None) -> int:
    """Build or check; a failure raises."""
    if driver is None:
        driver = Driver(zig.find(), find_root(Path.cwd()))
    if arguments.page_size is not None and not arguments.test:
        raise UsageError("--page-size goes with --test")
    if arguments.test:
        driver.test(arguments.page_size)
    elif arguments.model or arguments.tsan:
        driver.step("model" if arguments.model else "tsan")
    elif arguments.check_format:
        present = [name for name in ("build.zig", "zig") if (driver.root / name).exists()]
        driver.check_format(present)
    else:
        chosen = variants.ARCHITECTURES if arguments.all else (arguments.architecture,)
        for architecture in chosen:
            driver.build(architecture)
            print(f"built {architecture}: {variants.prefix(driver.root, architecture)}/lib")
    return 0
