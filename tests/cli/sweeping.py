"""What the tests of `hlm sweep` have in common."""

from pathlib import Path

import yaml

from .conftest import EXPERIMENTS

DEPARTMENT = EXPERIMENTS / "department.yaml"
SMALL = [
    *("--model.backbone.name=tiny", "--model.head.hidden=32", "--data.text.max_length=20"),
    *("--data.batch.documents=16", "--test_after_fit=true"),
]


def write_sweep(path: Path, parameters: dict, config: Path | str = DEPARTMENT, **keys) -> Path:
    content = {
        "method": "grid",
        "parameters": parameters,
        "command": ["hlm", "fit", "--config", str(config), "${args}"],
        **keys,
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def sweep_argv(file: Path, output: Path, dataset: Path, *options: str) -> list[str]:
    argv = ["sweep", str(file), f"--output={output}", *options]
    return [*argv, "--", f"--data.dataset={dataset}", *SMALL]
