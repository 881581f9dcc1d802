"""Compressed files as streams of which a piece at a time is in memory; formats that are not read, by name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from functools import partial
from typing import IO, Any, Protocol, cast

from workbench.errors import WorkbenchError

CUT_SHORT = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading raises where compressed data is damaged or ends too early."""
ENDINGS = (".gz", ".bz2", ".xz", ".zst", ".lz4")
GZIP, BZ2, XZ, ZSTD, LZ4 = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"
_XZ_MEMORY = 128 * 2**20
"""Bytes. A file may ask for 4 GiB to be unpacked in; what `xz -9` writes needs 65 MiB."""
_PIECE = 1 << 16


def pandas_command(reader: str) -> str:
    """The command by which pandas makes JSON lines of a file NAME."""
    return f"python -c \"import pandas; pandas.{reader}('NAME').to_json('rows.jsonl', orient='records', lines=True)\""


_FOREIGN = (
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "7z x NAME"),
    (0, b"Rar!", "a RAR archive", "unrar x NAME"),
    (257, b"ustar", "a tar archive", "tar xf NAME"),
    (0, b"SQLite format 3\0", "an SQLite database", "sqlite3 -json NAME 'SELECT * FROM …' > rows.json"),
    (0, b"\x89HDF", "HDF5", pandas_command("read_hdf")),
    (0, b"ORC", "ORC", pandas_command("read_orc")),
    (0, b"\xd0\xcf\x11\xe0", "an Excel sheet", pandas_command("read_excel")),
    (0, b"\x80\x04", "a Python pickle, which is a program and is not run", pandas_command("read_pickle")),
    (0, b"\x80\x05", "a Python pickle, which is a program and is not run", pandas_command("read_pickle")),
    (0, b"FEA1", "Feather of version 1", pandas_command("read_feather")),
    (0, b"Obj\x01", "Avro", "avro-tools tojson NAME > rows.jsonl"),
    (0, b"\x93NUMPY", "a NumPy array", ""),
    (0, b"%PDF", "a PDF", ""),
    (0, b"PK\x03\x04", "a ZIP archive", "unzip NAME"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the file itself", "git lfs pull"),
    (0, b"<!DOCTYPE html", "a web page", ""),
    (0, b"<html", "a web page", ""),
)
"""Where a format has its mark, the mark, its name, and the command after which it can be imported."""


def refuse_foreign(name: str, begin: bytes) -> None:
    """Raises `WorkbenchError` where a file's first bytes are those of a format that is not read."""
    for at, mark, kind, command in _FOREIGN:
        if begin[at:].startswith(mark):
            raise not_read(name, kind, command)


def not_read(name: str, kind: str, command: str = "") -> WorkbenchError:
    """What to tell of a file of a known kind. `command` has NAME where the file's name goes."""
    way_out = command.replace("NAME", name.rpartition("/")[2])
    return WorkbenchError(
        f"{name} is {kind}",
        "It is not read here.",
        f"Make rows of it first: {way_out}" if way_out else "Write its rows as JSON lines first.",
    )


def unpacked(raw: IO[bytes]) -> IO[bytes]:
    """What a file holds, read from its beginning: itself, where it is not compressed. Raises `CUT_SHORT` on reading."""
    raw.seek(0)
    begin = raw.read(8)
    raw.seek(0)
    if begin.startswith(GZIP):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    if begin.startswith(BZ2):
        return io.BufferedReader(_Unpacker(raw, bz2.BZ2Decompressor), _PIECE)
    if begin.startswith(XZ):
        return io.BufferedReader(_Unpacker(raw, partial(lzma.LZMADecompressor, memlimit=_XZ_MEMORY)), _PIECE)
    if begin.startswith((ZSTD, LZ4)):
        return io.BufferedReader(_ArrowUnpacker(raw, "zstd" if begin.startswith(ZSTD) else "lz4"), _PIECE)
    return raw


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes: ...


class _Unpacker(io.RawIOBase):
    """Compressed streams, one after the other, as what they hold."""

    def __init__(self, raw: IO[bytes], make: Any) -> None:
        self._raw, self._make = raw, make
        self._inside: _Decompressor | None = make()

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer; 0 at the end."""
        try:
            while self._inside is not None:
                data = self._raw.read(_PIECE) if self._inside.needs_input else b""
                if self._inside.needs_input and not data:
                    raise EOFError("compressed data ended before its end mark")
                out = self._inside.decompress(data, len(buffer))
                if self._inside.eof:
                    rest = self._inside.unused_data or self._raw.read(_PIECE)
                    self._inside = self._make() if rest.strip(b"\0") else None
                    self._raw = _Before(rest, self._raw)
                if out:
                    buffer[: len(out)] = out
                    return len(out)
        except (lzma.LZMAError, OSError) as error:
            raise EOFError(str(error)) from error
        return 0


class _Before(io.BytesIO):
    """Some bytes, then what a file goes on with."""

    def __init__(self, first: bytes, rest: IO[bytes]) -> None:
        super().__init__(first)
        self._rest = rest

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes."""
        return super().read(size) or self._rest.read(-1 if size is None else size)


class _ArrowUnpacker(io.RawIOBase):
    """What Arrow's codecs unpack."""

    def __init__(self, raw: IO[bytes], codec: str) -> None:
        import pyarrow as pa

        # Arrow closes what it reads from; the file is to be read again.
        self._stream = pa.CompressedInputStream(pa.PythonFile(_Before(b"", raw), mode="r"), codec)

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer; 0 at the end."""
        try:
            data = self._stream.read(len(buffer))
        except OSError as error:  # all of Arrow's that come out of a stream are
            raise EOFError(str(error)) from error
        buffer[: len(data)] = data
        return len(data)
