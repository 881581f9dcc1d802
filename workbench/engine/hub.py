"""Raw rows out of a Hugging Face data set, by its id."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.errors import WorkbenchError
from workbench.pairs.lines import UnusableError
from workbench.pairs.readers import OnRead, RawRow


def read_hub(
    name: str, *, subset: str | None = None, split: str | None = None, progress: OnRead = lambda *_: None
) -> Iterator[RawRow]:
    """The rows of one split, streamed, so that the first thousand of a large data set come without the rest.

    `split` None takes train, or the only split there is. `progress` is told rows read, of 0: how many there are is
    not known. Raises `WorkbenchError` where the data set, its subset or its split cannot be had.
    """
    import datasets

    try:
        data_set = datasets.load_dataset(name, name=subset, streaming=True)
        names = list(data_set)
        wanted = split or (names[0] if len(names) == 1 else "train")
        if wanted not in data_set:
            raise WorkbenchError(
                f"{name} has no split {wanted!r}", f"Its splits: {', '.join(names)}.", "Choose one with --split."
            )
        rows = iter(data_set[wanted])
    except WorkbenchError:
        raise
    except Exception as error:  # anything may come out of a foreign data set's loading, and none of it is ours to mend
        raise _cannot_load(name, error) from error
    number = 0
    while True:
        try:
            row = next(rows, None)
        except Exception as error:
            if not number:
                raise _cannot_load(name, error) from error
            yield number + 1, UnusableError(f"cannot be read, nor what follows it: {_first_line(error)}")
            return
        if row is None:
            return
        number += 1
        if number % 200 == 0:
            progress(number, 0)
        yield number, row


def _cannot_load(name: str, error: Exception) -> WorkbenchError:
    return WorkbenchError(
        f"Cannot load {name}",
        f"datasets says: {_first_line(error)}",
        "Check the id and the network (HF_TOKEN for gated data sets; --subset where it has several), "
        "or download it and import the file.",
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
