"""Where rows come from: a file, the files of a folder or of a ZIP archive, each read by itself.

A folder's splits are told by the names of its files and subfolders, or by what it says of itself: the YAML `configs:`
of a data set card, or what `datasets` notes beside what `save_to_disk` writes.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.pairs.json_rows import NumberedRow
from workbench.pairs.lines import FileLine, UnusableError
from workbench.pairs.readers import SUFFIXES, OnRead, RawRow, read_rows, read_stream, suffix_of
from workbench.pairs.unpacking import ENDINGS, not_read, pandas_command

ARCHIVE = ".zip"
HELD_OUT_SPLITS = ("test", "testing", "validation", "valid", "val", "dev", "eval", "evaluation", "holdout")
"""What splits that are not for training are called."""
_CANONICAL = {"training": "train", "testing": "test", "evaluation": "test", "eval": "test"} | dict.fromkeys(
    ("valid", "val", "dev"), "validation"
)
_SHARD = re.compile(r"-\d+-of-\d+$")
_UNSAID = re.compile(r"(?:readme|license|licence|notice|changelog|citation)\b", re.IGNORECASE)
"""Files about the data, which nobody misses."""
_ABOUT = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not read, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Part:
    """One of several files. `split` "": its name says none."""

    name: str
    split: str
    size: int
    read: Callable[[OnRead], Iterator[NumberedRow]]


@dataclass(frozen=True, slots=True)
class Source:
    """Rows, and of which files they are. Rows of the files `held_out` are marked so, unless they say otherwise."""

    rows: Iterator[RawRow]
    files: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def remarks(self) -> list[str]:
        """What to say of the files, where there are several: which are read, held out and left out."""
        if len(self.files) + len(self.left_out) < 2:
            return []
        said = [f"Read {plural(len(self.files), 'file')}: {_listed(self.files)}."]
        if self.held_out:
            said.append(f"Held out, as their names say: {_listed(self.held_out)}.")
        by_reason: dict[str, list[str]] = {}
        for left in self.left_out:
            by_reason.setdefault(left.reason, []).append(left.file)
        return said + [f"Left out ({reason}): {_listed(files)}." for reason, files in by_reason.items()]


def open_source(
    path: Path, *, subset: str | None = None, split: str | None = None, progress: OnRead = lambda *_: None
) -> Source:
    """The rows of a file, of a ZIP archive, or of all files of a folder, by their names, those held out last.

    `subset` names a configuration of the folder's card, or a subfolder; `split` takes the files of one split alone.
    Raises `WorkbenchError` where there are none such, and where a folder holds several families of splits
    (train_prefs, train_sft). A file of several that cannot be read is a row that cannot.
    """
    if path.is_dir():
        parts, left_out = _in_folder(path, subset)
    elif subset:
        raise WorkbenchError("--subset is for folders and Hugging Face data sets", f"{path} is a file.")
    elif path.suffix.lower() == ARCHIVE:
        parts, left_out = _in_archive(path)
    elif split:
        raise WorkbenchError("--split is for folders and Hugging Face data sets", f"{path} is a file.")
    else:
        return Source(read_rows(path, progress), (path.name,))
    if not parts:
        left = "".join(f" {each.file}: {each.reason}." for each in left_out[:_SHOWN])
        raise WorkbenchError(
            "No data in it", f"{path} has no file that can be read.{left}", f"Files read: {', '.join(SUFFIXES)}."
        )
    kept = [part for part in parts if split is None or _same_split(part.split, split)]
    if not kept:
        raise WorkbenchError(
            f"{path.name} has no split {split!r}",
            f"Its splits: {', '.join(_splits(parts))}.",
            "Choose one with --split, or leave it out: all are read then.",
        )
    if split is None:
        _refuse_families(path, parts)
    left_out += [LeftOut(part.name, f"split {part.split or 'train'}") for part in parts if part not in kept]
    held_out = [part for part in kept if split is None and _is_held_out(part.split)]
    kept = [part for part in kept if part not in held_out] + held_out
    return Source(
        _rows(kept, frozenset(part.name for part in held_out), progress),
        tuple(part.name for part in kept),
        tuple(part.name for part in held_out),
        tuple(left_out),
    )


def _rows(parts: Sequence[_Part], held_out: frozenset[str], progress: OnRead) -> Iterator[RawRow]:
    total, done = sum(part.size for part in parts), 0
    for part in parts:

        def tell(read: int, of: int, part: _Part = part, before: int = done) -> None:
            progress(before + (part.size * read // of if of else 0), total)

        try:
            for number, row in part.read(tell):
                if part.name in held_out and isinstance(row, dict):
                    row.setdefault("split", "holdout")
                yield FileLine(part.name, number), row
        except WorkbenchError as error:
            said = " ".join(filter(None, (f"{error.title}.", str(error.message), str(error.hint))))
            yield FileLine(part.name, 1), UnusableError(f"is not read, nor is the rest of the file: {said}")
        done += part.size


# Folders


def _in_folder(root: Path, subset: str | None) -> tuple[list[_Part], list[LeftOut]]:
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    names = {path.relative_to(root).as_posix(): path for path in paths}
    names = {name: path for name, path in names.items() if not any(part[0] == "." for part in name.split("/"))}
    left_out: list[LeftOut] = []
    configured = _configured(root, subset)
    if configured is None and subset is not None:
        if not (root / subset).is_dir() or ".." in Path(subset).parts:
            folders = sorted({name.partition("/")[0] for name in names if "/" in name})
            raise WorkbenchError(
                f"{root.name} has no subset {subset!r}",
                f"Its subfolders: {', '.join(folders) or 'none'}.",
                "Leave --subset out to read all.",
            )
        inside = {name: path for name, path in names.items() if name.startswith(f"{Path(subset).as_posix()}/")}
        left_out += [LeftOut(name, "in another folder") for name in names.keys() - inside.keys() if _is_data(name)]
        names = inside
    saved = _saved(names)
    parts = []
    for name, path in names.items():
        if configured is not None:
            split = configured.get(name)
            reason = "another subset has it" if _is_data(name) else ""
        else:
            split, reason = _split_of(name), ""
        if name.rpartition("/")[2] in _ABOUT or _UNSAID.match(path.name):
            continue
        if path.parent in saved and path.name not in saved[path.parent]:
            split, reason = None, "a cache of datasets"
        if not _is_data(name):
            left_out.append(LeftOut(name, f"not read: {', '.join(SUFFIXES)} are"))
        elif split is None:
            left_out.append(LeftOut(name, reason))
        else:
            parts.append(_Part(name, split, path.stat().st_size, _reader(path)))
    return parts, left_out


def _reader(path: Path) -> Callable[[OnRead], Iterator[NumberedRow]]:
    return lambda progress: read_rows(path, progress)


def _is_data(name: str) -> bool:
    suffixes = [suffix for suffix in map(str.lower, Path(name).suffixes) if suffix not in ENDINGS]
    return bool(suffixes) and suffixes[-1] in SUFFIXES


def _saved(names: dict[str, Path]) -> dict[Path, set[str]]:
    """By folder that `save_to_disk` wrote: the files that its state names."""
    saved = {}
    for path in names.values():
        if path.name == "state.json":
            state = _json(path)
            files = state.get("_data_files") if isinstance(state, dict) else None
            if isinstance(files, list):
                saved[path.parent] = {str(each.get("filename")) for each in files if isinstance(each, dict)}
    return saved


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _configured(root: Path, subset: str | None) -> dict[str, str] | None:
    """By file that the configuration of a folder's card names: its split. None where there is no such card."""
    configs = _configs(root)
    if not configs:
        return None
    names = [str(config.get("config_name", "default")) for config in configs]
    wanted = subset
    if wanted is None:
        defaults = [name for name, config in zip(names, configs, strict=True) if config.get("default")]
        wanted = next(iter(defaults), names[0] if len(names) == 1 else "default" if "default" in names else None)
    if wanted not in names:
        raise WorkbenchError(
            f"{root.name} has no subset {wanted!r}" if wanted else f"{root.name} has several subsets",
            f"Its card names: {', '.join(names)}.",
            "Choose one with --subset.",
        )
    config = configs[names.index(wanted)]
    files: dict[str, str] = {}
    for split, pattern in _patterns(config.get("data_files")):
        pattern = "/".join(filter(None, (str(config.get("data_dir") or "").strip("/"), pattern)))
        if ".." not in pattern.split("/") and not pattern.startswith("/") and pattern:
            for path in root.glob(pattern):
                files.setdefault(path.relative_to(root).as_posix(), split)
    return files


