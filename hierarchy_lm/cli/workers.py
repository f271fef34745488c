"""Processes that run one training after another, side by side; one that fails is replaced."""

import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from hierarchy_lm.errors import UserError


class Job(NamedTuple):
    """One `hlm` command.

    Attributes:
        name: What it trains.
        argv: Its command line.
        log: File for all that it prints.
        environment: Variables that are set for it.
    """

    name: str
    argv: list[str]
    log: Path
    environment: Mapping[str, str] = {}


class Outcome(NamedTuple):
    """How a job ended.

    Attributes:
        status: Exit status.
        reason: One line for any other than 0.
        seconds: How long it took.
    """

    status: int
    reason: str
    seconds: float


CONTEXT = multiprocessing.get_context("spawn")
INTERRUPTED = (130, 143)
GRACE = 60.0
"""Seconds that an interrupted training has to write its checkpoint."""


def run_jobs(
    jobs: Sequence[Job],
    devices: Sequence[str],
    report: Callable[[Job, Outcome], None],
    begin: Callable[[Job], None] = lambda job: None,
) -> None:
    """Run all jobs, as many at a time as there are devices.

    A job that fails, or whose process is killed, is reported and the others go on. When the caller
    is interrupted, the running jobs get SIGTERM, write their checkpoints and end.

    Args:
        jobs: What to run.
        devices: ``CUDA_VISIBLE_DEVICES`` of each worker; empty strings for workers on the CPU.
        report: Called after each job, one call at a time.
        begin: Called before each job, likewise.
    """
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    lock, stop = threading.Lock(), threading.Event()
    slots = [_Slot(device, len(devices)) for device in devices[: len(jobs)]]
    faults: list[BaseException] = []

    def work(slot: _Slot) -> None:
        try:
            while not stop.is_set():
                job = waiting.get_nowait()
                with lock:
                    begin(job)
                outcome = slot.run(job)
                if stop.is_set() and outcome.status:
                    return
                with lock:
                    report(job, outcome)
        except queue.Empty:
            return
        except BaseException as fault:  # a thread's own would only be printed
            faults.append(fault)
            stop.set()

    threads = [threading.Thread(target=work, args=(slot,), daemon=True) for slot in slots]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads) and not faults:
            time.sleep(0.1)
    finally:
        stop.set()
        _end(slots, threads)
    if faults:
        raise faults[0]


def run_command(
    argv: list[str],
    keep_open: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run a program and wait for it. When the caller is interrupted, so is the program.

    Args:
        argv: The program and its arguments.
        keep_open: File descriptors that it inherits.
        environment: Its environment variables; by default the caller's.

    Returns:
        Its exit status.
    """
    process = subprocess.Popen(argv, pass_fds=tuple(keep_open), env=environment)
    try:
        return process.wait()
    except BaseException:  # not subprocess.run, which kills it a moment after Ctrl-C
        process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        finally:
            process.kill()
        raise


def run_hlm(
    argv: list[str],
    what: str,
    keep_open: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run an `hlm` command in a process of its own, which may start one per GPU.

    Args:
        argv: Its arguments.
        what: Its name, for messages.
        keep_open: File descriptors that it inherits.
        environment: Its environment variables; by default the caller's.

    Raises:
        UserError: If it fails.
        SystemExit: If it is interrupted.
    """
    status = run_command([sys.executable, "-m", "hierarchy_lm", *argv], keep_open, environment)
    if status in INTERRUPTED:
        raise SystemExit(status)
    if status:
        raise UserError(f"{what} ended with status {status}; see above")


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Let SIGTERM unwind the program, so that it ends the processes it has started."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(slots: Sequence["_Slot"], threads: Sequence[threading.Thread]) -> None:
    """Let running jobs save what they have; a second interrupt, or too long a wait, kills them."""
    deadline = time.monotonic() + GRACE
    try:
        for slot, thread in zip(slots, threads, strict=True):
            if thread.is_alive():
                slot.send(signal.SIGTERM)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
    finally:
        for slot in slots:
            slot.end()


class _Slot:
    """A place for one process at a time."""

    def __init__(self, device: str, neighbours: int) -> None:
        self.device = device
        self.neighbours = neighbours
        self.process: BaseProcess | None = None
        self.connection: Connection | None = None

    def run(self, job: Job) -> Outcome:
        """Hand a job to the process, a new one if there is none."""
        if self.process is None or not self.process.is_alive():
            self._start()
        assert self.connection is not None
        assert self.process is not None
        started = time.monotonic()
        try:
            self.connection.send(job)
            status, reason = self.connection.recv()
            seconds = time.monotonic() - started
            if status:  # after a CUDA fault, all that follows in the process would fail as well
                self.end()
            return Outcome(status, reason, seconds)
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            end = signal.Signals(-code).name if code < 0 else f"status {code}"
            self.process = None
            reason = f"its process ended with {end}; see {job.log}"
            return Outcome(1, reason, time.monotonic() - started)

    def _start(self) -> None:
        self.connection, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_serve, args=(theirs, self.device, self.neighbours))
        self.process.start()
        theirs.close()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there is one."""
        if self.process is not None and self.process.is_alive() and self.process.pid:
            os.kill(self.process.pid, number)

    def end(self) -> None:
        """End an idle process; kill one that is still at work."""
        if self.process is None or self.connection is None:
            return
        self.connection.close()
        self.process.join(timeout=5)
        self.send(signal.SIGKILL)
        self.process.join()


def _serve(connection: Connection, device: str, neighbours: int) -> None:
    """Run jobs as they come; imports of the training libraries wait for the environment."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which sends SIGTERM
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if device:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    threads = max(1, (os.cpu_count() or 1) // neighbours)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    try:
        while True:
            outcome = _fit(connection.recv())
            connection.send(outcome)
            if outcome[0]:
                return
    except (EOFError, OSError):  # the parent has no more jobs, or is gone
        return


def _end_with_parent() -> None:
    """A parent that was killed cannot end its processes."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _fit(job: Job) -> tuple[int, str]:
    from hierarchy_lm.cli import main

    try:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("a", encoding="utf-8") as log:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
                os.dup2(log.fileno(), stream.fileno())
        os.environ.update(job.environment)
        os.environ["HLM_DEBUG"] = "1"  # main raises instead of printing
        return main(job.argv), ""
    except UserError as error:
        return 2, " ".join(str(error).split())
    except SystemExit as error:
        return int(error.code or 0) if isinstance(error.code, int | None) else 1, "stopped"
    except Exception as error:  # one failing department must not end the others
        traceback.print_exc()
        line = (str(error).strip().splitlines() or [""])[0]
        return 1, f"{type(error).__name__}: {line}; see {job.log}"
