"""What benchmarks that train share: the command in this process, and scores over seeds."""

from collections.abc import Sequence
from statistics import mean, stdev

from hierarchy_lm import cli


def hlm(*arguments: object) -> None:
    """Run the command; end with its exit status if it fails."""
    status = cli.main(list(map(str, arguments)))
    if status:
        raise SystemExit(status)


def over_seeds(scores: Sequence[float]) -> str:
    """Mean and deviation in percent, or the only score."""
    if len(scores) == 1:
        return f"{100 * scores[0]:.1f}"
    return f"{100 * mean(scores):.1f} ± {100 * stdev(scores):.1f}"
