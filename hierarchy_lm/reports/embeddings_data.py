"""All figures about one or several encoders' embeddings of the same documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hierarchy_lm.embeddings.distances import DistanceProfile, distance_profile
from hierarchy_lm.embeddings.documents import Documents, EmbeddingFolder, sample
from hierarchy_lm.embeddings.neighbours import LevelPrecision, neighbour_precision
from hierarchy_lm.embeddings.probe import LevelProbe, linear_probe
from hierarchy_lm.embeddings.projection import principal_plane
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy

NEIGHBOURS = (1, 5, 10)
MOST_POINTS = 4000
SAME = ("dataset_fingerprint", "tree_fingerprint")


@dataclass(frozen=True)
class Sizes:
    """How much of the documents is looked at.

    Attributes:
        queries: Documents whose neighbours are searched.
        pairs: Random pairs whose distances are compared.
        probe_documents: Most documents that the probe is trained on.
        seed: Draws the pairs.
    """

    queries: int
    pairs: int
    probe_documents: int
    seed: int

    def __post_init__(self) -> None:
        if min(self.queries, self.pairs, self.probe_documents) < 1:
            raise UserError("queries, pairs and probe_documents must be at least 1")


@dataclass(frozen=True)
class Space:
    """Documents on the plane of the first two principal components.

    Attributes:
        places: ``(n, 2)``, of the documents drawn.
        departments: ``(n,)`` the only root above each one's nodes; -1 for none or several.
        shares: Share of the variance on each axis.
    """

    places: Tensor
    departments: Tensor
    shares: tuple[float, float]


@dataclass(frozen=True)
class Findings:
    """What one encoder's embeddings know of the tree.

    Attributes:
        name: In the report.
        folder: Where they are.
        size: Documents of the split.
        neighbours: Level by level.
        distances: ``None`` without two documents in the tree.
        probe: Level by level; ``None`` if a split is not there.
        space: The picture.
    """

    name: str
    folder: EmbeddingFolder
    size: int
    neighbours: list[LevelPrecision]
    distances: DistanceProfile | None
    probe: list[LevelProbe] | None
    space: Space


def open_folders(embeddings: Sequence[str], names: Sequence[str]) -> dict[str, EmbeddingFolder]:
    """Folders by their names in the report.

    Raises:
        UserError: If names are wanting or alike, or the folders hold other documents.
    """
    names = names or [Path(folder).resolve().name for folder in embeddings]
    if len(names) != len(embeddings) or len(set(names)) != len(names):
        raise UserError(f"names: give {len(embeddings)} different ones with --names, one a folder")
    folders = [EmbeddingFolder(Path(folder)) for folder in embeddings]
    for folder in folders[1:]:
        for what in SAME:
            if folder.info[what] != folders[0].info[what]:
                raise UserError(
                    f"{folder.folder}: another {what.removesuffix('_fingerprint')} than "
                    f"{folders[0].folder}; embed the same dataset with both encoders"
                )
    return dict(zip(names, folders, strict=True))


def examine(name: str, folder: EmbeddingFolder, split: str, sizes: Sizes) -> Findings:
    """Compute everything about one folder."""
    documents, tree = folder.read(split), folder.hierarchy
    return Findings(
        name=name,
        folder=folder,
        size=len(documents),
        neighbours=neighbour_precision(documents, tree, NEIGHBOURS, sizes.queries),
        distances=distance_profile(documents, tree, sizes.pairs, sizes.seed),
        probe=_probe(folder, sizes),
        space=_space(documents, tree),
    )


def _probe(folder: EmbeddingFolder, sizes: Sizes) -> list[LevelProbe] | None:
    if not {"train", "validation", "test"} <= set(folder.splits()):
        return None
    train = folder.read("train", sizes.probe_documents)
    return linear_probe(train, folder.read("validation"), folder.read("test"), folder.hierarchy)


def _space(documents: Documents, tree: Hierarchy) -> Space:
    places, shares = principal_plane(documents.vectors)
    drawn = torch.from_numpy(sample(documents.item_ids, MOST_POINTS))
    return Space(places[drawn], _departments(documents, tree)[drawn], shares)


def _departments(documents: Documents, tree: Hierarchy) -> Tensor:
    """``(N,)`` the root of each document, -1 where there is none or several."""
    is_root = documents.nodes < tree.level_sizes[0]
    rows, roots = (torch.from_numpy(part[is_root]) for part in (documents.rows, documents.nodes))
    found = torch.full((len(documents),), -1)
    found[rows] = roots
    found[torch.bincount(rows, minlength=len(documents)) > 1] = -1
    return found
