"""Time left and the table at the end, by hand."""

import pytest
from rich.console import Console

from hierarchy_lm.cli import sweep_progress
from hierarchy_lm.cli.sweep_progress import SweepProgress
from hierarchy_lm.cli.sweep_summary import summary_table


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(sweep_progress.time, "monotonic", lambda: now[0])
    return now


def printed(console):
    return console.file.getvalue()


@pytest.fixture
def console():
    from io import StringIO

    return Console(file=StringIO(), width=120)


def test_the_time_left_follows_from_the_runs_so_far(clock, console):
    progress = SweepProgress(console, 6, 2, "val/loss", before=[])
    assert progress.seconds_left() is None
    progress.begin("a")
    progress.begin("b")
    clock[0] = 10.0
    progress.end("a", "", {"val/loss": 0.5})
    # four wait for 10 s each, b has had its 10 s; two at a time
    assert progress.seconds_left() == pytest.approx(20.0)
    progress.begin("c")
    clock[0] = 14.0
    # three wait, c is 4 s old
    assert progress.seconds_left() == pytest.approx((3 * 10 + 6) / 2)
    progress.end("b", "out of memory", {})
    # (10 + 14) / 2 = 12 s each
    assert progress.seconds_left() == pytest.approx((3 * 12 + 8) / 2)
    assert printed(console).splitlines() == [
        "1/6 a: val/loss 0.5000, 0:00:10; 0:00:20 left",
        "2/6 b: failed: out of memory, 0:00:14; 0:00:22 left",
    ]


def test_runs_from_before_count_as_done_and_say_how_long_one_takes(clock, console):
    progress = SweepProgress(console, 4, 1, "val/loss", before=[30.0, 50.0])
    assert progress.seconds_left() == pytest.approx(2 * 40.0)


def row(value, baseline=False, **metrics):
    return {"values": {"model.skip.pool": value} if value else {}, "baseline": baseline,
            "metrics": metrics}  # fmt: skip


def test_the_table_has_mean_and_deviation_over_seeds(console):
    rows = [
        row(None, True, **{"test/micro_f1": 0.5}),
        row("[mean]", **{"test/micro_f1": 0.6}),
        row("[mean]", **{"test/micro_f1": 0.8}),
        row("max"),
    ]
    console.print(summary_table(rows, "test/micro_f1"))
    lines = [line.replace("│", " ").split() for line in printed(console).splitlines()]
    assert ["baseline", "0.5000", "1", "of", "1"] in lines
    assert ["[mean]", "0.7000", "±", "0.1414", "2", "of", "2"] in lines
    assert ["max", "-", "0", "of", "1"] in lines


def test_untested_runs_are_shown_by_their_validation(console):
    rows = [row("max", **{"val/micro_f1": 0.1, "best/val/micro_f1": 0.25})]
    console.print(summary_table(rows, "test/micro_f1"))
    assert "best/val/micro_f1" in printed(console)
    assert "0.2500" in printed(console)
