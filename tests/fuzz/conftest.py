"""Fixtures of the fuzz tests: see tests/native.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.native import debug_library, glibc, library, native, release

__all__ = ["debug_library", "glibc", "library", "native", "release"]
