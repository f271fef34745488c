"""A whole step of every hierarchy pre-training against that of the plain encoder, at full scale."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from benchmarks.corpus import wide_tree
from benchmarks.nodes_batch import DEPTH, WideBatch, wide_batch
from benchmarks.report import Report, Table
from benchmarks.steps import (
    HEAD,
    PLAIN,
    PLAIN_NOTE,
    Make,
    Step,
    Texts,
    encoder_options,
    peak_of_step,
    plain_step,
    row,
    step_of,
    time_steps,
)
from benchmarks.timing import INTERLEAVED
from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.pretraining import (
    ConditionalPretrainer,
    HBGLPretrainer,
    HGCLRPretrainer,
    HiAGMPretrainer,
    HiMatchPretrainer,
    HPTPretrainer,
    MultiLabelPretrainer,
    MultiTaskPretrainer,
    NodeOnlyPretrainer,
    SSTPretrainer,
)
from hierarchy_lm.pretraining.base import HierarchyPretrainer

TEXTS = (Texts(64, 32, 64, 64), Texts(32, 128, 32, 32))
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

# Of the files of the tree and the tokenizer, and the encoder's options.
MakeMethod = Callable[[str, str, BackboneOptions], HierarchyPretrainer]
METHODS: dict[str, MakeMethod] = {
    "SST": SSTPretrainer,
    "multi-task": MultiTaskPretrainer,
    "multi-label": MultiLabelPretrainer,
    "node-only": NodeOnlyPretrainer,
    "HPT": HPTPretrainer,
    "HBGL": HBGLPretrainer,
    "HiMatch": HiMatchPretrainer,
    "HiMatch with BCE": partial(HiMatchPretrainer, cls_weight=1.0),
    "HGCLR": HGCLRPretrainer,
    "HiAGM": HiAGMPretrainer,
    "conditional softmax": ConditionalPretrainer,
    "conditional sigmoid": partial(ConditionalPretrainer, activation="sigmoid"),
}


def run(quick: bool) -> Report:
    """Measure two batches, or a tiny batch, tree and encoder."""
    rounds = 1 if quick else 4
    with TemporaryDirectory() as folder:
        _write_files(Path(folder), quick)
        tables = [_table(texts, folder, rounds, quick) for texts in TEXTS]
    notes = [
        "A step is forward, backward, and fused AdamW; float32, train mode; every method as it is "
        f"by default. {PLAIN_NOTE}",
        f"The tree has 30,000 nodes on {DEPTH} levels, documents have 1 to 3 paths; "
        f"{'tiny' if quick else 'MiniLM'} encoder of random weights.",
        "Forward and backward are timed apart from the optimiser, and added. A method is timed in "
        "turn with the plain step alone, and is gone before the next one. Memory: peak of a fresh "
        "process that makes one step, interpreter and libraries included.",
        INTERLEAVED.format(rounds=rounds),
    ]
    return Report("A step of every baseline", notes, tables)


def _table(texts: Texts, folder: str, rounds: int, quick: bool) -> Table:
    makes: dict[str, Make] = {name: partial(_method_step, name, folder) for name in METHODS}
    # Before this process itself is large.
    plain_peak = peak_of_step(plain_step, texts, quick)
    peaks = {name: peak_of_step(make, texts, quick) for name, make in makes.items()}
    batch = wide_batch(quick, texts.part, texts.tokens)
    rows: list[list[str]] = []
    for name, make in makes.items():
        steps = {PLAIN: plain_step(batch, quick), name: make(batch, quick)}
        times = time_steps(steps, texts, rounds)
        rows = rows or [row(PLAIN, times, plain_peak)]
        rows.append(row(name, times, peaks[name]))
    title = f"{texts.batch} documents of {texts.tokens} tokens"
    return Table(title, [*HEAD, "peak memory, GiB"], rows)


def _method_step(name: str, folder: str, batch: WideBatch, quick: bool) -> Step:
    tree, tokenizer = str(Path(folder) / "hierarchy.parquet"), str(Path(folder) / "tokenizer")
    model = METHODS[name](tree, tokenizer, encoder_options(quick)).train()
    products = batch.product_batch()
    products.tokens.input_ids[:, 0] = SPECIAL.index("[CLS]")
    products.tokens.input_ids[:, -1] = SPECIAL.index("[SEP]")

    def loss() -> Tensor:
        with warnings.catch_warnings(action="ignore"):  # there is no trainer to log to
            return model.training_step(products, 0)

    return step_of(model.backbone, model, loss)


def _write_files(folder: Path, quick: bool) -> None:
    """The tree of ``wide_batch``, and a tokenizer that makes a few pieces of each node's name."""
    batch = wide_batch(quick)
    wide_tree(batch.num_nodes, DEPTH).to_parquet(folder / "hierarchy.parquet")
    tokens = [*SPECIAL, "n", *(f"##{digits}" for digits in range(100))]
    tokens += [f"t{number}" for number in range(batch.vocab_size - len(tokens))]
    places = {token: place for place, token in enumerate(tokens)}
    model = models.WordPiece(places, unk_token="[UNK]")
    roles = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(model), **dict(zip(roles, SPECIAL, strict=True))
    ).save_pretrained(folder / "tokenizer")