def _configs(root: Path) -> list[dict[str, Any]]:
    try:
        text = (root / "README.md").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    front = re.match(r"---\r?\n(.*?)\r?\n---\s*(?:\n|\Z)", text, re.DOTALL)
    try:
        card = yaml.safe_load(front[1]) if front else None
    except (yaml.YAMLError, RecursionError):
        return []
    configs = card.get("configs") if isinstance(card, dict) else None
    found = [config for config in configs if isinstance(config, dict)] if isinstance(configs, list) else []
    return [config for config in found if _patterns(config.get("data_files"))]


def _patterns(data_files: Any) -> list[tuple[str, str]]:
    """Splits and the patterns of their files, out of any of the forms that a card may have."""
    if isinstance(data_files, str):
        return [("train", data_files)]
    if isinstance(data_files, dict):
        data_files = [{"split": split, "path": paths} for split, paths in data_files.items()]
    found: list[tuple[str, str]] = []
    for each in data_files if isinstance(data_files, list) else []:
        if isinstance(each, str):
            found.append(("train", each))
        elif isinstance(each, dict):
            paths = each.get("path")
            listed = paths if isinstance(paths, list) else [paths]
            found += [(str(each.get("split", "train")), str(path)) for path in listed]
    return found


# Archives


def _in_archive(path: Path) -> tuple[list[_Part], list[LeftOut]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise WorkbenchError(f"Cannot read {path.name}", f"{path}: {error}.", "Is it a whole ZIP archive?") from error
    if any(member.filename.startswith(("xl/", "word/")) for member in members):
        raise not_read(path.name, "an Excel sheet", pandas_command("read_excel"))
    if any(member.flag_bits & 1 for member in members):
        raise not_read(path.name, "an archive with a password", "unzip NAME")
    if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members):
        # Python unpacks the others without a limit: a few bytes could take all memory.
        raise not_read(path.name, "an archive that is not packed as ZIP files usually are", "unzip NAME")
    parts, left_out = [], []
    for member in sorted(members, key=lambda member: member.filename):
        name = member.filename
        if any(part[:1] in (".", "") or part == "__MACOSX" for part in name.split("/")):
            continue
        if suffix_of(name) in (".parquet", ".arrow", ".feather"):
            left_out.append(LeftOut(name, f"a table inside an archive; unpack it: unzip {path.name}"))
        elif _is_data(name) and name.rpartition("/")[2] not in _ABOUT:
            parts.append(_Part(name, _split_of(name), member.file_size, _member_reader(path, member)))
        elif not _UNSAID.match(name.rpartition("/")[2]):
            left_out.append(LeftOut(name, f"not read: {', '.join(SUFFIXES)} are"))
    return parts, left_out


