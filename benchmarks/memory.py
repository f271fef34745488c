"""Peak memory of fresh processes, from the kernel's own count (VmHWM).

Not ``ru_maxrss``: a child inherits that of the process that started it.
"""

import multiprocessing
import os
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class CommandRun:
    """Time and memory of a finished command.

    Attributes:
        seconds: Wall clock.
        peak_bytes: Highest sum, over the processes alive at one time, of the peak of each. What
            they share counts for each, so it is an upper bound.
    """

    seconds: float
    peak_bytes: int


def peak_of_call(function: Callable[..., object], *arguments: object) -> int:
    """Peak bytes of a new process that calls ``function`` and nothing else."""
    # Forked from a server that has imported the libraries and done nothing else.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_call, function, arguments).result()


def peak_of_command(command: Sequence[str]) -> CommandRun:
    """Run a command, watching it and all processes below it.

    Raises:
        RuntimeError: If it fails.
    """
    start = perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while True:
        peak = max(peak, sum(map(_peak_bytes, _tree(process.pid))))
        try:
            code = process.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        if code:
            raise RuntimeError(f"'{' '.join(command[:3])} ...' ended with status {code}")
        return CommandRun(perf_counter() - start, peak)


def _call(function: Callable[..., object], arguments: Sequence[object]) -> int:
    # Importing the libraries may have taken more for a moment: count afresh from here.
    Path("/proc/self/clear_refs").write_text("5")
    function(*arguments)
    return _peak_bytes(os.getpid())


def _tree(pid: int) -> list[int]:
    """The process and all below it."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [
            child for thread in threads for child in (thread / "children").read_text().split()
        ]
    except OSError:
        return [pid]  # it has ended meanwhile
    return [pid, *(below for child in children for below in _tree(int(child)))]


def _peak_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024 if lines else 0  # none once it is a zombie
