"""Times that can be compared on a machine whose speed changes from one minute to the next."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import process_time

INTERLEAVED = (
    "All variants ran in one process on one thread, in turn, so that each round holds all of them "
    "at the same speed of the machine. Times are CPU seconds of the process, which on one thread "
    "leave out only what other work took. A ratio is the median over {rounds} rounds of the ratio "
    "inside a round, with its lowest and highest in brackets. The machine is shared: only the "
    "ratios count."
)


@dataclass(frozen=True)
class Timings:
    """CPU seconds per call of each variant, one number per round."""

    seconds: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        """Median seconds of a variant."""
        return median(self.seconds[name])

    def ratios(self, name: str, base: str) -> list[float]:
        """Seconds of a variant as a share of another one's, per round."""
        pairs = zip(self.seconds[name], self.seconds[base], strict=True)
        return [own / other for own, other in pairs]


def interleave(
    variants: Mapping[str, Callable[[], object]], rounds: int, least_seconds: float = 0.0
) -> Timings:
    """Time the variants round-robin, after one round that does not count.

    Args:
        variants: What to call, by name.
        rounds: Rounds that count.
        least_seconds: A variant is repeated within a round until it has run this long.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for function in variants.values():
        function()
    for _ in range(rounds):
        for name, function in variants.items():
            seconds[name].append(_time(function, least_seconds))
    return Timings(seconds)


def spread(ratios: list[float], form: str) -> str:
    """Median, lowest and highest, as text."""
    middle, low, high = (
        format(value, form) for value in (median(ratios), min(ratios), max(ratios))
    )
    return f"{middle} ({low} to {high})"


def _time(function: Callable[[], object], least_seconds: float) -> float:
    calls = 0
    start = process_time()
    while True:
        function()
        calls += 1
        elapsed = process_time() - start
        if elapsed >= least_seconds:
            return elapsed / calls
