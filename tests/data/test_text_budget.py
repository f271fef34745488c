"""The length budget against handing out tokens one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hierarchy_lm.text import share_budget


def slow_share(lengths: list[int], budget: int, first_served: int) -> list[int]:
    """First fields in turn; then one token each, longest first, until nothing is left."""
    kept = [0] * len(lengths)
    for field in range(first_served):
        while kept[field] < lengths[field] and sum(kept) < budget:
            kept[field] += 1
    longest_first = sorted(
        range(first_served, len(lengths)), key=lambda field: (-lengths[field], -field)
    )
    while sum(kept) < min(budget, sum(lengths)):
        for field in longest_first:
            if kept[field] < lengths[field] and sum(kept) < budget:
                kept[field] += 1
    return kept


@given(st.data())
def test_share_equals_the_token_by_token_loop(data):
    fields = data.draw(st.integers(1, 4))
    first_served = data.draw(st.integers(1, fields))
    lengths = st.lists(st.integers(0, 12), min_size=fields, max_size=fields)
    rows = data.draw(st.lists(st.tuples(lengths, st.integers(0, 30)), min_size=1, max_size=8))
    kept = share_budget(
        np.array([row for row, _ in rows]), np.array([budget for _, budget in rows]), first_served
    )
    assert kept.tolist() == [slow_share(row, budget, first_served) for row, budget in rows]


def test_what_a_short_field_leaves_goes_to_the_longer_ones():
    lengths = np.array([[4, 2, 30, 30], [50, 5, 5, 5]])
    kept = share_budget(lengths, np.array([20, 20]), first_served=1)
    assert kept.tolist() == [[4, 2, 7, 7], [20, 0, 0, 0]]


def test_budget_is_not_changed_in_place():
    budget = np.array([7])
    share_budget(np.array([[3, 9]]), budget, first_served=1)
    assert budget.tolist() == [7]
