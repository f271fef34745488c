"""Leaf classifiers of a cascade, loaded when they are first asked and within a memory bound."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hierarchy_lm.cascade_folder import CascadeInfo, DepartmentEntry
from hierarchy_lm.classification.network import ClassifierNetwork, load_network
from hierarchy_lm.hierarchy import Hierarchy


class LeafModels:
    """What answers for each department.

    Args:
        folder: The cascade folder.
        info: Its ``cascade.json``.
        hierarchy: Its tree.
        memory: Bytes of weights that may be resident. The least recently used models are dropped
            first; one model is always kept, whatever its size.
    """

    def __init__(self, folder: Path, info: CascadeInfo, hierarchy: Hierarchy, memory: int) -> None:
        self.folder = folder
        self.info = info
        self.memory = memory
        self.loads = 0
        self._entries: Mapping[int, DepartmentEntry] = {e.node: e for e in info.departments}
        self._leaves = {node: torch.from_numpy(hierarchy.leaves_of(node)) for node in self._entries}
        self._resident: OrderedDict[int, ClassifierNetwork] = OrderedDict()

    def leaves(self, department: int) -> Tensor:
        """Node ids of a department's leaves, in the order of its model's logits."""
        return self._leaves[department]

    def prior(self, department: int) -> Tensor | None:
        """Probability of each leaf that answers in place of a model; None if there is none."""
        shares = self._entries[department].prior
        if not shares:
            return None
        known = [shares.get(str(int(leaf)), 0.0) for leaf in self.leaves(department)]
        return torch.tensor(known, dtype=torch.float32)

    def resident_first(self, departments: Sequence[int]) -> list[int]:
        """The departments in the order that drops no model which is still to be asked.

        In a fixed order, room for all models but one would load every model in every window.
        """
        return sorted(departments, key=lambda node: node not in self._resident)

    def model(self, department: int, device: torch.device) -> ClassifierNetwork | None:
        """The department's classifier on the device; None if it has none.

        Raises:
            UserError: If its file is missing or belongs to another tree.
        """
        entry = self._entries[department]
        if entry.status != "model" or entry.checkpoint is None:
            return None
        if department in self._resident:
            self._resident.move_to_end(department)
            return self._resident[department]
        file = self.folder / entry.checkpoint
        # Its size is that of the weights and a little more.
        self._make_room(file.stat().st_size if file.is_file() else 0)
        network = load_network(file, self.info.tree, self.info.tokenizer, entry.path)
        self._resident[department] = network.to(device)
        self.loads += 1
        return network

    def _make_room(self, needed: int) -> None:
        while self._resident and self.resident_bytes + needed > self.memory:
            self._resident.popitem(last=False)

    @property
    def resident_bytes(self) -> int:
        """Memory of the models that are loaded now."""
        return sum(network.num_bytes for network in self._resident.values())
