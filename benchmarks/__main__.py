"""``python -m benchmarks [NAME ...]``: run benchmarks, print their tables and keep them."""

import argparse
import importlib
import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = {
    "data_path": "rows/s from Parquet shards to padded batches, against Hugging Face datasets",
    "nodes_30k": "loss, metric and memory at 30,000 nodes, against dense targets",
    "prepare": "hlm prepare on CSV, against the same steps in DuckDB's SQL, and polars",
    "scale": "peak memory of hlm sample, hlm prepare and the token cache on 1,000,000 items",
    "node_reduction": "SST at 30,000 nodes with each reduction of the loss over nodes",
    "sst_step": "a step of SST against the plain encoder's, by depth and text length",
    "baseline_step": "a step of every hierarchy pre-training against the plain encoder's",
    "optimizer_step": "fused AdamW against the default",
    "cascade": "items/s through a cascade, windows against routing in each batch",
    "negative_sampling": "DHPC's loss with sampled negatives against the dense loss",
}
RESULTS = Path(__file__).parent / "results"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


def main() -> None:
    options = _parse()
    names = options.names or list(BENCHMARKS)
    if len(names) == 1:
        _run(names[0], options.quick, options.output)
        return
    flags = ["--output", str(options.output), *(["--quick"] if options.quick else [])]
    for name in names:
        # A process each: what one leaves in the memory allocator changes the next one's times.
        subprocess.run([sys.executable, "-m", "benchmarks", name, *flags], check=True)


def _run(name: str, quick: bool, output: Path) -> None:
    os.environ.update(ENVIRONMENT)  # read when torch, tokenizers and datasets are imported
    from benchmarks.report import write_report

    output.mkdir(parents=True, exist_ok=True)
    report = importlib.import_module(f"benchmarks.{name}").run(quick=quick)
    command = f"python -m benchmarks {name}" + (" --quick" if quick else "")
    print(write_report(report, output / f"{name}.md", command), flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Benchmarks (all of them by default):\n"
        + "\n".join(f"  {name:<18}{text}" for name, text in BENCHMARKS.items()),
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones to run")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: seconds, no real figures")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="folder of the results (benchmarks/results)"
    )
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"unknown benchmark '{unknown[0]}'; use one of {', '.join(BENCHMARKS)}")
    return options


if __name__ == "__main__":
    main()
