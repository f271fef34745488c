"""Apache Spark: files are read and shards written by the executors, by the same functions."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath

import fsspec
import ibis
import ibis.expr.types as ir
import pyarrow as pa

from data_modules.prepare.engines.base import Engine, Result, Task
from data_modules.prepare.reading.locations import is_url
from hierarchy_lm.errors import UserError

PATTERN_MARKS = "\\{}[]*?"


class SparkEngine(Engine):
    """Runs on the Spark session that `spark-submit` configured, else on a local one.

    Args:
        scratch: Path or URL of a folder that all executors see.
        memory_limit: Of a local session.
        threads: Of a local session; all cores by default.

    Raises:
        UserError: If Spark or Java is missing.
    """

    def __init__(self, scratch: str, memory_limit: str, threads: int | None) -> None:
        super().__init__(scratch)
        if not is_url(scratch):
            os.makedirs(scratch)
        self._session = _session(memory_limit, threads)
        self._connection = ibis.pyspark.connect(self._session)

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """One Spark task for each, so that a lost executor costs no more than its own."""
        context = self._session.sparkContext
        if not tasks:
            return
        for result in (
            context.parallelize(list(tasks), len(tasks)).map(_guarded(function)).collect()
        ):
            if isinstance(result, UserError):
                raise result
            yield result

    def table(self, places: Sequence[str]) -> ir.Table:
        """Table over files; folder names are no partitions."""
        # Spark takes these for patterns; a backslash makes them plain.
        literal = ["".join(f"\\{c}" if c in PATTERN_MARKS else c for c in p) for p in places]
        frame = self._session.read.option("recursiveFileLookup", "true").parquet(*literal)
        name = f"hlm_{next(self._numbers):06d}"
        frame.createOrReplaceTempView(name)
        return self._connection.table(name)

    def keep(self, table: ir.Table, label: str) -> ir.Table:
        """Compute into a folder of files."""
        place = self.place("kept")
        with _faults(label):
            self._frame(table).write.parquet(place)
        return self.table([place])

    def sorted_parts(self, table: ir.Table, column: str, label: str) -> list[str]:
        """A file per range of the column."""
        place = self.place("sorted")
        with _faults(label):
            self._frame(table).sort(column).write.parquet(place)
        system, path = fsspec.core.url_to_fs(place)
        names = sorted(system.ls(path, detail=False), key=lambda name: PurePosixPath(name).name)
        parts = [name for name in names if PurePosixPath(name).name.startswith("part-")]
        return [system.unstrip_protocol(name) if is_url(place) else name for name in parts]

    def collect(self, table: ir.Table, label: str = "counting") -> pa.Table:
        """A small result."""
        with _faults(label):
            return self._frame(table).toArrow()

    def close(self) -> None:
        """Leave the session, which may be the caller's, but none of our views."""
        for name in self._session.catalog.listTables():
            if name.name.startswith("hlm_"):
                self._session.catalog.dropTempView(name.name)

    def _frame(self, table: ir.Table):  # type: ignore[no-untyped-def]  # noqa: ANN202 - pyspark's
        return self._session.sql(self._connection.compile(table))


def _guarded(function: Callable[[Task], Result]) -> Callable[[Task], Result | UserError]:
    """A function whose refusals come back as results instead of as Java's page of text."""

    def guarded(task: Task) -> Result | UserError:
        try:
            return function(task)
        except UserError as error:
            return error

    return guarded


def _session(memory_limit: str, threads: int | None):  # type: ignore[no-untyped-def]  # noqa: ANN202
    try:
        from pyspark.errors import PySparkException, PySparkRuntimeError
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise UserError(
            "engine: Spark is not installed; pip install 'hierarchy-lm[spark]'"
        ) from error
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # of a local session's workers
    # Of pandas nothing is used but what Ibis imports.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    builder = SparkSession.builder.appName("hlm prepare")
    if SparkSession.getActiveSession() is None:
        builder = _local(builder, memory_limit, threads)
    try:
        return builder.getOrCreate()
    except (PySparkException, PySparkRuntimeError, OSError) as error:
        raise UserError(
            "engine: Spark does not start; it needs Java 17 or newer on the PATH or in JAVA_HOME"
        ) from error


def _local(builder, memory_limit: str, threads: int | None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Settings that `spark-submit`, where there is one, overrides."""
    from pyspark import SparkConf

    given = SparkConf()
    cores = str(threads or "*")
    settings = {
        "spark.master": f"local[{cores}]",
        "spark.driver.memory": memory_limit.lower().removesuffix("b"),
        "spark.sql.shuffle.partitions": str(threads or os.cpu_count() or 1),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
    }
    for key, value in settings.items():
        if not given.contains("spark.master") and not given.contains(key):
            builder = builder.config(key, value)
    return builder


@contextmanager
def _faults(label: str) -> Iterator[None]:
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        reason = str(getattr(error, "java_exception", error)).splitlines()[0]
        raise UserError(f"{label}: Spark failed ({reason[:300]}); see its log") from error
