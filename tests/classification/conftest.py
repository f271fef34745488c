"""Windows of the small catalogue, and the answers of a cascade to them."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from data_modules.cascade import CascadeDataModule
from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.classification import Cascade
from hierarchy_lm.classification.cascade import Answers
from hierarchy_lm.classification.network import load_network
from hierarchy_lm.hierarchy import Hierarchy

from .classifiers import make_classifier, make_data_module


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_model(shop: Path):
    return partial(make_classifier, shop)


@pytest.fixture
def make_data(shop: Path):
    return partial(make_data_module, shop)


def windows(shop: Path, folder: Path, window: int = 8192) -> list[ProductBatch]:
    """All items of the test split, with and without labels."""
    data = CascadeDataModule(str(shop), str(folder), window=window)
    data.setup("predict")
    return list(data.predict_dataloader())


def answer(folder: Path, batches: list[ProductBatch], **options: Any) -> dict[int, dict[str, Any]]:
    """What the cascade says of each row."""
    return answers_of(Cascade(str(folder), **options).eval(), batches)


def answers_of(module: Cascade, batches: list[ProductBatch]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    with torch.inference_mode():
        for batch in batches:
            answers: Answers = module(batch)
            for n, row in enumerate(batch.rows.tolist()):
                assert row not in found
                found[row] = {
                    "best": [part[n].item() for part in answers.best],
                    "alternatives": [
                        tuple(part[n, place].item() for part in answers.candidates)
                        for place in range(answers.candidates.leaf.shape[1])
                        if answers.candidates.leaf[n, place] >= 0
                    ],
                    "decision": [part[n].item() for part in answers.decisions],
                }
    return found


def read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def edit_entry(folder: Path, path: str, **changes: Any) -> None:
    """Change a department's entry in ``cascade.json``."""
    content = read_json(folder / "cascade.json")
    entry = next(entry for entry in content["departments"] if entry["path"] == path)
    entry.update(changes)
    (folder / "cascade.json").write_text(json.dumps(content), encoding="utf-8")


def prefer(folder: Path, department: int, by: float = 50.0) -> None:
    """Let the department classifier choose one department for every item."""
    file = folder / "department" / "classifier.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    checkpoint["state_dict"]["head.output.bias"][department] += by
    torch.save(checkpoint, file)


class Oracle:
    """The cascade done the slow way: one document, one model, one leaf at a time."""

    def __init__(self, folder: Path) -> None:
        self.info = read_json(folder / "cascade.json")
        self.tree = Hierarchy.from_parquet(folder / "hierarchy.parquet")
        self.departments = self._network(folder, self.info["checkpoint"], None)
        self.leaves = {
            entry["node"]: self._network(folder, entry["checkpoint"], entry["path"])
            for entry in self.info["departments"]
            if entry["status"] == "model"
        }

    def _network(self, folder: Path, name: str, department: str | None) -> Callable[..., Any]:
        return load_network(folder / name, self.info["tree"], self.info["tokenizer"], department)

    def candidates(
        self, batch: ProductBatch, n: int, beam: int = 1, temperatures: tuple[float, float] = (1, 1)
    ) -> tuple[list[tuple[float, int, int, float, float]], int, bool]:
        """(score, department, leaf, p_department, p_leaf) of all leaves of the ``beam`` best
        departments: the answer, then the others, best first. Then the best department, and whether
        it can answer. The answer is none of a department behind one that cannot answer."""
        length = int(batch.tokens.attention_mask[n].sum())
        document = type(batch.tokens)(*(part[n : n + 1, :length] for part in batch.tokens))
        with torch.inference_mode():
            logits = self.departments(document)[0].double() / temperatures[0]
        p_departments = {node: float(p) for node, p in enumerate(torch.sigmoid(logits))}
        asked = sorted(p_departments, key=lambda node: -p_departments[node])[:beam]
        found, competing = [], []
        for place, node in enumerate(asked):
            p = p_departments[node]
            scores = self._leaf_scores(node, document, temperatures[1])
            own = [(p * p_leaf, node, leaf, p, p_leaf) for leaf, p_leaf in scores.items()]
            if own and len({one[1] for one in competing}) == place:
                competing += own
            found += own
        best = [max(competing)] if competing else []
        others = sorted((one for one in found if one not in best), reverse=True)
        return best + others, asked[0], bool(competing)

    def _leaf_scores(self, node: int, document: Any, temperature: float) -> dict[int, float]:
        entry = next(entry for entry in self.info["departments"] if entry["node"] == node)
        if entry["status"] in ("prior", "single_leaf"):
            return {int(leaf): share for leaf, share in entry["prior"].items()}
        if node not in self.leaves:
            return {}
        below = [
            leaf
            for leaf in range(self.tree.num_nodes)
            if self.tree.is_leaf[leaf] and [*self.tree.ancestors(leaf), leaf][0] == node
        ]
        with torch.inference_mode():
            logits = self.leaves[node](document)[0].double() / temperature
        assert len(logits) == len(below)
        return dict(zip(below, torch.sigmoid(logits).tolist(), strict=True))
