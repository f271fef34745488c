"""`hlm embedding-report`: what embeddings know of the category tree."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from hierarchy_lm.reports.embeddings_data import Findings, Sizes, examine, open_folders
from hierarchy_lm.reports.embeddings_sections import sections
from hierarchy_lm.reports.files import write_file, write_page


def embedding_report(
    embeddings: list[str],
    names: list[str],
    output: str = "embedding_report",
    split: str = "test",
    queries: int = 10_000,
    pairs: int = 100_000,
    probe_documents: int = 20_000,
    seed: int = 0,
) -> None:
    """Write a page on what embeddings know of the category tree, several encoders side by side.

    Nearest neighbours, distances, a linear probe and a picture (docs/embeddings.md), as report.md,
    report.html, SVG files and CSV tables.

    Args:
        embeddings: Folders of `hlm embed`.
        names: Their names in the report; none for those of the folders.
        output: Folder to write.
        split: Split whose neighbours, distances and picture are shown.
        queries: Most documents whose neighbours are searched.
        pairs: Random pairs whose distances are compared.
        probe_documents: Most documents that the linear probe is trained on.
        seed: Draws the pairs.

    Raises:
        UserError: If a folder is unfinished, or they hold other documents, or nothing can be
            written.
    """
    sizes = Sizes(queries, pairs, probe_documents, seed)
    folders = open_folders(embeddings, names)
    found = [examine(name, folder, split, sizes) for name, folder in folders.items()]
    parts = sections(found, split, sizes)
    title = f"What embeddings know of the tree: {', '.join(folders)}"
    folder = Path(output)
    for picture in (picture for part in parts for picture in part.pictures):
        write_file(folder / picture.file, picture.svg)
    for name, table in _tables(found).items():
        content = BytesIO()
        csv.write_csv(table, content)
        write_file(folder / f"{name}.csv", content.getvalue())
    write_page(folder, title, parts, "null")


def _tables(found: Sequence[Findings]) -> dict[str, pa.Table]:
    rows: dict[str, list[dict[str, Any]]] = {
        "neighbours": [
            {
                "encoder": one.name,
                "level": level.level,
                "k": k,
                "precision": precision,
                "chance": level.chance,
                "best": level.best[k],
                "documents": level.documents,
                "queries": level.queries,
            }
            for one in found
            for level in one.neighbours
            for k, precision in level.precision.items()
        ],
        "distances": [
            {"encoder": one.name, "tree_distance": tree, "pairs": count, "cosine_distance": cosine}
            for one in found
            if one.distances
            for tree, count, cosine in zip(
                one.distances.tree, one.distances.pairs, one.distances.cosine, strict=True
            )
        ],
        "correlations": [
            {
                "encoder": one.name,
                "spearman": one.distances.spearman,
                "spearman_within_departments": one.distances.spearman_within,
                "pairs_within_departments": one.distances.pairs_within,
            }
            for one in found
            if one.distances
        ],
        "probe": [
            {"encoder": one.name, **vars(level)} for one in found for level in one.probe or []
        ],
    }
    return {name: pa.Table.from_pylist(entries) for name, entries in rows.items() if entries}
