"""Scores of the noise benchmark as Markdown."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.runs import over_seeds

SCORES = {
    "department": "test/department_accuracy_items",
    "leaf": "test/leaf_accuracy_items",
    "coverage at 90 %": "test/coverage_at_0.90",
}


def write_tables(results: Sequence[tuple[Any, dict[str, float]]], file: Path) -> None:
    """One table per catalogue: strategies down, scores across, mean and deviation over seeds."""
    groups: dict[str, dict[str, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for run, scores in results:
        wrong = "" if run.wrong_labels is None else f", {run.wrong_labels:.0%} wrong labels"
        groups[f"{run.noise}{wrong}"][run.strategy].append(scores)
    lines: list[str] = []
    for title, strategies in groups.items():
        lines += [f"## {title}", "", "| strategy | seeds | " + " | ".join(SCORES) + " |"]
        lines += ["|---" * (2 + len(SCORES)) + "|"]
        for name, runs in strategies.items():
            cells = [over_seeds([scores[key] for scores in runs]) for key in SCORES.values()]
            lines.append(f"| {name} | {len(runs)} | " + " | ".join(cells) + " |")
        lines.append("")
    file.write_text("\n".join(lines), encoding="utf-8")
