"""Which module may import which (CONTRIBUTING.md, "Imports run one way"), read from the sources."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("hierarchy_lm", "data_modules")
FOLDERS = (*PACKAGES, "benchmarks")

VOCABULARY = {
    "errors",
    "edges",
    "hierarchy",
    "hierarchy_table",
    "batches",
    "dataset",
    "dataset_folder",
    "parquet",
    "text",
    "vocabulary",
    "cascade_folder",
    "run_files",
    "precision",
}
BRICKS = {"backbones", "nn", "losses", "metrics", "calibration"}
COMMAND_LINE = {"cli", "__main__"}
PLAIN = {"", "__version__"}
TRAINING_LIBRARIES = {"lightning", "pytorch_lightning"}
# What one process start costs: `hlm sample`, `prepare` and `check` must not pay for these.
HEAVY = {"torch", "transformers", *TRAINING_LIBRARIES}
LIGHT = ("data_modules.sample", "data_modules.prepare", "data_modules.check")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_name(path): path for package in PACKAGES for path in (ROOT / package).rglob("*.py")
}


def imported_names(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """Absolute dotted names of everything that ``tree`` imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: (1 if is_package else 0) - node.level or None]
            base = ".".join([*package, *filter(None, [node.module])]) if node.level else node.module
            yield from (f"{base}.{alias.name}" for alias in node.names)


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
    """Imports of ``module`` that run against the agreed direction."""
    names = imported_names(ast.parse(source), module, is_package)
    return [f"{module} imports {name}" for name in names if not allowed(module, name)]


def allowed(module: str, imported: str) -> bool:
    package, part = package_and_part(module)
    target_package, target = package_and_part(imported)
    if target_package in TRAINING_LIBRARIES:
        return package == "data_modules" or part not in VOCABULARY | BRICKS - {"backbones"}
    if target_package not in PACKAGES or part in COMMAND_LINE:
        return True
    if package != target_package:
        return package == "data_modules" and target in VOCABULARY | PLAIN
    if part in VOCABULARY:
        return target in VOCABULARY | PLAIN
    if part in BRICKS:
        return target in VOCABULARY | BRICKS | PLAIN
    return target not in COMMAND_LINE


def package_and_part(name: str) -> tuple[str, str]:
    """The first two parts of a dotted name, the second empty where there is none."""
    first, second, *_ = [*name.split("."), ""]
    return first, second


def own_module(name: str) -> str | None:
    """The module of this project that holds the imported ``name``."""
    parts = name.split(".")
    prefixes = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in MODULES), None)


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports_at_start(module: str) -> set[str]:
    """Names imported when ``module`` is, so not those inside functions or for type checkers."""
    body = ast.parse(MODULES[module].read_text(encoding="utf-8")).body
    kept = [
        node
        for node in body
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) and not is_type_checking(node)
    ]
    is_package = MODULES[module].name == "__init__.py"
    return set(imported_names(ast.Module(kept, []), module, is_package))


def libraries_loaded_by(module: str) -> set[str]:
    """Top-level names of everything that ``import module`` loads through this project's files."""
    seen: set[str] = set()
    libraries: set[str] = set()
    waiting = [module]
    while waiting:
        current = waiting.pop()
        if current in seen or current not in MODULES:
            continue
        seen.add(current)
        waiting.extend(filter(None, [current.rpartition(".")[0]]))  # its package runs first
        for name in imports_at_start(current):
            own = own_module(name)
            waiting.extend([own] if own else [])
            libraries.add(name.split(".")[0])
    return libraries


@pytest.mark.parametrize("module", sorted(MODULES))
def test_module_imports_only_what_it_may(module: str) -> None:
    path = MODULES[module]
    found = violations(module, path.read_text(encoding="utf-8"), path.name == "__init__.py")
    assert found == []


@pytest.mark.parametrize(
    "file", sorted(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))
)
def test_no_table_is_read_with_columns_from_folder_names(file: Path) -> None:
    allowed = file == ROOT / "hierarchy_lm" / "parquet.py"
    text = file.read_text(encoding="utf-8")
    assert allowed or not re.search(r"pq\.read_table|pyarrow\.dataset|ParquetDataset", text)


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        module: {own for name in imports_at_start(module) if (own := own_module(name))} - {module}
        for module in MODULES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("module", sorted(m for m in MODULES if m.startswith(LIGHT)))
def test_preparing_data_loads_no_deep_learning_library(module: str) -> None:
    assert libraries_loaded_by(module) & HEAVY == set()


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("data_modules.products", "import hierarchy_lm.pretraining.sst"),
        ("data_modules.products", "from hierarchy_lm import backbones"),
        (
            "data_modules.products",
            "def f():\n    from hierarchy_lm.backbones import create_backbone",
        ),
        ("hierarchy_lm.pretraining.sst", "from data_modules.products import ProductDataModule"),
        ("hierarchy_lm.pretraining.sst", "from hierarchy_lm.cli import main"),
        ("hierarchy_lm.losses.functional", "from lightning import Trainer"),
        ("hierarchy_lm.metrics", "import lightning.pytorch as pl"),
        ("hierarchy_lm.nn.heads", "from ..pretraining import base"),
        (
            "hierarchy_lm.nn.heads",
            "if TYPE_CHECKING:\n    from hierarchy_lm.finetuning import base",
        ),
        ("hierarchy_lm.hierarchy", "from .nn import heads"),
        ("hierarchy_lm.text", "import data_modules"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "data_modules.products",
            "import lightning, torch\nfrom hierarchy_lm.batches import TokenBatch",
        ),
        ("data_modules.products", "from . import tokens\nfrom .tokens import TokenCache"),
        (
            "hierarchy_lm.cli",
            "import data_modules\nfrom hierarchy_lm.pretraining import SSTPretrainer",
        ),
        ("hierarchy_lm.pretraining.sst", "from ..losses.functional import bce\nimport lightning"),
        (
            "hierarchy_lm.losses.functional",
            "import torch\nfrom hierarchy_lm.batches import SparseTargets",
        ),
    ],
)
def test_an_agreed_import_is_let_through(module: str, source: str) -> None:
    assert violations(module, source) == []


def test_relative_imports_count_from_the_right_package() -> None:
    source = ast.parse("from . import b\nfrom .c import d\nfrom ..nn import e")
    inside = {"hierarchy_lm.losses.b", "hierarchy_lm.losses.c.d", "hierarchy_lm.nn.e"}
    assert set(imported_names(source, "hierarchy_lm.losses.a", is_package=False)) == inside
    assert set(imported_names(source, "hierarchy_lm.losses", is_package=True)) == inside


def test_both_packages_were_found() -> None:
    assert {"hierarchy_lm.hierarchy", "hierarchy_lm.errors", "data_modules"} <= set(MODULES)
