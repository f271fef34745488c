"""The sections of the report on embeddings."""

import math
from collections.abc import Sequence
from pathlib import Path

from hierarchy_lm.embeddings.probe import MOST_ITERATIONS, STRENGTHS
from hierarchy_lm.reports.embeddings_charts import distance_chart, space_chart
from hierarchy_lm.reports.embeddings_data import NEIGHBOURS, Findings, Sizes
from hierarchy_lm.reports.page import Picture, Section, Table
from hierarchy_lm.reports.texts import MISSING


def sections(all_findings: Sequence[Findings], split: str, sizes: Sizes) -> list[Section]:
    """All sections in their order."""
    return [
        _encoders(all_findings, split),
        _neighbours(all_findings, sizes),
        _distances(all_findings, sizes),
        _probe(all_findings),
        _space(all_findings),
    ]


def _encoders(all_findings: Sequence[Findings], split: str) -> Section:
    rows = [
        [one.name, one.folder.info["source"], one.folder.info["pooling"], _width(one)]
        for one in all_findings
    ]
    info = all_findings[0].folder.info
    name = Path(info["dataset"]).name
    text = (
        f"{all_findings[0].size:,} documents of the split '{split}' of {name}; figures "
        "about neighbours, distances and the picture are of this split. Vectors are compared by "
        "their cosine."
    )
    table = Table("Embeddings", ["name", "encoder", "pooling", "#dimensions"], rows)
    return Section("Encoders", [text], table=table)


def _width(findings: Findings) -> str:
    return str(findings.folder.info["dimensions"])


def _neighbours(all_findings: Sequence[Findings], sizes: Sizes) -> Section:
    text = (
        "Precision@k: the share of a document's k nearest neighbours that have one of its nodes of "
        "the level; chance is what random neighbours would have, and best what is possible where "
        "fewer than ten others share a document's node. The document itself is no "
        "neighbour, and documents whose paths stop above a level are left out of it. The search is "
        f"exact, for at most {sizes.queries:,} documents."
    )
    columns = ["level", "#documents", "#queries", "#chance", f"#best P@{NEIGHBOURS[-1]}"]
    columns += [f"#{one.name}: P@{k}" for one in all_findings for k in NEIGHBOURS]
    rows = []
    for levels in zip(*(one.neighbours for one in all_findings), strict=True):
        first = levels[0]  # the documents are the same
        known = (first.chance, first.best[NEIGHBOURS[-1]])
        numbers = [f"{first.documents:,}", f"{first.queries:,}", *map(share, known)]
        rows.append(
            [
                str(first.level),
                *numbers,
                *(share(one.precision[k]) for one in levels for k in NEIGHBOURS),
            ]
        )
    return Section(
        "Nearest neighbours share the node",
        [text],
        table=Table("Precision among the nearest neighbours, in percent", columns, rows),
    )


def _distances(all_findings: Sequence[Findings], sizes: Sizes) -> Section:
    profiles = [(one.name, one.distances) for one in all_findings if one.distances is not None]
    title = "Distance in the tree, distance in the space"
    if not profiles:
        return Section(title, ["Fewer than two documents have a node."])
    text = (
        f"{sum(profiles[0][1].pairs):,} pairs of documents, drawn at random (seed {sizes.seed}) "
        f"where there are more than {sizes.pairs:,}. Distance in the tree is "
        "the number of edges through the lowest common ancestor, the smallest over the documents' "
        "paths; two departments meet in a virtual root. Distance in the space is 1 minus the "
        "cosine; its mean differs from encoder to encoder, so the picture shows it over the mean "
        "of all pairs."
    )
    notes = [
        f"{name}: Spearman's rank correlation {number(one.spearman)} over all pairs, "
        f"{number(one.spearman_within)} over the {one.pairs_within:,} pairs inside a department."
        for name, one in profiles
    ]
    first = profiles[0][1]
    rows = [
        [str(distance), f"{first.pairs[row]:,}", *(number(one.cosine[row]) for _, one in profiles)]
        for row, distance in enumerate(first.tree)
    ]
    columns = ["tree distance", "#pairs", *(f"#{name}" for name, _ in profiles)]
    picture = Picture("distances.svg", "Distance in the space", distance_chart(profiles))
    table = Table("Mean cosine distance", columns, rows)
    return Section(title, [text], notes, table, pictures=[picture])


def _probe(all_findings: Sequence[Findings]) -> Section:
    title = "Linear probe on the frozen embeddings"
    probes = [one.probe for one in all_findings if one.probe is not None]
    if len(probes) < len(all_findings):
        text = "Needs all three splits; embed with --data.predict_split all."
        return Section(title, [text])
    strengths = ", ".join(f"{value:g}" for value in STRENGTHS)
    text = (
        "Multinomial logistic regression for each level: features standardised by the training "
        "split, mean cross-entropy (a document with several nodes spread evenly over them) plus "
        f"half the L2 penalty times the squared weights; L-BFGS of at most {MOST_ITERATIONS} "
        f"iterations for each penalty of {strengths}, each from the weights before. The penalty "
        "with the best micro F1 on the validation split is tested on the test split. The most "
        "probable node is the prediction; documents whose paths stop above a level are left out of "
        "it. Macro F1 is the mean over the nodes that occur in the test split."
    )
    columns = ["level", "#nodes", "#train", "#test"]
    columns += [f"#{one.name}: {what}" for one in all_findings for what in ("micro", "macro", "L2")]
    rows = []
    for levels in zip(*probes, strict=True):
        first = levels[0]
        scores = [
            cell
            for one in levels
            for cell in (share(one.micro_f1), share(one.macro_f1), f"{one.strength:g}")
        ]
        sizes = [f"{size:,}" for size in (first.nodes, first.train, first.test)]
        rows.append([str(first.level), *sizes, *scores])
    return Section(title, [text], table=Table("F1 on the test split, in percent", columns, rows))


def _space(all_findings: Sequence[Findings]) -> Section:
    names = all_findings[0].folder.hierarchy.names
    roots = names[: all_findings[0].folder.hierarchy.level_sizes[0]]
    pictures = [
        Picture(
            f"space-{place}.svg",
            one.name,
            space_chart(
                one.space.places.numpy(), one.space.departments.numpy(), roots, one.space.shares
            ),
        )
        for place, one in enumerate(all_findings, start=1)
    ]
    text = (
        f"{len(all_findings[0].space.places):,} documents on the first two principal components of "
        "the normalised vectors; a number stands at the median of its department. Two of many "
        "dimensions: what lies together here may lie apart in the others."
    )
    return Section("The space", [text], pictures=pictures)


def share(value: float | None) -> str:
    """A share in percent."""
    return MISSING if value is None else f"{100 * value:.1f}"


def number(value: float) -> str:
    """Three digits of a number."""
    return MISSING if math.isnan(value) else f"{value:#.3g}"
