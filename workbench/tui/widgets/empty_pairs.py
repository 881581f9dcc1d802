"""What the Pairs screen says while there is nothing to show."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Center, Middle
from textual.content import Content
from textual.widgets import Static

from workbench.text import one_line


class EmptyPairs(Middle):
    """Says what to do next."""

    DEFAULT_CSS = "EmptyPairs Static { width: auto; max-width: 90%; }"

    def compose(self) -> ComposeResult:
        """A few lines in the middle."""
        with Center():
            yield Static("", markup=False)

    def show_no_data(self, folder: str) -> None:
        """There is no data set in the workspace."""
        self._show(
            (f"No preference pairs in {one_line(folder)} yet", "bold $foreground"),
            ("", ""),
            (
                "i  brings in a file (JSONL, JSON, CSV, Parquet). From the command line, or from Hugging Face:",
                "$secondary",
            ),
            ("    workbench import FILE|HUB_ID --name NAME", "$accent"),
            ("", ""),
            ("Or see the whole loop on the embedded model first:", "$secondary"),
            ("    workbench demo", "$accent"),
            ("", ""),
            ("They appear here as soon as they are there.", "$secondary"),
        )

    def show_no_pairs(self, name: str) -> None:
        """The data set has no pairs."""
        self._show(
            (f"{one_line(name)} has no pairs yet", "bold $foreground"),
            ("", ""),
            ("n  writes the first one", "$secondary"),
            ("i  brings some in from a file", "$secondary"),
            ("d  opens another data set", "$secondary"),
        )

    def show_reading(self, name: str) -> None:
        """The data set is being read."""
        self._show((f"Reading {one_line(name)} …", "$secondary"))

    def show_unread(self) -> None:
        """No data set could be read."""
        self._show(("Nothing is open", "bold $foreground"), ("", ""), ("d  opens a data set", "$secondary"))

    def _show(self, *lines: tuple[str, str]) -> None:
        text = Content("\n").join(Content.styled(text, style) for text, style in lines)
        self.query_one(Static).update(text)
