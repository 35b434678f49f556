"""Fixtures of the tests with Valgrind and the sanitizers: see tests/native.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.native import library, native, static_library

__all__ = ["library", "native", "static_library"]
