"""Fixtures of the compatibility tests: see tests/native.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.native import debug_library, glibc, library, native, preloaded, release, static_library

__all__ = [
    "debug_library", "glibc", "library", "native", "preloaded", "release", "static_library",
]  # fmt: skip
