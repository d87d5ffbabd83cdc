"""Bytes of a text file as blocks of whole lines in UTF-8, whatever it was saved as, with bounded memory.

Lines that are not valid in the encoding of their file stay as they are: the reader of the format rejects them, line by line.
"""

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from daogou.errors import DataError

BLOCK_BYTES = 16 << 20
MAX_LINE_BYTES = 128 << 20  # a longer line is no table
MAX_RATIO = 200  # of unpacked to packed bytes; tables pack 5 to 30 times, a bomb a thousand times
FREE_BYTES = 64 << 20  # so much may always be unpacked: small files of equal lines pack well

UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
OTHER_FORMATS = {
    b"PK\x03\x04": ("a spreadsheet or a zip archive", "save the sheet as CSV in UTF-8, or unpack the archive"),
    b"PAR1": ("a Parquet file", "give it the suffix .parquet"),
    b"%PDF": ("a PDF file", "export the table as CSV"),
    b"\xd0\xcf\x11\xe0": ("an old Excel file", "save the sheet as CSV in UTF-8"),
    b"SQLite f": ("an SQLite database", "export the table as CSV"),
}


class Block(NamedTuple):
    """Whole lines of a file, separated by ``\\n``."""

    data: bytes
    first_line: int
    share: float
    "Of the file's bytes that have been read with this block."


class Source:
    """A file, plain or gzip. Iterating gives its blocks once; `notes` says what was assumed on the way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self._encoding: str | None = None  # None while only ASCII was seen

    def __iter__(self) -> Iterator[Block]:
        line, rest = 1, b""
        for data, share in self._chunks():
            end = data.rfind(b"\n") + 1
            if not end:
                rest += data
                if len(rest) > MAX_LINE_BYTES:
                    raise DataError(f"no line ends within {MAX_LINE_BYTES >> 20} MiB", expected="a text file of lines", where=str(self.path))
                continue
            block, rest = rest + data[:end], data[end:]
            yield Block(self._to_utf8(block), line, share)
            line += block.count(b"\n")
        if rest:
            yield Block(self._to_utf8(rest), line, 1.0)

    def _chunks(self) -> Iterator[tuple[bytes, float]]:
        try:
            with self.path.open("rb") as raw:
                size = max(self.path.stat().st_size, 1)
                packed = raw.read(2) == b"\x1f\x8b"
                raw.seek(0)
                stream = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if packed else raw
                yield from self._decoded(stream, raw, size)
        except FileNotFoundError as e:
            raise DataError("no such file", fix="give the path of an existing file", where=str(self.path)) from e
        except (EOFError, gzip.BadGzipFile, zlib.error) as e:
            raise DataError(
                f"the gzip file is damaged ({e})",
                fix="transfer it again; rows before the damage are loaded, and loading them twice is harmless",
                where=str(self.path),
            ) from e
        except OSError as e:
            raise DataError(f"cannot read it ({e.strerror or e})", where=str(self.path)) from e

    def _decoded(self, stream: IO[bytes], raw: IO[bytes], size: int) -> Iterator[tuple[bytes, float]]:
        decoder: codecs.IncrementalDecoder | None = None
        total, cr_only = 0, False
        while data := stream.read(BLOCK_BYTES):
            first = total == 0
            total += len(data)
            if stream is not raw and total > FREE_BYTES and total > MAX_RATIO * raw.tell():
                raise DataError(
                    f"the gzip file unpacks to more than {MAX_RATIO} times its size",
                    expected="a table",
                    fix="unpack it yourself if it is honest",
                    where=str(self.path),
                )
            if first:
                self._refuse_other_formats(data)
                decoder, data = self._start(data)
            if decoder is not None:
                data = self._decode(decoder, data)
            if first and b"\r" in data and b"\n" not in data:
                cr_only = True
                self.notes.append("lines end in CR alone")
            yield data.replace(b"\r", b"\n") if cr_only else data, min(raw.tell() / size, 1.0)
        if not total:
            raise DataError("the file is empty", expected="a table with a header or rows", where=str(self.path))
        if decoder is not None:
            self._decode(decoder, b"", final=True)

    def _refuse_other_formats(self, data: bytes) -> None:
        for magic, (what, fix) in OTHER_FORMATS.items():
            if data.startswith(magic):
                raise DataError(f"this is {what}", expected="a text file", fix=fix, where=str(self.path))

    def _start(self, data: bytes) -> tuple[codecs.IncrementalDecoder | None, bytes]:
        """Recognises a byte order mark, or UTF-16 without one by its many NULs."""
        if data.startswith(codecs.BOM_UTF8):
            self.notes.append("begins with a byte order mark (UTF-8)")
            return None, data.removeprefix(codecs.BOM_UTF8)
        for mark, name in UTF16.items():
            if data.startswith(mark):
                self.notes.append(f"read as {name.upper()}")
                return codecs.getincrementaldecoder(name)(), data.removeprefix(mark)
        head = data[:2000]
        for name, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
            if len(head) > 8 and zeros.count(0) > 0.6 * len(zeros):
                self.notes.append(f"read as {name.upper()} (no byte order mark)")
                return codecs.getincrementaldecoder(name)(), data
        return None, data

    def _decode(self, decoder: codecs.IncrementalDecoder, data: bytes, *, final: bool = False) -> bytes:
        try:
            return decoder.decode(data, final).encode()
        except UnicodeError as e:
            raise DataError(f"not valid UTF-16 ({e})", fix="save it as UTF-8", where=str(self.path)) from e

    def _to_utf8(self, block: bytes) -> bytes:
        if self._encoding is None and not block.isascii():
            self._encoding = guess_encoding(block)
            if self._encoding != "utf-8":
                self.notes.append(f"not UTF-8, read as {self._encoding.upper()}")
        if self._encoding in (None, "utf-8"):
            return block
        assert self._encoding is not None
        try:
            return block.decode(self._encoding).encode()
        except UnicodeDecodeError:
            return b"\n".join(_line_to_utf8(line, self._encoding) for line in block.split(b"\n"))


def _line_to_utf8(line: bytes, encoding: str) -> bytes:
    try:
        return line.decode(encoding).encode()
    except UnicodeDecodeError:
        return line if not _valid(line, "utf-8") else b"\xff" + line  # never taken for UTF-8 by chance


def _valid(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def guess_encoding(block: bytes) -> str:
    """UTF-8 unless most lines beyond ASCII are not; then GB18030 where the bytes pair as Chinese does, else Windows-1252.

    A file of one encoding with some broken lines keeps its encoding: the lines are rejected, the file is not reinterpreted.
    """
    lines = [line for line in block.split(b"\n") if not line.isascii()]
    if 2 * sum(_valid(line, "utf-8") for line in lines) >= len(lines):
        return "utf-8"
    pairs = re.findall(rb"[\xa1-\xf7][\x40-\xfe]", b"\n".join(lines[:2000]))
    chinese = sum(pair[1] >= 0xA1 for pair in pairs)  # both bytes high: GB 2312, nearly all of everyday text; Latin letters stand alone
    readable = sum(_valid(line, "gb18030") for line in lines)
    return "gb18030" if 2 * chinese > len(pairs) and 2 * readable > len(lines) else "cp1252"
