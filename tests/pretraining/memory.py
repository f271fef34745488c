"""What a step makes: its largest tensor, and how much lives at once."""

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

MIB = 2**20


class Watch(TorchDispatchMode):
    """Sees the output of every operation, forward and backward.

    Attributes:
        largest: Elements of the largest tensor that any operation made, and which; views count as
            what they look at.
        largest_int64: The same of int64 alone.
        alive: Bytes of all that was made since the start and still lives; what is only passed in,
            parameters say, was there before.
        peak: The most that it ever was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.largest: tuple[int, str] = (0, "nothing")
        self.largest_int64: tuple[int, str] = (0, "nothing")
        self.alive = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, Tensor):
                self._meet(tensor.untyped_storage(), 0)
        outputs = func(*args, **kwargs)
        for tensor in tree_leaves(outputs):
            if isinstance(tensor, Tensor):
                self._see(tensor, f"{func} {tuple(tensor.shape)}")
        return outputs

    def _see(self, tensor: Tensor, what: str) -> None:
        storage = tensor.untyped_storage()
        self._meet(storage, storage.nbytes())
        # An expanded tensor has more elements than its storage, a slice fewer.
        size = min(tensor.numel(), storage.nbytes() // tensor.element_size())
        self.largest = max(self.largest, (size, what))
        if tensor.dtype == torch.int64:
            self.largest_int64 = max(self.largest_int64, (size, what))

    def _meet(self, storage: torch.UntypedStorage, size: int) -> None:
        key = id(storage)  # one object for all tensors that share the memory
        if key in self._known:
            return
        self._known.add(key)
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.alive -= size
