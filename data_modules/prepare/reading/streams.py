"""A text file as blocks of text: unpacked, its encoding checked, without a byte order mark."""

import codecs
import gzip
from collections.abc import Iterator
from typing import IO

from data_modules.prepare.mapping.files import Encoding
from hierarchy_lm.errors import UserError

BLOCK_BYTES = 1 << 22
MAX_RECORD = 64 << 20
"""Longest record in bytes; a longer one is taken for an open quote or bracket."""
MARKS: list[tuple[bytes, str]] = [
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
]
OTHERS = [
    (b"\x1f\x8b", "a gzip file"),
    (b"PK\x03\x04", "a zip or Excel file"),
    (b"PAR1", "a Parquet file"),
]
"""What begins so is no text, whatever its name says."""
REPLACED = "\ufffd"
HEAD_BYTES = 512


def unpacked(stream: IO[bytes], is_gzip: bool) -> IO[bytes]:
    """The stream's bytes, without gzip's compression."""
    # The declared type is that of typeshed's GzipFile, which is a stream of bytes too.
    return gzip.GzipFile(fileobj=stream) if is_gzip else stream  # type: ignore[return-value]


class TextBlocks:
    """Decoded text of a stream, a block at a time.

    Args:
        stream: Bytes of the file, perhaps compressed.
        is_gzip: Whether they are compressed.
        encoding: As the mapping says; a byte order mark says better.
        label: What messages call the file.

    Attributes:
        replaced: Characters put in place of invalid bytes so far.

    Raises:
        UserError: From the iterator, if bytes are not in the encoding; names the line.
    """

    def __init__(self, stream: IO[bytes], is_gzip: bool, encoding: Encoding, label: str) -> None:
        self.label = label
        self.encoding = encoding
        self.replaced = 0
        self._stream = unpacked(stream, is_gzip)
        self._lines = 0

    def __iter__(self) -> Iterator[str]:
        head = self._stream.read(BLOCK_BYTES)
        if not head:
            raise UserError(f"{self.label}: the file is empty; remove it or fetch it again")
        codec, head = self._codec(head)
        replace = self.encoding == "utf-8-replace"
        decoder = codecs.getincrementaldecoder(codec)("replace" if replace else "strict")
        tail, block = b"", head
        while True:
            more = self._stream.read(BLOCK_BYTES)
            text = self._decode(decoder, block, final=not more)
            if replace and REPLACED in text:
                given = (tail + block).count(REPLACED.encode())
                self.replaced += text.count(REPLACED) - given
            tail = (tail + block)[-2:]
            self._lines += text.count("\n")
            if text:
                yield text
            if not more:
                return
            block = more

    def _codec(self, head: bytes) -> tuple[str, bytes]:
        """The encoding and the first bytes without their mark."""
        for mark, what in OTHERS:
            if head.startswith(mark):
                raise UserError(f"{self.label}: this is {what}, not text; give it the right ending")
        if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
            raise UserError(f"{self.label}: this is UTF-32; save it as UTF-8")
        for mark, codec in MARKS:
            if head.startswith(mark):
                return codec, head[len(mark) :]
        codec = self.encoding.removesuffix("-replace")
        if codec == "utf-16":
            raise UserError(
                f"{self.label}: no byte order mark; set 'encoding' to utf-16-le or utf-16-be"
            )
        if "16" not in codec and (found := _looks_like_utf16(head[:HEAD_BYTES])):
            raise UserError(f"{self.label}: this looks like UTF-16; set 'encoding' to {found}")
        return codec, head

    def _decode(self, decoder: codecs.IncrementalDecoder, block: bytes, final: bool) -> str:
        try:
            return decoder.decode(block, final)
        except UnicodeDecodeError as error:
            line = self._lines + _line_of(error) + 1
            raise UserError(
                f"{self.label}: line {line} is not {self.encoding} "
                f"(byte 0x{error.object[error.start]:02x}); set 'encoding' to {_advice(error)}"
            ) from error


def _line_of(error: UnicodeDecodeError) -> int:
    return error.object[: error.start].count(b"\n")


def _advice(error: UnicodeDecodeError) -> str:
    """Encodings that do not fail on these bytes."""
    if "16" in error.encoding:
        return "the one that its writer used; it is damaged if that is this one"
    try:
        error.object.decode("cp1252")
    except UnicodeDecodeError:
        return "utf-8-replace or latin-1"
    return "utf-8-replace, latin-1 or cp1252"


def _looks_like_utf16(head: bytes) -> str | None:
    """UTF-16 without a mark: every second byte of plain letters is zero."""
    even, odd = head[::2], head[1::2]
    if len(head) < 8:
        return None
    if odd.count(0) > 0.4 * len(odd) and even.count(0) < 0.1 * len(even):
        return "utf-16-le"
    if even.count(0) > 0.4 * len(even) and odd.count(0) < 0.1 * len(odd):
        return "utf-16-be"
    return None
