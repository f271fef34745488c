"""What an experiment says about its encoder."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BackboneOptions:
    """The text encoder.

    Attributes:
        name: A registered name, a Hugging Face id (owner/name) or the folder of one.
        pretrained: ``hub`` takes the published weights of ``name``, a folder the weights in it,
            ``none`` draws random ones. ``auto`` is ``hub``, but ``none`` for the backbones that are
            there to be trained from scratch (mini, tiny). Weights that cannot be had are an error.
        init_from: Encoder of an earlier stage: a run folder of `hlm fit` (its best, else its last
            checkpoint), one checkpoint of it, or a folder that `hlm export` wrote. Architecture,
            weights and tokenizer all come from there, whatever ``name`` and ``vocab_size`` say.
        num_layers: Keep only the first layers, and drop the weights of the others.
        num_segments: Segment ids the encoder must know; rows it lacks are copies of its last one.
            Encoders without segment embeddings (ModernBERT) ignore it.
        vocab_size: Size of the vocabulary that is trained on the dataset for a backbone that starts
            from random weights and so brings none.
        freeze: Leave the encoder as it is, without dropout; only what stands on top learns, in
            about a third of the time.
        gradient_checkpointing: Compute activations again in the backward pass instead of keeping
            them: less memory, about a third more time.
    """

    name: str = "mini"
    pretrained: str = "auto"
    init_from: str | None = None
    num_layers: int | None = None
    num_segments: int = 2
    vocab_size: int = 16_000
    freeze: bool = False
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.init_from is not None and self.pretrained not in ("auto", "none"):
            raise ValueError(
                "backbone.init_from and backbone.pretrained both name weights; set pretrained to "
                "none"
            )
        if self.num_layers is not None and self.num_layers < 1:
            raise ValueError(f"backbone.num_layers must be at least 1, got {self.num_layers}")
        if self.num_segments < 1:
            raise ValueError(f"backbone.num_segments must be at least 1, got {self.num_segments}")
