"""liballoc.units."""

from __future__ import annotations

import pytest

from liballoc.units import format_bytes, format_seconds


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (1536, "1.50 KiB"),
        (20 * 1024, "20.0 KiB"),
        (300 * 1024**2, "300 MiB"),
        (5 * 1024**5, "5120 TiB"),
    ],
)
def test_format_bytes(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.004, "0.00 s"), (59.99, "59.99 s"), (75.0, "1 m 15 s"), (119.8, "2 m 00 s")],
)
def test_format_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
