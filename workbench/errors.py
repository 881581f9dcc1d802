"""The one error type that a user ever sees."""

from __future__ import annotations

from collections.abc import Mapping

_NO_MEMORY = (
    "out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "bad_alloc",
    "failed to map segment", "can't start new thread", "launch worker thread",
)  # fmt: skip
"""What libraries say where they got none, the loader of libraries among them."""


class WorkbenchError(Exception):
    """A failure told in three parts: what happened, why, and what to do about it.

    `title` is one line; `message` names the file, line and field; `hint` is the way out. `fields` says of each setting
    that is wrong what is, in words that follow its name: so a form can show it where it is.
    """

    def __init__(
        self, title: str, message: str = "", hint: str = "", *, fields: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(title, message, hint)
        self.title = title
        self.message = message
        self.hint = hint
        self.fields = dict(fields or {})

    @classmethod
    def unforeseen(cls, name: str, error: Exception) -> WorkbenchError:
        """What to tell of another exception where nothing above would: the threads that have no caller."""
        return cls(f"{name} met an error that nobody foresaw", f"{type(error).__name__}: {error}", "Please report it.")

    @classmethod
    def out_of_memory(cls, error: BaseException) -> WorkbenchError | None:
        """What to tell of an error that a library raises where it gets no memory; None for any other."""
        text = str(error).lower()
        if not (
            isinstance(error, MemoryError)
            or type(error).__name__ == "OutOfMemoryError"
            or any(words in text for words in _NO_MEMORY)
        ):
            return None
        last = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "no message")
        hint = "End what else holds memory, or raise the limit of this shell: ulimit -v unlimited."
        return cls("Out of memory", f"{type(error).__name__}: {last}", hint)

    def __str__(self) -> str:
        return "\n".join(part for part in (self.title, self.message, self.hint) if part)