def _member_reader(path: Path, member: zipfile.ZipInfo) -> Callable[[OnRead], Iterator[NumberedRow]]:
    def read(progress: OnRead) -> Iterator[NumberedRow]:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(member) as file:
                yield from read_stream(member.filename, file, member.file_size, progress)
        except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
            raise WorkbenchError(f"Cannot read {member.filename}", f"{path}: {error}.", "Unpack it.") from error

    return read


# Splits


def _split_of(name: str) -> str:
    """The split that a file's own name begins or ends with, or else one of its folders' is; empty for none.

    A word in the middle of a name (x_evaluation_y) says nothing.
    """
    *folders, file = name.split("/")
    stem = file[: len(file) - len("".join(Path(file).suffixes))] or file
    whole = _SHARD.sub("", stem)
    words = re.split(r"[-_. ]", re.sub(r"([-_. ]\d+)+$", "", whole).casefold())
    if _names_split(words[0]):
        # Only shards (train_prefs-00000-of-00001) are called by the whole name of their split.
        return whole if whole != stem else words[0]
    if _names_split(words[-1]):
        return words[-1]
    for folder in reversed(folders):
        if _names_split(re.split(r"[-_. ]", folder.casefold())[0]):
            return folder
    return ""


def _names_split(word: str) -> bool:
    return word in ("train", "training", *HELD_OUT_SPLITS)


def _is_held_out(split: str) -> bool:
    return re.split(r"[-_. ]", split.casefold())[0] in HELD_OUT_SPLITS


def _same_split(one: str, other: str) -> bool:
    one, other = (one or "train").casefold(), other.casefold()
    return one == other or _CANONICAL.get(one, one) == _CANONICAL.get(other, other)


def _splits(parts: Sequence[_Part]) -> list[str]:
    return sorted(dict.fromkeys(part.split or "train" for part in parts), key=_is_held_out)


def _refuse_families(path: Path, parts: Sequence[_Part]) -> None:
    """Raises `WorkbenchError` where splits are of several kinds, as train_prefs and train_sft are."""
    training = [split for split in _splits(parts) if not _is_held_out(split)]
    if len({_CANONICAL.get(split.casefold(), split.casefold()) for split in training}) > 1:
        raise WorkbenchError(
            f"{path.name} has several splits to train on",
            f"Its splits: {', '.join(_splits(parts))}.",
            "Choose one with --split.",
        )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
