"""The answer of one rule."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One rule on one file; `detail` says what breaks it, and is empty when nothing does."""

    rule: str
    detail: str

    @property
    def ok(self) -> bool:
        """Whether the rule holds."""
        return not self.detail
