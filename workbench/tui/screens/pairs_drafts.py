"""The part of the Pairs screen that has a model draft answers, so that pairs are on-policy."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.tui.background import background
from workbench.tui.screens.pairs_edit import PairsEditing, plural

if TYPE_CHECKING:
    from workbench.compare.ranking import Made
    from workbench.compare.tuned_runs import Drafter


class PairsDrafts(PairsEditing):
    """The prompt of the pair under the cursor, answered by the scorer that the screens share."""

    @background("dialog", doing="drafting answers", opens=True)
    async def action_draft(self) -> None:
        """Has a model answer the prompt of the pair under the cursor; ranked answers make pairs."""
        from workbench.tui.dialogs.draft import DraftDialog

        store, pair = self.store, self.pair
        if store is None or pair is None:
            return
        drafters = await asyncio.to_thread(self._drafters)
        dialog = DraftDialog(pair, drafters, self.workbench.scorers.of, slow=self.workbench.slow)
        made = await self.app.push_screen_wait(dialog)
        if made is not None and store is self.store:
            self._keep(pair.id, made)

    def _drafters(self) -> Sequence[Drafter]:
        from workbench.compare.tuned_runs import drafters, tuned_runs
        from workbench.runs.catalog import Catalog

        return drafters(tuned_runs(Catalog(self.workbench.workspace.runs).summaries()))

    def _keep(self, identity: str, made: Made) -> None:
        """Saves what was made. Raises `WorkbenchError` where the data set cannot be written to."""
        from workbench.compare.ranking import save

        store = self.store
        if store is None or store.row(identity) is None:
            self.workbench.tell("The pair is not there any more: nothing was saved.")
            return
        save(store, identity, made)
        if made.new:
            self.changed(made.new[0].id, other_rows=True)
            self.workbench.tell(f"{plural(len(made.new))} added below. u takes it back.")
        else:
            self.changed(identity, texts=True)
            self.workbench.tell("This pair has a drafted answer now. u takes it back.")
