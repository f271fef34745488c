"""Numbers and names as the reports write them."""

import math
import re
from collections.abc import Sequence

MISSING = "–"
MOST_TEXT = 160


def share(value: float | None) -> str:
    """A share or accuracy with four decimals, as the paper prints them."""
    return MISSING if value is None or value != value else f"{value:.4f}"


def gain(value: float | None, base: float | None) -> str:
    """Improvement (+) or downgrade (-) over the baseline."""
    if value is None or base is None or value != value or base != base:
        return MISSING
    difference = round(value - base, 4)
    return f"{difference or 0.0:+.4f}"


def count(value: int) -> str:
    """A number of items with thousands apart."""
    return f"{value:,}"


def threshold_text(value: float) -> str:
    """A confidence, with more digits where a model is nearly certain."""
    return f"{value:.6f}" if value > 0.999 else f"{value:.4f}"


def figure(value: float | None) -> str:
    """A score with four decimals; numbers far from 1 with three or four digits."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0 or 0.001 <= abs(value) < 100:
        return f"{value:.4f}"
    return f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}"


def deviation(value: float | None, mean: float | None) -> str:
    """A standard deviation with as many decimals as its mean has."""
    small = mean is not None and abs(mean) < 100
    return share(value) if small else figure(value)


def duration(seconds: float | None) -> str:
    """Seconds as hours, minutes and seconds."""
    if seconds is None:
        return MISSING
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {left:02} s" if minutes else f"{seconds:.1f} s"


def clip(text: str, most: int = MOST_TEXT) -> str:
    """One line of at most ``most`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def shortened(total: int, most: int, what: str) -> list[str]:
    """A sentence about what is left out, if anything is."""
    return [f"The first {most} of {count(total)} {what}."] if total > most else []


def listed(names: Sequence[str], most: int) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def short_ends(names: Sequence[str], separator: str, silent: str = "") -> list[str]:
    """Each of some distinct names by as few of its last parts as tell it from the others.

    Args:
        names: The names.
        separator: What stands between the parts of a name.
        silent: Pattern of parts that say too little to stand first.
    """
    found = []
    for name in names:
        parts = name.split(separator)
        starts = [n for n, part in enumerate(parts) if part and not re.fullmatch(silent, part)]
        ends = [separator.join(parts[n:]) for n in reversed(starts)]
        others = [f"{separator}{other}" for other in names if other != name]
        alone = (end for end in ends if not any(o.endswith(separator + end) for o in others))
        found.append(next(alone, name))
    return found


def p_text(p: float, resamples: int) -> str:
    """The share to three digits; none of the resamples says no more than that it is below 2 / R."""
    return f"{p:.3f}" if p else f"< {2 / resamples:.3g}"
