"""`hlm sample`: the command's options and its summary."""

from pathlib import Path

from rich.console import Console

from data_modules.sample.options import NoisePreset, SampleOptions
from data_modules.sample.writer import write_sample


def sample(
    directory: str,
    items: int = 12_000,
    nodes: int = 400,
    depth: int = 6,
    seed: int = 0,
    task_items: int = 4_000,
    noise: NoisePreset = "L1",
    missing_fields: float = 0.4,
    misleading_text: float = 0.3,
    soft_adversarial: float = 0.2,
    hard_adversarial: float = 0.08,
    wrong_labels: float = 0.12,
    missing_labels: float = 0.1,
) -> None:
    """Generate a realistic two-locale product catalogue with known noise (docs/sample.md).

    The shares of the kinds of noise (DHPC, Section B) are of the noisy products. The three kinds
    of text noise exclude each other, as do the two of label noise.

    Args:
        directory: Dataset folder to write; it must not exist or be empty.
        items: Number of products.
        nodes: Number of nodes of the category tree.
        depth: Number of levels of the category tree.
        seed: Equal seeds and options give equal data.
        task_items: Rows of a downstream task; 0 writes no tasks.
        noise: clean, L1 (half of the products are noisy) or L2 (all are).
        missing_fields: Share that lacks the title, the description or the bullet points.
        misleading_text: Share whose title lacks the keyword while the text dwells on other things.
        soft_adversarial: Share whose text is stuffed with peripheral properties.
        hard_adversarial: Share that is described as a product of another department.
        wrong_labels: Share that is filed under a wrong node.
        missing_labels: Share that lacks a node, stops at its parent or has none.

    Raises:
        UserError: If an option makes no sense or the folder cannot be written.
    """
    options = SampleOptions(
        items=items,
        nodes=nodes,
        depth=depth,
        seed=seed,
        task_items=task_items,
        noise=noise,
        missing_fields=missing_fields,
        misleading_text=misleading_text,
        soft_adversarial=soft_adversarial,
        hard_adversarial=hard_adversarial,
        wrong_labels=wrong_labels,
        missing_labels=missing_labels,
    )
    folder = Path(directory)
    write_sample(folder, options)
    console = Console(highlight=False, soft_wrap=True)
    console.print((folder / "report.md").read_text(encoding="utf-8").strip(), markup=False)
    console.print(f"- Folder: {folder}", markup=False)
