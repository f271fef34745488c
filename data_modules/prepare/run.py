"""`hlm prepare`: a real catalogue becomes a dataset folder."""

from dataclasses import dataclass, field
from pathlib import Path

import ibis.expr.types as ir
import pyarrow as pa
from rich.console import Console
from rich.markdown import Markdown

from data_modules.folders import fingerprint, new_folder
from data_modules.prepare import figures, report
from data_modules.prepare.engine import Engine
from data_modules.prepare.inputs import Inputs
from data_modules.prepare.mapping import (
    ProductOptions,
    TaskOptions,
    TreeOptions,
    with_products_columns,
)
from data_modules.prepare.products import product_rows
from data_modules.prepare.progress import Stages
from data_modules.prepare.shards import write_splits
from data_modules.prepare.tasks import task_rows
from hierarchy_lm.dataset import (
    PRODUCT_SCHEMA,
    TASK_SCHEMA,
    DatasetInfo,
    TaskInfo,
    write_json,
)
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy


def prepare(
    *,
    output: str,
    name: str,
    source: str,
    licence: str,
    products: ProductOptions | None = None,
    tree: TreeOptions | None = None,
    tasks: dict[str, TaskOptions] | None = None,
    root: str = ".",
    memory_limit: str = "2GB",
    threads: int | None = None,
    rows_per_shard: int = 100_000,
) -> None:
    """Turn a catalogue and labelled tasks into a dataset folder (docs/prepare.md).

    The folder appears whole or not at all. Its data-quality report is printed as well.

    Args:
        output: Folder to write; it must not exist or be empty.
        name: Short name of the data.
        source: Where the data comes from.
        licence: Its licence as the publisher states it.
        products: The products and their category paths.
        tree: The category tree's file, or how paths are shortened.
        tasks: Labelled tasks by name.
        root: Folder that the mapping's file names start from.
        memory_limit: Of the engine; beyond it data is spilled beside the output.
        threads: Of the engine; all cores by default.
        rows_per_shard: Largest number of rows in a Parquet file.

    Raises:
        UserError: If the mapping, an input file or the output folder is not usable.
    """
    if products is None and not tasks:
        raise UserError("the mapping has neither 'products' nor 'tasks'; nothing to prepare")
    console = Console()
    with new_folder(Path(output)) as made, Stages(console) as stages:
        engine = Engine(made.parent / "scratch", memory_limit, threads)
        try:
            job = _Preparation(Inputs(engine, Path(root)), made, stages, rows_per_shard)
            if products is not None:
                job.add_products(products, tree or TreeOptions())
            for task, options in (tasks or {}).items():
                job.add_task(task, with_products_columns(options, products))
            written = job.finish(DatasetInfo(name, source, licence, ""))
        finally:
            engine.close()
    console.print(Markdown(written))


@dataclass
class _Preparation:
    """A dataset folder in the making."""

    inputs: Inputs
    folder: Path
    stages: Stages
    rows_per_shard: int
    counts: dict[str, int] = field(default_factory=dict)
    tasks: list[str] = field(default_factory=list)
    sections: list[str] = field(default_factory=list)
    products: ir.Table | None = None

    def add_products(self, options: ProductOptions, tree_options: TreeOptions) -> None:
        rows, tree = product_rows(self.inputs, options, tree_options, self.stages)
        tree.to_parquet(self.folder / "hierarchy.parquet")
        self.products = rows
        written = self._write(rows, "products", PRODUCT_SCHEMA)
        self.counts |= {"nodes": tree.num_nodes, "levels": tree.depth}
        with self.stages.stage("Checking products"):
            self.sections.append(self._describe_products(written, tree))

    def add_task(self, name: str, options: TaskOptions) -> None:
        rows, task = task_rows(self.inputs, options, name, self.products, self.stages)
        columns = [column for column in TASK_SCHEMA if column.name in rows.columns]
        written = self._write(rows, f"tasks/{name}", pa.schema(columns))
        write_json(self.folder / "tasks" / name / "task.json", task)
        self.tasks.append(name)
        with self.stages.stage(f"Checking task {name}"):
            self.sections.append(self._describe_task(written, task))

    def finish(self, info: DatasetInfo) -> str:
        """Write ``report.md`` and ``dataset.json``; returns the report."""
        sections = [report.head(info), *self.sections, report.count_section(self.inputs.counts)]
        written = "\n\n".join(sections) + "\n"
        (self.folder / "report.md").write_text(written, encoding="utf-8")
        info = DatasetInfo(
            info.name, info.source, info.licence, fingerprint(self.folder), self.counts, self.tasks
        )
        write_json(self.folder / "dataset.json", info)
        return written

    def _write(self, rows: ir.Table, place: str, schema: pa.Schema) -> ir.Table:
        with self.stages.stage(f"Writing {place}"):
            counts = write_splits(
                self.inputs.engine, rows, self.folder / place, schema, self.rows_per_shard
            )
        prefix = "" if place == "products" else f"{place}/"
        self.counts |= {f"{prefix}{split}": count for split, count in counts.items()}
        return figures.read_splits(self.inputs.engine, self.folder / place)

    def _describe_products(self, rows: ir.Table, tree: Hierarchy) -> str:
        engine = self.inputs.engine
        texts = figures.text_figures(engine, rows, "node_ids")
        return report.product_section(texts, figures.node_figures(engine, rows, tree))

    def _describe_task(self, rows: ir.Table, task: TaskInfo) -> str:
        engine = self.inputs.engine
        texts = figures.text_figures(engine, rows, "label_ids")
        labels = figures.label_figures(engine, rows, len(task.labels))
        return report.task_section(task, texts, labels)
