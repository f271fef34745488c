"""A run's encoder as an ordinary Hugging Face folder."""

import json
import shutil
from pathlib import Path
from typing import Any

from hierarchy_lm import __version__
from hierarchy_lm.backbones import Backbone, encoder_from_checkpoint, head_of_checkpoint
from hierarchy_lm.backbones.dnn import DNNConfig
from hierarchy_lm.backbones.level_tokens import level_tokens_of, save_level_tokens
from hierarchy_lm.backbones.mlm_heads import masked_lm, save_head_beside
from hierarchy_lm.errors import UserError
from hierarchy_lm.run_files import checkpoint_of_run, load_checkpoint, tokenizer_of_checkpoint

CARD = """---
library_name: transformers
tags: [hierarchy-lm, product-classification]
---

# {name}

The text encoder of a `hierarchy-lm` {version} run ({model}). {output}:

```python
{imports}from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}")
encoder = AutoModel.from_pretrained("{name}").eval()
h_cls = encoder(**tokenizer("a text", return_tensors="pt")).last_hidden_state[:, 0]
```

{note}

| | |
|---|---|
| training steps | {steps} |
| longest text in training | {max_length} tokens |
"""

TRANSFORMER = {
    "output": "The embedding of a text is the last\nhidden state of its first token, `[CLS]`, "
    "without a pooler",
    "imports": "",
    "note": '`SentenceTransformer("{name}")` gives the same vectors.',
}
DNN = {
    "output": "It is the DNN baseline of DHPC,\nwhich only that package can load",
    "imports": "import hierarchy_lm.backbones  # teaches transformers this architecture\n",
    "note": "Its views are the segment ids (`token_type_ids`) that it was trained with; without "
    "them all\nwords are of the first view.",
}


def export(run: str, output: str) -> None:
    """Write the encoder of a run, a checkpoint or its folder as a Hugging Face folder.

    The folder holds the weights (safetensors), the tokenizer, a model card and the two small files
    by which sentence-transformers reads out [CLS]. An MLM run's weights hold its head too, which
    only models for masked words read; what HPT and HBGL put behind a text lies in a file of its
    own, for fine-tuning with it. The DNN has no such files: its folder is for
    ``backbone.pretrained`` and for programs that import this package, as its card says.

    Args:
        run: Run folder (its best, else its last checkpoint) or checkpoint file inside one.
        output: Folder to write; must not exist or be empty.

    Raises:
        UserError: If there is no such checkpoint or the folder cannot be written.
    """
    checkpoint_path = checkpoint_of_run(Path(run)) if Path(run).is_dir() else Path(run)
    checkpoint = load_checkpoint(checkpoint_path)
    encoder = encoder_of(checkpoint, checkpoint_path)
    tokenizer = tokenizer_of_checkpoint(checkpoint_path)
    folder = _new_folder(Path(output))
    _save_weights(encoder, checkpoint, folder)
    level_tokens = level_tokens_of(checkpoint)
    if level_tokens is not None:
        save_level_tokens(level_tokens, folder)
    for file in tokenizer.iterdir():
        shutil.copy(file, folder / file.name)
    if not _is_dnn(checkpoint):
        _write_sentence_transformers(folder, encoder.hidden_size)
    (folder / "README.md").write_text(_card(folder, checkpoint), encoding="utf-8")


def encoder_of(checkpoint: dict[str, Any], path: Path = Path("checkpoint")) -> Backbone:
    """The backbone inside a checkpoint, with its weights."""
    return Backbone(encoder_from_checkpoint(checkpoint, path)).eval()


def _save_weights(encoder: Backbone, checkpoint: dict[str, Any], folder: Path) -> None:
    """Config and weights; an MLM stage's as the library's model for masked words, if it has one."""
    is_mlm = checkpoint["model_class"] == "MLMPretrainer"
    head = head_of_checkpoint(checkpoint) if is_mlm else {}
    model = masked_lm(encoder.encoder, head) if head else None
    if model is not None:
        model.save_pretrained(folder)
        return
    encoder.save_pretrained(folder)
    if head:
        save_head_beside(head, folder)


def _new_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: cannot write there ({error.strerror})") from error
    if occupied:
        raise UserError(f"{folder}: not empty; give a new folder")
    return folder


def _write_sentence_transformers(folder: Path, width: int) -> None:
    pooling = folder / "1_Pooling"
    pooling.mkdir()
    _dump(
        pooling / "config.json", {"word_embedding_dimension": width, "pooling_mode_cls_token": True}
    )
    _dump(
        folder / "modules.json",
        [
            {
                "idx": index,
                "name": str(index),
                "path": path,
                "type": f"sentence_transformers.models.{kind}",
            }
            for index, (path, kind) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling")])
        ],
    )


def _card(folder: Path, checkpoint: dict[str, Any]) -> str:
    kind = DNN if _is_dnn(checkpoint) else TRANSFORMER
    return CARD.format(
        name=folder.name,
        version=__version__,
        model=checkpoint["model_class"],
        output=kind["output"],
        imports=kind["imports"],
        note=kind["note"].format(name=folder.name),
        steps=checkpoint["global_step"],
        max_length=checkpoint["max_length"],
    )


def _is_dnn(checkpoint: dict[str, Any]) -> bool:
    return bool(checkpoint["encoder_config"]["model_type"] == DNNConfig.model_type)


def _dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
