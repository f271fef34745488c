"""Records of Parquet, a batch at a time."""

from collections.abc import Iterator, Sequence
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from data_modules.prepare.mapping.files import FileOptions
from data_modules.prepare.reading.records import BATCH_ROWS, RawBatch, Tally, named_columns
from hierarchy_lm.errors import UserError


class ParquetReader:
    """Reads the rows of a Parquet file.

    Args:
        stream: The file; it must allow seeking.
        options: Names to change.
        label: What messages call the file.

    Raises:
        UserError: If the file is broken, or two columns have one name.
    """

    def __init__(self, stream: IO[bytes], options: FileOptions, label: str) -> None:
        self.label = label
        self.tally = Tally()
        try:
            self._file = pq.ParquetFile(stream, pre_buffer=False)
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise UserError(f"{label}: no whole Parquet file; fetch or write it again") from error
        plain = self._file.schema_arrow.names
        self.names = named_columns(plain, options.rename, label)
        self._plain = dict(zip(self.names, plain, strict=True))
        self.tally.columns = dict.fromkeys(self.names)

    def batches(self, wanted: Sequence[str]) -> Iterator[RawBatch]:
        """The wanted columns; raises UserError if there are not as many rows as the file says."""
        chosen = {name: self._plain[name] for name in self.names if name in wanted}
        try:
            for batch in self._file.iter_batches(BATCH_ROWS, columns=[*chosen.values()]):
                columns = {name: batch.column(plain) for name, plain in chosen.items()}
                yield RawBatch(self.tally.records + 1, batch.num_rows, columns)
                self.tally.records += batch.num_rows
        except (OSError, pa.ArrowException) as error:
            raise UserError(
                f"{self.label}: row {self.tally.records + 1} or one of the {BATCH_ROWS - 1} after "
                "it cannot be read; write the file again"
            ) from error
        if self.tally.records != self._file.metadata.num_rows:
            raise UserError(
                f"{self.label}: {self.tally.records} rows where the file says "
                f"{self._file.metadata.num_rows}; write it again"
            )
