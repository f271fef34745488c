"""The sample's report: what was generated."""

from collections import Counter
from collections.abc import Sequence

from data_modules.sample.options import NOISE_KINDS, SampleOptions
from hierarchy_lm.dataset import SPLITS, DatasetInfo, TaskInfo
from hierarchy_lm.hierarchy import Hierarchy


def describe(
    info: DatasetInfo,
    hierarchy: Hierarchy,
    tasks: Sequence[TaskInfo],
    tags: Counter[str],
    options: SampleOptions,
) -> str:
    """Markdown of rows, nodes and noise."""
    lines = [
        "# Generated sample",
        "",
        f"{options}",
        "",
        f"- Nodes per level: {', '.join(map(str, hierarchy.level_sizes))}"
        f" (leaves: {int(hierarchy.is_leaf.sum())} of {hierarchy.num_nodes})",
        f"- Products: {_rows(info, '')}",
        *(_task_line(info, task) for task in tasks),
        "- Labels of the products: "
        + ", ".join(
            f"{_share(tags, kind, options)} {kind}" for kind in ("several nodes", "no node")
        ),
        "- Noise of the products: "
        + ", ".join(f"{_share(tags, kind, options)} {kind}" for kind in ("clean", *NOISE_KINDS)),
    ]
    return "\n".join(lines) + "\n"


def _task_line(info: DatasetInfo, task: TaskInfo) -> str:
    rows = _rows(info, f"tasks/{task.name}/")
    return f"- Task {task.name}: {len(task.labels)} labels; {rows}"


def _rows(info: DatasetInfo, prefix: str) -> str:
    return ", ".join(f"{info.counts[prefix + split]:,} {split}" for split in SPLITS)


def _share(tags: Counter[str], kind: str, options: SampleOptions) -> str:
    return f"{100 * tags[kind] / options.items:.1f} %"
