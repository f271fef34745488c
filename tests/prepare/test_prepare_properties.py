"""Random inputs through the whole command, held to an oracle that shares no code with it.

The reader alone is a hundred times as fast, so that it meets more of them. What is random is fixed
here; `HLM_FUZZ_SECONDS=1200 pytest -m slow` on this file goes on from new places for so long.
"""

import os
import time
import traceback
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from .cases import csv_cases, damaged_cases, filtered_cases
from .checking import check, check_reading
from .documents import damaged_json_cases, json_cases, parquet_cases, spoiled_json_cases

QUIET = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.generate],  # to shrink takes minutes where a run takes a second
}
STRATEGIES = {
    "csv": csv_cases(),
    "csv with null marks": csv_cases(null_marks=True),
    "json": json_cases(),
    "parquet": parquet_cases(),
    "damaged csv": damaged_cases(),
    "damaged json": damaged_json_cases(),
    "spoiled json": spoiled_json_cases(),
    "filters": filtered_cases(),
}


def check_any(kind, case, reader_alone):
    """Damaged files may be refused even where Python reads them."""
    strict = not kind.startswith("damaged")
    if kind == "filters":
        return check(*case)
    return (check_reading if reader_alone else check)(case, must_read=strict)


def run_examples(kind, reader_alone, count, check_one=check_any, **options):
    @settings(max_examples=count, **QUIET, **options)
    @given(STRATEGIES[kind])
    def run(case):
        check_one(kind, case, reader_alone)

    run()


@pytest.mark.parametrize(
    ("kind", "count"),
    [("csv", 10), ("json", 6), ("parquet", 6), ("filters", 10), ("damaged csv", 4),
     ("damaged json", 4), ("spoiled json", 4)],
)  # fmt: skip
def test_the_command(kind, count):
    run_examples(kind, reader_alone=False, count=count, derandomize=True)


@pytest.mark.parametrize(
    ("kind", "count"),
    [("csv", 150), ("json", 60), ("parquet", 80), ("damaged csv", 150), ("damaged json", 80)],
)
def test_the_reader(kind, count):
    run_examples(kind, reader_alone=True, count=count, derandomize=True)


def test_null_marks():
    run_examples("csv with null marks", reader_alone=True, count=80, derandomize=True)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_many_more(tmp_path):
    """Goes on after a failure; each is kept as files with their mapping."""
    end = time.monotonic() + float(os.environ.get("HLM_FUZZ_SECONDS", "60"))
    results = Counter()
    failures = []

    def check_and_go_on(kind, case, reader_alone):
        try:
            results[kind, reader_alone, check_any(kind, case, reader_alone)] += 1
        except Exception as error:
            results[kind, reader_alone, "FAILED"] += 1
            failures.append(f"{traceback.format_exception(error)[-1]}{case}"[:3000])

    while time.monotonic() < end:
        for kind in STRATEGIES:
            run_examples(kind, reader_alone=False, count=6, check_one=check_and_go_on)
            if kind != "filters":
                run_examples(kind, reader_alone=True, count=100, check_one=check_and_go_on)
    for (kind, alone, result), count in sorted(results.items()):
        print(f"{kind}, {'the reader' if alone else 'the command'}: {count} {result}")
    assert not failures, "\n\n".join(failures[:10])
