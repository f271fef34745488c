"""`hlm prepare`: a real catalogue becomes a dataset folder."""

from dataclasses import dataclass, field

import ibis.expr.types as ir
import pyarrow as pa
from rich.console import Console
from rich.markdown import Markdown

from data_modules.manifest import file_record, manifest_fingerprint
from data_modules.prepare import figures, notices, report
from data_modules.prepare.accounts import staying
from data_modules.prepare.engines import Engine, EngineName
from data_modules.prepare.engines.duck import DuckEngine
from data_modules.prepare.inputs import Inputs
from data_modules.prepare.mapping import (
    ProductOptions,
    TaskOptions,
    TreeOptions,
    with_products_columns,
)
from data_modules.prepare.mapping.check import check_mapping
from data_modules.prepare.output import INFO, Output, new_output
from data_modules.prepare.products import product_rows
from data_modules.prepare.progress import Stages
from data_modules.prepare.shards import write_splits
from data_modules.prepare.tasks import check_task_name, task_rows
from hierarchy_lm.dataset import (
    PRODUCT_SCHEMA,
    SPLITS,
    TASK_SCHEMA,
    DatasetInfo,
    FileRecord,
    TaskInfo,
    write_json,
)
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy

MAX_THREADS = 1_024


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
    engine: EngineName = "duckdb",
    memory_limit: str = "2GB",
    threads: int | None = None,
    rows_per_shard: int = 100_000,
) -> None:
    """Turn a catalogue and labelled tasks into a dataset folder (docs/prepare.md).

    The folder appears whole or not at all. Its data-quality report is printed as well.

    Args:
        output: Folder or URL to write to; it must not exist or be empty.
        name: Short name of the data.
        source: Where the data comes from.
        licence: Its licence as the publisher states it.
        products: The products and their category paths.
        tree: The category tree's file, or how paths are shortened.
        tasks: Labelled tasks by name.
        root: Folder or URL that the mapping's file names start from.
        engine: `duckdb` works on this machine, `spark` on a cluster (docs/spark.md).
        memory_limit: Of the engine; beyond it data is spilled beside the output.
        threads: Of the engine; all cores by default.
        rows_per_shard: Number of rows in a Parquet file.

    Raises:
        UserError: If the mapping, an input file or the output folder is not usable.
    """
    if products is None and not tasks:
        raise UserError("the mapping has neither 'products' nor 'tasks'; nothing to prepare")
    for key, part in {"products": products, "tree": tree, "tasks": tasks}.items():
        check_mapping(part, key)
    for task in tasks or {}:
        check_task_name(task)
    if rows_per_shard < 1:
        raise UserError(f"rows_per_shard must be at least 1, got {rows_per_shard}")
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise UserError(f"threads must be from 1 to {MAX_THREADS}, got {threads}")
    console = Console()
    with new_output(output) as made, Stages(console) as stages:
        runs = _engine(engine, made, memory_limit, threads)
        try:
            job = _Preparation(Inputs(runs, root), made, stages, rows_per_shard)
            if products is not None:
                job.add_products(products, tree or TreeOptions())
            for task, options in (tasks or {}).items():
                job.add_task(task, with_products_columns(options, products), options.input is None)
            written = job.finish(DatasetInfo(name, source, licence, ""))
        finally:
            runs.close()
    console.print(Markdown(written))
    for warning in job.inputs.accounts.warnings:
        console.print(f"Warning: {warning}", style="bold yellow", markup=False, highlight=False)


def _engine(name: EngineName, made: Output, memory_limit: str, threads: int | None) -> Engine:
    if name == "spark":
        from data_modules.prepare.engines.spark import SparkEngine  # an extra

        return SparkEngine(made.shared_scratch, memory_limit, threads)
    return DuckEngine(made.scratch, memory_limit, threads)


