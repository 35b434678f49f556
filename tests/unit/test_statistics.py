"""liballoc.measure.statistics: ratios, intervals that hold what they say, and Holm."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liballoc.measure.statistics import Ratio, centre, holm, judge, ratio_of, spread

logs = st.lists(st.floats(-2, 2), min_size=5, max_size=12)


@settings(deadline=None)
@given(logs)
def test_an_interval_holds_its_ratio(values: list[float]) -> None:
    ratio = ratio_of(values)
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low <= ratio.value * (1 + 1e-9)
    assert ratio.value <= ratio.high * (1 + 1e-9)


@settings(deadline=None)
@given(logs)
def test_turning_the_ratio_round_turns_the_result_round(values: list[float]) -> None:
    there, back = ratio_of(values), ratio_of([-value for value in values])
    assert there.value * back.value == pytest.approx(1)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_never_lowers_and_keeps_the_order(values: list[float]) -> None:
    corrected = holm(values)
    assert all(new >= old for new, old in zip(corrected, values, strict=True))
    assert all(new <= 1 for new in corrected)
    order = np.argsort(values, kind="stable")
    assert all(np.diff(np.asarray(corrected)[order]) >= 0)


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    chance = np.random.default_rng(7)
    hits = 0
    for _ in range(120):
        ratio = ratio_of(list(chance.normal(math.log(1.1), 0.05, 6)))
        assert ratio.low is not None
        assert ratio.high is not None
        hits += ratio.low <= 1.1 <= ratio.high
    # 95 % of 120 is 114; the plain percentile interval hits about 100.
    assert hits >= 108


def test_noise_is_seldom_called_a_difference() -> None:
    chance = np.random.default_rng(3)
    found = 0
    for _ in range(40):
        table = judge([ratio_of(list(chance.normal(0, 0.05, 6))) for _ in range(10)])
        found += any(ratio is not None and ratio.significant for ratio in table)
    # Without a correction it would be about 16 tables of 40.
    assert found <= 5


def test_one_disturbed_round_does_not_move_the_centre() -> None:
    assert centre(np.array([0.0, 0.01, -0.01, 0.0, 0.02, 3.0])) == pytest.approx(0, abs=0.02)


def test_few_rounds_have_no_interval() -> None:
    assert ratio_of([0.1] * 4) == Ratio(math.exp(0.1))
    assert judge([ratio_of([0.1] * 4)])[0] == Ratio(math.exp(0.1))


def test_equal_figures_are_equal_and_a_fixed_difference_is_one() -> None:
    same, different = judge([ratio_of([0.0] * 6), ratio_of([0.1] * 6)])
    assert same is not None
    assert not same.significant
    assert different is not None
    assert different.significant


def test_spread() -> None:
    found = spread([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.median, found.low, found.high, found.count) == (3, 2, 4, 5)
    assert found.percent == pytest.approx(100 / 3)
    assert spread([0.0]).percent == 0
