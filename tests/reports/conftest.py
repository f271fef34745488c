"""Cascade folders as `hlm test` leaves them, and a browser to look at a page."""

import base64
import json
import os
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hierarchy_lm.cascade_folder import CascadeInfo, DepartmentEntry, calibration_fingerprint
from hierarchy_lm.cascade_folder import write_cascade as write_cascade_info
from hierarchy_lm.cli import main
from hierarchy_lm.dataset import DatasetInfo, write_json
from hierarchy_lm.hierarchy import Hierarchy

from ..conftest import seal

ROWS = pa.schema(
    [
        ("item_id", pa.string()),
        ("weight", pa.float32()),
        ("gold", pa.list_(pa.int32())),
        ("department", pa.int32()),
        ("leaf", pa.int32()),
        ("p_department", pa.float32()),
        ("p_leaf", pa.float32()),
        ("confidence", pa.float32()),
        ("decision", pa.string()),
    ]
)

NAMES = ["Garden", "Toys", "Pets", "Vouchers"]
TREE = Hierarchy.from_paths(
    [(name, f"Group {group}", f"Leaf {group}.{leaf}") for name in NAMES[:3] for group in "ab"
     for leaf in (1, 2, 3)] + [("Vouchers",)]
)  # fmt: skip
LEAVES = np.flatnonzero(TREE.is_leaf & (TREE.levels == 3))
ROOT = np.array([TREE.ancestors(int(leaf))[0] for leaf in LEAVES])
CALIBRATION = {
    "target_accuracy": 0.85,
    "error_probability": 0.05,
    "leaf_threshold": 0.62,
    "department_threshold": 0.5,
    "departments": {"0": {"leaf": 0.7, "department": 0.41}},
}
DEPARTMENTS = [
    DepartmentEntry(0, "Garden", "failed", items=9, leaves=6),
    DepartmentEntry(1, "Pets", "model", items=9, leaves=6),
]


def rows(n, seed, skill):
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, len(LEAVES), n)
    confidence = rng.random(n)
    right = rng.random(n) < confidence**skill
    leaf = np.where(right, gold, (gold + 1) % len(LEAVES))
    return {
        "item_id": [f"item<{number}>" for number in range(n)],
        "weight": rng.gamma(1.0, 1.0, n).astype(np.float32),
        "gold": [[int(LEAVES[index])] for index in gold],
        "department": ROOT[leaf].astype(np.int32),
        "leaf": LEAVES[leaf].astype(np.int32),
        "p_department": np.ones(n, dtype=np.float32),
        "p_leaf": confidence.astype(np.float32),
        "confidence": confidence.astype(np.float32),
        "decision": np.where(confidence > 0.6, "leaf", "abstain").tolist(),
    }


@pytest.fixture
def shop():
    """A tree of three departments with six leaves each, and one that is a leaf itself."""
    return SimpleNamespace(tree=TREE, leaves=LEAVES, calibration=CALIBRATION, rows=rows)


@pytest.fixture
def read_rows():
    """Columns of an evaluation; ``gold`` is each item's first label."""

    def read(folder):
        table = pa.concat_tables(map(pq.read_table, sorted(folder.glob("part-*"))))
        columns = {name: np.array(table[name].to_pylist()) for name in ROWS.names if name != "gold"}
        return {**columns, "gold": np.array([nodes[0] for nodes in table["gold"].to_pylist()])}

    return read


@pytest.fixture
def write_cascade():
    """Write a cascade folder with one evaluation; rows in two parts."""

    def write(
        folder,
        tree,
        columns,
        *,
        calibration=None,
        departments=(),
        split="test",
        dataset="nowhere",
        label_column="node_ids",
    ):
        place = folder / "evaluation" / split
        place.mkdir(parents=True, exist_ok=True)
        tree.to_parquet(folder / "hierarchy.parquet")
        write_cascade_info(
            folder, CascadeInfo(tree.fingerprint, "words", {}, "department.ckpt", list(departments))
        )
        if calibration is not None:
            (folder / "calibration.json").write_text(json.dumps(calibration))
        info = {
            "dataset": str(dataset),
            "split": split,
            "label_column": label_column,
            "calibration": calibration_fingerprint(folder),
            "calibrated": True,
        }
        (place / "evaluation.json").write_text(json.dumps(info))
        table = pa.table(columns, schema=ROWS)
        half = len(table) // 2
        pq.write_table(table[:half], place / "part-00000.parquet")
        pq.write_table(table[half:], place / "part-00001.parquet")
        return folder

    return write


