"""Numbers as people read them: bytes, seconds, signals."""

from __future__ import annotations

import signal

KIB = 1024
MIB = 1024 * KIB


def format_bytes(count: int) -> str:
    """Three significant digits with a binary unit: 1536 -> '1.50 KiB'."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1000 or unit == "TiB":
            if unit == "B":
                return f"{count} B"
            digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
            return f"{value:.{digits}f} {unit}"
        value /= 1024
    raise AssertionError("the loop returns at its last unit")


def format_seconds(seconds: float) -> str:
    """Seconds with two digits, minutes where that is easier to read: 75.0 -> '1 m 15 s'."""
    if seconds >= 60:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} m {rest:02d} s"
    return f"{seconds:.2f} s"


def format_duration(seconds: float) -> str:
    """Three significant digits from nanoseconds to seconds: 0.00123 -> '1.23 ms'."""
    value = seconds * 1e9
    for unit in ("ns", "µs", "ms", "s"):
        if abs(value) < 1000 or unit == "s":
            digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
            return f"{value:.{digits}f} {unit}"
        value /= 1000
    raise AssertionError("the loop returns at its last unit")


def one_decimal(value: float) -> float:
    """As JSON is to have it: 1.2000000000000002 -> 1.2."""
    return round(value, 1)


def signal_name(number: int) -> str:
    """SIGSEGV; most real-time signals have no name of their own: 'signal 40'."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
