"""What stands in the cells of a table: scores, their spread, and how sure a change is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev

from hierarchy_lm.errors import UserError
from hierarchy_lm.metrics.bootstrap import Difference, Floats, difference, resampled_scores
from hierarchy_lm.reports.table_items import Items, read_items, same_items
from hierarchy_lm.reports.table_layout import Part
from hierarchy_lm.reports.table_runs import Run, Trial


@dataclass(frozen=True)
class Change:
    """How a score differs from that of the compared runs.

    Attributes:
        difference: Ours minus theirs, each the mean over seeds.
        relative: The same in percent of theirs; None if theirs is 0.
        test: Paired bootstrap over the test items; None without the items of all runs.
    """

    difference: float
    relative: float | None
    test: Difference | None


@dataclass(frozen=True)
class Cell:
    """A score over training seeds.

    Attributes:
        gap: Why there is none, empty if there is.
        seeds: Seeds that have the score.
        expected: Seeds that were to have it.
        mean, deviation: Over the seeds; the sample deviation is None for a single one.
        change: From the compared runs; None where nothing is compared.
        runs: The runs that were counted.
        items: Test items that each of them answered, where they are kept.
    """

    gap: str
    seeds: int = 0
    expected: int = 0
    mean: float | None = None
    deviation: float | None = None
    change: Change | None = None
    runs: tuple[Run, ...] = ()
    items: int | None = None


@dataclass
class Scorer:
    """Makes cells; what was resampled once is kept, since many cells share the compared runs.

    Attributes:
        resamples: Resamples of the paired bootstrap.
        seed: Seed of its draws.
    """

    resamples: int
    seed: int = 0
    _kept: dict[tuple[str, ...], Floats] = field(default_factory=dict)
    _items: dict[Path, Items | None] = field(default_factory=dict)

    def cell(
        self, trials: Sequence[Trial], metric: str, compared: Sequence[Trial] | None = None
    ) -> Cell:
        """The score of a cell's trials, and its change from the compared ones.

        Raises:
            UserError: If runs would be mixed that are not alike.
        """
        own = finished(trials, metric)
        expected = len({trial.seed for trial in trials})
        if not own:
            return Cell(_gap(trials), expected=expected)
        check_alike([*trials, *(compared or ())])
        scores = [run.metrics[metric] for run in own]
        theirs = finished(compared or (), metric)
        items = self._all_items(own)
        return Cell(
            gap="",
            seeds=len(own),
            expected=expected,
            mean=mean(scores),
            deviation=stdev(scores) if len(own) > 1 else None,
            change=self._change(own, theirs, metric) if theirs else None,
            runs=tuple(own),
            items=len(items[0].ids) if items else None,
        )

    def _change(self, own: Sequence[Run], theirs: Sequence[Run], metric: str) -> Change:
        ours, base = (mean(run.metrics[metric] for run in runs) for runs in (own, theirs))
        relative = 100 * (ours - base) / base if base else None
        return Change(ours - base, relative, self._test(own, theirs, metric))

    def _test(self, own: Sequence[Run], theirs: Sequence[Run], metric: str) -> Difference | None:
        items = self._all_items([*own, *theirs])
        if items is None or not same_items(items):
            return None
        try:
            first, second = (self._resampled(runs, metric) for runs in (theirs, own))
        except ValueError:  # no score of single items, such as a loss
            return None
        return difference(first, second)

    def _resampled(self, runs: Sequence[Run], metric: str) -> Floats:
        key = (metric, *(str(run.folder) for run in runs))
        if key not in self._kept:
            outcomes = [items.outcomes for items in self._all_items(runs) or ()]
            name = metric.removeprefix("test/")
            self._kept[key] = resampled_scores(outcomes, name, self.resamples, self.seed)
        return self._kept[key]

    def _all_items(self, runs: Sequence[Run]) -> list[Items] | None:
        """The test items of every run; None if one keeps none."""
        for run in runs:
            if run.folder not in self._items:
                self._items[run.folder] = read_items(run.folder)
        found = [self._items[run.folder] for run in runs]
        return None if None in found else [items for items in found if items]


def chosen(trials: Sequence[Trial], *parts: Part) -> list[Trial]:
    """Trials that belong to all of the parts; those of the baseline only where a part asks."""
    if any(part.paper_only for part in parts):
        return []
    baseline = any(part.baseline for part in parts)
    return [
        trial
        for trial in trials
        if trial.baseline == baseline and all(_belongs(trial, part) for part in parts)
    ]


def _belongs(trial: Trial, part: Part) -> bool:
    of_sweep = not (part.sweep and trial.sweep) or trial.sweep.name == part.sweep
    return of_sweep and trial.has(part.where)


def finished(trials: Sequence[Trial], metric: str) -> list[Run]:
    """The finished runs that have the score, one per seed, in the order of the seeds.

    Raises:
        UserError: If a seed has two.
    """
    found: dict[int, Run] = {}
    for trial in sorted(trials, key=lambda trial: trial.seed):
        run = trial.run
        if trial.state != "finished" or run is None or metric not in run.metrics:
            continue
        if trial.seed in found:
            raise UserError(
                f"{found[trial.seed].folder} and {run.folder}: two runs of the same cell and seed "
                f"{trial.seed}; give the folder of one of them"
            )
        found[trial.seed] = run
    return list(found.values())


def check_alike(trials: Sequence[Trial]) -> None:
    """Check that runs may be averaged and compared.

    Raises:
        UserError: If they are of several datasets, or of sweeps with different commands.
    """
    runs = [trial.run for trial in trials if trial.run and trial.state == "finished"]
    datasets = {run.dataset: run for run in runs}
    if len(datasets) > 1:
        (one, first), (other, second), *_ = datasets.items()
        raise UserError(
            f"{first.folder} is of the dataset {one}, {second.folder} of {other}; they cannot be "
            "compared, give runs of one dataset"
        )
    terms = {trial.sweep.terms: trial.sweep for trial in trials if trial.run and trial.sweep}
    if len(terms) > 1:
        one_sweep, other_sweep, *_ = terms.values()
        raise UserError(
            f"{one_sweep.folder} and {other_sweep.folder}: two sweeps with different commands "
            "or extra arguments; give the folder of one of them"
        )


def _gap(trials: Sequence[Trial]) -> str:
    states = {trial.state for trial in trials}
    for state in ("failed", "not finished"):
        if state in states:
            return state
    return "no such score" if "finished" in states else "not run"
