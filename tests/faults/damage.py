"""Damages files in ways that disks, editors and strangers do, by a seed, and holds commands to an answer in words."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import tempfile
import tomllib
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, redirect_stderr, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import tomlkit

_PLACE = "@@damage@@"
_DEEP = 20_000
_RAW = (
    *(
        "null",
        "true",
        "-1",
        "0",
        "1",
        "1.5",
        "10000000000000000000000000000000",
        "9" * 5000,
        "1e308",
        "1e999",
        "-1e999",
    ),
    *("NaN", "Infinity", '""', '"abc"', '"\\ud800"', '"\\u001b]0;title\\u0007"', "[]", "{}", "[[]]", "[null]", '[""]'),
    *('{"a": 1, "a": 2}', '{"": {"": ""}}', '"' + "x" * 100_000 + '"', "[" * _DEEP + "]" * _DEEP),
    *('{"a":' * _DEEP + "1" + "}" * _DEEP, '"2026-01-01"', "[1, 2, 3]", '"/etc/passwd"', '"../../x"'),
)
_RAW_TOML = (
    *("true", "-1", "0", "1.5", "99999999999999999999999999999999", "1e308", "nan", "inf", "-inf", '""', '"abc"', "[]"),
    *("{}", "[[]]", '[""]', "[1, 'a']", "2026-01-01", "2026-01-01T00:00:00Z", "07:32:00", '"x\\u001b[2J"', "0x7f"),
    *("[" * 3000 + "]" * 3000, '"' + "x" * 100_000 + '"', "{a = 1, b = {c = []}}", "'../../x'"),
)


def damaged(content: bytes, suffix: str, rng: Random) -> bytes:
    """The content with one kind of damage; `suffix` (.json, .jsonl, .toml) says what may be done to its values."""
    if suffix == ".sqlite" and rng.random() < 0.5:
        return _database(content, rng)
    structural = {".json": _json, ".jsonl": _lines, ".toml": _toml}.get(suffix)
    if structural is not None and rng.random() < 0.6:
        return structural(content, rng)
    return _bytes(content, rng)


def _bytes(content: bytes, rng: Random) -> bytes:
    bad, size = bytearray(content), max(1, len(content))
    begin = rng.randrange(size)
    end = min(size, begin + rng.choice([1, 8, 64, 4096]))
    match rng.randrange(10):
        case 0 | 1 | 2 if bad:
            for _ in range(rng.choice([1, 1, 4, 64])):
                bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        case 3:
            del bad[begin:]
        case 4:
            del bad[begin:end]
        case 5:
            bad[begin:begin] = bad[begin:end] or b"x"
        case 6:
            bad[begin:begin] = rng.randbytes(rng.choice([1, 16, 500]))
        case 7:
            bad[begin:end] = bytes(end - begin)
        case 8:
            text = content.decode("utf-8", "replace")
            return text.encode(rng.choice(["utf-16", "utf-32", "utf-8-sig", "cp037"]), "replace")
        case _:
            return rng.choice([b"", b"\n", b"null", b"[]", b"{}", b"nonsense" * 100, bytes(4096)])
    return bytes(bad)


def _json(content: bytes, rng: Random) -> bytes:
    return _exchanged(json.loads(content), rng, json.dumps, rng.choice(_RAW)).encode("utf-8", "surrogatepass")


def _lines(content: bytes, rng: Random) -> bytes:
    lines = content.splitlines(keepends=True)
    number = rng.randrange(len(lines))
    match rng.randrange(6):
        case 0:
            del lines[number]
        case 1:
            lines.insert(rng.randrange(len(lines)), lines[number])
        case 2:
            rng.shuffle(lines)
        case _:
            lines[number] = _json(lines[number], rng) + b"\n"
    return b"".join(lines)


def _toml(content: bytes, rng: Random) -> bytes:
    text = content.decode()
    if rng.random() < 0.2:
        lines = text.splitlines(keepends=True)
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines or ["x = 1\n"]))
        return "".join(lines).encode()
    return _exchanged(tomllib.loads(text), rng, tomlkit.dumps, rng.choice(_RAW_TOML)).encode()


def _exchanged(document: Any, rng: Random, dump: Callable[[Any], str], raw: str) -> str:
    """The document with one value replaced by `raw`, or with one key more, fewer or renamed."""
    places = list(_places(document))
    if not places:
        return raw
    parent, name = rng.choice(places)
    if isinstance(parent, dict) and rng.random() < 0.25:
        value = parent.pop(name)
        if rng.random() < 0.5:
            parent[rng.choice(["", "nope", f"{name} ", "__class__"])] = value
        return dump(document)
    parent[name] = _PLACE
    return dump(document).replace(f'"{_PLACE}"', raw)


_VALUES = (
    "NULL",
    "-1",
    "0",
    "7",
    "9e99",
    "9223372036854775807",
    "''",
    "'abc'",
    "'[]'",
    "x'00ff'",
    "CAST(x'ff' AS TEXT)",
)


def _database(content: bytes, rng: Random) -> bytes:
    """A database in which one column of some rows says something else, or a table, a column or rows are gone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.sqlite"
        path.write_bytes(content)
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            tables = dict(database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
            table = rng.choice(list(tables))
            column = rng.choice([row[1] for row in database.execute(f"PRAGMA table_info({table})")])
            number = f"unicode(hex({column}))" if "WITHOUT ROWID" in tables[table] else "rowid"
            some = f"WHERE {number} % {rng.choice([1, 2, 3])} = 0"
            statement = rng.choice(
                [
                    *[f"UPDATE OR IGNORE {table} SET {column} = {rng.choice(_VALUES)} {some}"] * 5,
                    f"DELETE FROM {table} {some}",
                    f"DROP TABLE {table}",
                    f"ALTER TABLE {table} RENAME COLUMN {column} TO other",
                    f"ALTER TABLE {table} RENAME TO other",
                ]
            )
            with suppress(sqlite3.Error):
                database.execute(statement)
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.read_bytes()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for name in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, name
        yield from _places(value[name])


@dataclass
class Tally:
    """What was tried of each kind, and how it went. `lost` has the first lines of what went wrong."""

    tried: dict[str, int] = field(default_factory=dict)
    lost: dict[str, list[str]] = field(default_factory=dict)

    def table(self) -> str:
        """Kind, tried, survived, lost."""
        rows = [("kind", "tried", "survived", "lost")]
        for kind, count in self.tried.items():
            lost = len(self.lost.get(kind, ()))
            rows.append((kind, f"{count:,}", f"{count - lost:,}", f"{lost:,}"))
        rows.append(("all", f"{sum(self.tried.values()):,}", "", f"{sum(map(len, self.lost.values())):,}"))
        return "\n".join(f"{kind:<18}{tried:>8}{survived:>10}{lost:>6}" for kind, tried, survived, lost in rows)

    def __str__(self) -> str:
        worst = [f"{kind}: {words}" for kind, lost in self.lost.items() for words in lost[:8]]
        return "\n".join((self.table(), *worst))


def try_damage(
    tally: Tally, kind: str, file: Path, count: int, rng: Random, ask: Callable[[Random], Sequence[str]]
) -> None:
    """Damages `file` `count` times and puts it back each time. `ask` tries what reads it: what it returns did not hold.

    A file that is no text of ours is also replaced by what is no file at all, now and then.
    """
    content = file.read_bytes()
    for number in range(count):
        seed = f"{kind} {number} {rng.random()}"
        case = Random(seed)
        try:
            if case.random() < 0.03:
                file.unlink()
                case.choice([file.mkdir, lambda: file.symlink_to(file.name), lambda: file.symlink_to("gone"), int])()
            else:
                file.write_bytes(damaged(content, file.suffix, case))
            errors = io.StringIO()
            try:
                with redirect_stderr(errors):
                    wrong = [*ask(case)]
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                wrong = [f"{type(error).__name__}: {str(error)[:200]} at {where.filename}:{where.lineno}"]
        finally:
            if file.is_dir() and not file.is_symlink():
                shutil.rmtree(file)
            file.unlink(missing_ok=True)
            file.write_bytes(content)
        tally.tried[kind] = tally.tried.get(kind, 0) + 1
        if wrong:
            tally.lost.setdefault(kind, []).append(f"[{seed}] {wrong[0]}")


def nothing_foreign(text: str) -> bool:
    """Whether a document on stdout is one of strict JSON: no NaN, no half character."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.dumps(json.loads(text, parse_constant=refuse), ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return True
