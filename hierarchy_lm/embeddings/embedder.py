"""A finished text encoder that is only read."""

from typing import Any, Literal

import numpy as np
import pyarrow as pa
from lightning.pytorch import Callback, LightningModule
from torch import Tensor

from hierarchy_lm.backbones import BackboneOptions, create_backbone
from hierarchy_lm.batches import ProductBatch, TokenBatch
from hierarchy_lm.embeddings.writer import EmbeddingWriter
from hierarchy_lm.parts import list_column
from hierarchy_lm.training import check_texts
from hierarchy_lm.vocabulary import load_vocabulary

Pooling = Literal["cls", "mean"]
SPLIT = pa.dictionary(pa.int8(), pa.string())


class Embedder(LightningModule):
    """Embeds products with a frozen ``backbone``; `hlm embed` runs it.

    Args:
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        backbone: The encoder.
        pooling: ``cls`` is the last hidden state of [CLS], what SST trains. ``mean`` is the mean
            over a text's tokens, what MiniLM as published was trained with.
        dtype: Type of the stored numbers; ``float16`` halves the files.
    """

    def __init__(
        self,
        tokenizer: str,
        backbone: BackboneOptions = BackboneOptions(),
        pooling: Pooling = "cls",
        dtype: Literal["float32", "float16"] = "float32",
    ) -> None:
        super().__init__()
        vocabulary = load_vocabulary(tokenizer)
        self.fingerprint = vocabulary.fingerprint
        self.options = backbone
        self.pooling = pooling
        self.dtype_name = dtype
        self.backbone = create_backbone(backbone, vocabulary.size, vocabulary.special.pad)

    def setup(self, stage: str) -> None:
        """Check that the encoder can read the data's texts.

        Raises:
            UserError: If the texts are too long or have too many segments.
        """
        check_texts(self.backbone, self.trainer.datamodule)  # type: ignore[attr-defined]

    def configure_callbacks(self) -> list[Callback]:
        """The writer, in the place of the one for predictions."""
        return [EmbeddingWriter()]

    def forward(self, tokens: TokenBatch) -> Tensor:
        """Embeddings ``(B, k)``, not normalised."""
        if self.pooling == "cls":
            embeddings: Tensor = self.backbone(tokens)
            return embeddings
        states = self.backbone.hidden_states(tokens)
        mask = tokens.attention_mask.unsqueeze(-1).to(states.dtype)
        return (states * mask).sum(dim=1) / mask.sum(dim=1)

    def predict_step(self, batch: ProductBatch, batch_idx: int) -> Tensor:
        """Embed a batch."""
        embeddings: Tensor = self(batch.tokens)
        return embeddings

    @property
    def prediction_schema(self) -> pa.Schema:
        """Split, all nodes on the product's paths, embedding."""
        number = pa.from_numpy_dtype(np.dtype(self.dtype_name))
        return pa.schema(
            [
                ("split", SPLIT),
                ("node_ids", pa.list_(pa.int32())),
                ("embedding", pa.list_(number, self.backbone.hidden_size)),
            ]
        )

    def prediction_columns(self, prediction: Tensor, batch: ProductBatch) -> list[pa.Array]:
        """A batch as columns."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        documents, nodes = (part.cpu().numpy() for part in batch.targets)
        numbers = prediction.float().cpu().numpy().astype(self.dtype_name).ravel()
        return [
            data.splits(batch.rows.cpu().numpy()),
            list_column(documents, nodes, len(batch.rows)),
            pa.FixedSizeListArray.from_arrays(pa.array(numbers), prediction.shape[1]),
        ]
