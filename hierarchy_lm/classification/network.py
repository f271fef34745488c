"""A trained department or leaf classifier, ready to answer."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hierarchy_lm.backbones import Backbone, backbone_from_config
from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.errors import UserError
from hierarchy_lm.nn import ClassifierHead, HeadOptions, KnowledgeSkip, SkipOptions
from hierarchy_lm.run_files import load_checkpoint


class ClassifierNetwork(nn.Module):
    """Encoder, knowledge skip and head, in eval mode.

    Args:
        backbone: The encoder.
        skip: Pooling of its layers.
        head: The two-layer head.
        temperature: Divides the logits.
    """

    def __init__(
        self, backbone: Backbone, skip: KnowledgeSkip, head: ClassifierHead, temperature: float
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.skip = skip
        self.head = head
        self.temperature = temperature

    @property
    def num_bytes(self) -> int:
        """Memory of the weights."""
        return sum(value.numel() * value.element_size() for value in self.state_dict().values())

    def forward(self, tokens: TokenBatch) -> Tensor:
        """Float32 logits ``(B, N)``."""
        logits: Tensor = self.head(self.skip(self.backbone.all_layer_cls(tokens)))
        return logits.float() / self.temperature


def load_network(
    path: Path, tree: str, tokenizer: str, department: str | None = None
) -> ClassifierNetwork:
    """Load a classifier of `hlm fit` and check that it belongs to the cascade.

    Args:
        path: Its checkpoint.
        tree: Fingerprint of the cascade's tree.
        tokenizer: Fingerprint of its tokenizer.
        department: Whose leaves it tells apart; None if it tells departments apart.

    Raises:
        UserError: If the file is missing, no such classifier, or of another tree or tokenizer.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such classifier; train it again with `hlm fit-cascade`")
    checkpoint = load_checkpoint(path)
    model_class = "DepartmentClassifier" if department is None else "LeafClassifier"
    if checkpoint.get("model_class") != model_class:
        raise UserError(f"{path}: holds no {model_class}")
    for what, expected in {"tree": tree, "tokenizer": tokenizer}.items():
        found = str(checkpoint["fingerprints"].get(what))
        if found != expected:
            raise UserError(
                f"{path}: trained with another {what} ({found[:12]}) than the cascade "
                f"({expected[:12]}); train it again with `hlm fit-cascade`"
            )
    of = checkpoint["hyper_parameters"].get("department")
    if of != department:  # its labels would be taken for other leaves
        raise UserError(f"{path}: tells the leaves of '{of}' apart, not those of '{department}'")
    return _build(checkpoint)


def _build(checkpoint: dict[str, Any]) -> ClassifierNetwork:
    options, weights = checkpoint["hyper_parameters"], checkpoint["state_dict"]
    backbone = backbone_from_config(checkpoint["encoder_config"])
    skip = KnowledgeSkip(SkipOptions(**options["skip"]), backbone.num_layers, backbone.hidden_size)
    num_labels = len(weights["head.output.bias"])
    head = ClassifierHead(skip.output_size, num_labels, HeadOptions(**options["head"]))
    network = ClassifierNetwork(backbone, skip, head, options["inference_temperature"])
    own = {name: value for name, value in weights.items() if name in network.state_dict()}
    network.load_state_dict(own)
    return network.eval().requires_grad_(False)
