"""Pre-train with every method on one tree, fine-tune on four real tasks, compare.

python -m benchmarks.sst OUTPUT --weights MINILM --data FOLDER
"""

import argparse
import shutil
import time
from pathlib import Path

from benchmarks.runs import hlm
from benchmarks.sst.grid import HERE, METHODS, TASKS, Method, Plan, Run, slug
from benchmarks.sst.table import NODES, write_results


def main() -> None:
    """Make the runs that are missing, then the tables of all that are there."""
    options = _options()
    plan = Plan(options.seeds, options.variant_seeds, tuple(options.methods), tuple(options.tasks))
    runs = plan.runs()
    for number, run in enumerate(runs, start=1):
        started = time.monotonic()
        finetune(run, options)
        seconds = time.monotonic() - started
        print(f"sst: {number}/{len(runs)} {run.folder} {seconds:.0f} s", flush=True)
        if "VIII" in METHODS[run.method].tables:
            predict_nodes(run.method, options)
    write_results(runs, options.output, options.data)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="MiniLM's folder")
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared datasets")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variant_seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--mlm", nargs="*", default=[], help="further arguments of the MLM stage")
    parser.add_argument("--pretrain", nargs="*", default=[], help="of the pre-training on the tree")
    parser.add_argument("--finetune", nargs="*", default=[], help="of every fine-tuning")
    return parser.parse_args()


def pretrain(name: str, options: argparse.Namespace) -> Path:
    """The exported encoder of a method, trained unless it is there."""
    method = METHODS[name]
    if method.encoder is not None:
        return pretrain(method.encoder, options)
    if method.module is None:
        return _encoder(
            options.output / "mlm",
            *("--config", HERE / "mlm.yaml", *_bracketed(options.mlm)),
            *("--model.backbone.pretrained", options.weights),
            *("--data.dataset", options.data / "hm_flipkart"),
        )
    start = pretrain("MLM-only", options)
    return _encoder(
        options.output / "pretraining" / slug(name),
        *("--config", HERE / "hierarchy.yaml", *_model(method), *_bracketed(options.pretrain)),
        *("--model.backbone.name=minilm", "--model.backbone.pretrained", start),
        *("--data.dataset", options.data / "hm_flipkart"),
    )


def _model(method: Method) -> tuple[str, ...]:
    """All share one rate: what differs is what the encoder learns from."""
    rate = ("--model.optimizer.lr=2e-4", "--model.optimizer.schedule=linear")
    warmup = "--model.optimizer.warmup=0.05"
    return (f"--model={method.module}", *rate, warmup, *method.options)


def _encoder(folder: Path, *arguments: object) -> Path:
    exported = folder / "encoder"
    if not exported.is_dir():
        runs = folder / "runs"
        shutil.rmtree(runs, ignore_errors=True)
        hlm("fit", *arguments, "--trainer.default_root_dir", runs, *_quietly())
        hlm("export", runs / "version_0", exported)
    return exported


def predict_nodes(name: str, options: argparse.Namespace) -> None:
    """Predict the nodes of the test split with what the method was pre-trained with."""
    folder = options.output / "pretraining" / slug(name)
    if (folder / NODES).is_file():
        return
    config = folder / "runs" / "version_0" / "config.yaml"
    hlm("test", "--config", config, "--ckpt_path", "best", *_quietly())
    newest = max(folder.glob("runs/version_*/test.json"), key=lambda file: file.stat().st_mtime)
    shutil.copy(newest, folder / NODES)


def finetune(run: Run, options: argparse.Namespace) -> None:
    """Fine-tune for a fixed number of steps, and predict the test split."""
    folder = options.output / "finetuning" / run.folder
    if (folder / "predictions").is_dir():
        return
    shutil.rmtree(folder, ignore_errors=True)
    task = TASKS[run.task]
    dataset = options.data / task.dataset
    hlm(
        *("fit", "--config", HERE / "finetune.yaml", *_bracketed(options.finetune)),
        *("--model.backbone.pretrained", pretrain(run.method, options)),
        *("--data.dataset", dataset, "--data.task", task.name),
        *("--seed_everything", run.seed),
        *("--model.level_tokens.readout", METHODS[run.method].readout),
        *("--trainer.default_root_dir", folder, *_quietly()),
    )
    first = folder / "version_0"
    hlm("predict", "--config", first / "config.yaml", "--ckpt_path", "best")
    shutil.rmtree(first / "checkpoints")
    shutil.move(folder / "version_1" / "predictions", folder / "predictions")


def _bracketed(arguments: list[str]) -> list[str]:
    """Shell words such as trainer.max_steps=100, without their dashes."""
    return [f"--{argument}" for argument in arguments]


def _quietly() -> tuple[str, ...]:
    return "--trainer.precision=bf16-mixed", "--trainer.enable_progress_bar=false"


if __name__ == "__main__":
    main()