@dataclass
class _Preparation:
    """A dataset folder in the making."""

    inputs: Inputs
    output: Output
    stages: Stages
    rows_per_shard: int
    counts: dict[str, int] = field(default_factory=dict)
    tasks: list[str] = field(default_factory=list)
    sections: list[str] = field(default_factory=list)
    files: dict[str, FileRecord] = field(default_factory=dict)
    products: ir.Table | None = None
    tree: Hierarchy | None = None

    def add_products(self, options: ProductOptions, tree_options: TreeOptions) -> None:
        rows, tree = product_rows(self.inputs, options, tree_options, self.stages)
        path = self.output.folder / "hierarchy.parquet"
        tree.to_parquet(path)
        self.files[path.name] = file_record(path, None)
        self.products, self.tree = rows, tree
        self._write(staying(rows), "products", PRODUCT_SCHEMA)
        self.counts |= {"nodes": tree.num_nodes, "levels": tree.depth}
        with self.stages.stage("Checking products"):
            self._describe_products(staying(rows), options, tree)

    def add_task(self, name: str, options: TaskOptions, on_products: bool) -> None:
        rows, task = task_rows(self.inputs, options, name, self.products, on_products, self.stages)
        columns = [column for column in TASK_SCHEMA if column.name in rows.columns]
        self._write(staying(rows), f"tasks/{name}", pa.schema(columns))
        folder = self.output.folder / "tasks" / name
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "task.json", task)
        self.tasks.append(name)
        with self.stages.stage(f"Checking task {name}"):
            self._describe_task(staying(rows), task)

    def finish(self, info: DatasetInfo) -> str:
        """Write ``report.md`` and ``dataset.json``; returns the report."""
        accounts = self.inputs.accounts
        sections = [
            report.head(info),
            report.warning_section(accounts.warnings),
            *self.sections,
            report.row_section(accounts, self.inputs.root),
            report.count_section(accounts.lines()),
        ]
        written = "\n\n".join(section for section in sections if section) + "\n"
        (self.output.folder / "report.md").write_text(written, encoding="utf-8")
        info = DatasetInfo(
            info.name,
            info.source,
            info.licence,
            manifest_fingerprint(self.files),
            self.counts,
            self.tasks,
            hierarchy_fingerprint=self.tree.fingerprint if self.tree else None,
            files=self.files,
        )
        write_json(self.output.folder / INFO, info)
        return written

    def _write(self, rows: ir.Table, place: str, schema: pa.Schema) -> None:
        engine = self.inputs.engine
        with self.stages.stage(f"Writing {place}"):
            fingerprint = self.tree.fingerprint if self.tree else None
            files = write_splits(
                engine, rows, self.output.target, place, schema, self.rows_per_shard, fingerprint
            )
        self.files |= files
        counts = {
            split: sum(record.rows for record in files.values() if record.split == split)
            for split in SPLITS
        }
        use = place.replace("tasks/", "tasks.")
        prepared = self.inputs.accounts.prepared(use)
        if sum(counts.values()) != prepared:
            raise UserError(
                f"{use}: {prepared} rows are to be written, but {sum(counts.values())} were; "
                "nothing was prepared. The input is not to blame: report this"
            )
        prefix = "" if place == "products" else f"{place}/"
        self.counts |= {f"{prefix}{split}": count for split, count in counts.items()}

    def _describe_products(self, rows: ir.Table, options: ProductOptions, tree: Hierarchy) -> None:
        engine, accounts = self.inputs.engine, self.inputs.accounts
        texts = figures.text_figures(engine, rows, "node_ids")
        labels = figures.node_figures(engine, rows, tree)
        alike = notices.look_alikes(tree)
        self.sections.append(report.product_section(texts, labels))
        self.sections.append(report.alike_section(alike))
        if options.paths:
            accounts.warnings += notices.empty_splits("products", self.counts, "")
            accounts.warnings += notices.nodes_only_in_test(labels, tree)
            accounts.warnings += notices.lost_labels(accounts, labels)
        accounts.warnings += notices.odd_tree(tree)

    def _describe_task(self, rows: ir.Table, task: TaskInfo) -> None:
        engine, accounts = self.inputs.engine, self.inputs.accounts
        texts = figures.text_figures(engine, rows, "label_ids")
        labels = figures.label_figures(engine, rows, len(task.labels))
        self.sections.append(report.task_section(task, texts, labels))
        self.sections.append(report.alike_section(notices.alike_labels(task)))
        use = f"tasks.{task.name}"
        accounts.warnings += notices.empty_splits(use, self.counts, f"tasks/{task.name}/")
        accounts.warnings += notices.labels_only_in_test(use, labels, task)