@pytest.fixture
def cascades(tmp_path, write_cascade):
    """A calibrated cascade and a weaker baseline on the same 800 items, with their dataset."""
    products = tmp_path / "data" / "products"
    products.mkdir(parents=True)
    own = rows(800, 0, 0.3)
    weak = rows(800, 0, 1.5)
    titles = [f"A | title & <b>{number}</b>" for number in range(800)]
    table = pa.table({"item_id": own["item_id"], "title": titles})
    pq.write_table(table, products / "test-00000.parquet")
    write_json(products.parent / "dataset.json", DatasetInfo("data", "by hand", "none", ""))
    seal(products.parent)
    own_folder = write_cascade(
        tmp_path / "dhpc",
        TREE,
        own,
        calibration=CALIBRATION,
        departments=DEPARTMENTS,
        dataset=products.parent,
    )
    return own_folder, write_cascade(tmp_path / "dnn", TREE, weak, dataset=products.parent)


@pytest.fixture
def page(cascades, tmp_path, capsys):
    own, baseline = cascades
    command = ["report", str(own), "--baseline", str(baseline), "--output", str(tmp_path / "out")]
    assert main(command) == 0
    file = tmp_path / "out" / "report.html"
    assert str(file) in capsys.readouterr().out
    return file


class Browser:
    """A page in headless Chromium, driven over the DevTools protocol's pipe."""

    def __init__(self, binary: str, profile: Path) -> None:
        here_in, there_out = os.pipe()
        there_in, here_out = os.pipe()
        ends = f"os.dup2(os.dup({there_in}), 103); os.dup2({there_out}, 4); os.dup2(103, 3)"
        start = f"import os, sys; {ends}; os.execv(sys.argv[1], sys.argv[1:])"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", start, binary, *options, f"--user-data-dir={profile}"],
            pass_fds=(there_in, there_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(there_in)
        os.close(there_out)
        self._in, self._out = os.fdopen(here_in, "rb"), os.fdopen(here_out, "wb")
        self._numbers = count(1)
        self._rest = b""
        self._session = ""
        self.events: list[dict] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters):
        """One command, and its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while (answer := self._read()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self) -> dict:
        while b"\0" not in self._rest:
            data = os.read(self._in.fileno(), 1 << 20)
            assert data, "the browser went away"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def open(self, page: Path, width: int = 1400, dark: bool = False) -> None:
        """Load a file at a window's width."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.send("Page.navigate", url=page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def ask(self, expression: str):
        """Value of a JavaScript expression in the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """A key, to whatever has the focus."""
        code = {"ArrowRight": 39, "ArrowLeft": 37, "Home": 36, "End": 35, "Tab": 9, "Enter": 13}
        for kind in ("keyDown", "keyUp"):
            event = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code[key]}
            self.send("Input.dispatchKeyEvent", **event)

    def complaints(self) -> list[dict]:
        """Exceptions, console output and log entries since the page was opened."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event for event in self.events if event.get("method") in kinds]

    def requests(self) -> list[str]:
        """Addresses the page asked for."""
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def screenshot(self, file: Path) -> None:
        """The whole page as PNG."""
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        self._in.close()
        self._out.close()


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A Chromium of this machine; without one the test is skipped."""
    names = ("chromium", "chromium-browser", "chromium-headless-shell", "google-chrome")
    binary = next(filter(None, map(shutil.which, names)), None)
    if binary is None:
        pytest.skip("no Chromium on PATH")
    browser = Browser(binary, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()
