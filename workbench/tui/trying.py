"""Tries a run in a process of its own and tells, again and again, all that is known of it by then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from workbench.config import RunConfig
from workbench.launch import prepare
from workbench.runs import measuring
from workbench.runs.preview import Doing, Preview, Unmeasured, begin, decode
from workbench.workspace import Workspace

PAUSE = 1.2
"""Seconds without a change after which the process is started: it takes seconds of a core to begin with."""


async def previews(workspace: Workspace, config: RunConfig) -> AsyncGenerator[Preview, None]:
    """The preview as it grows: arithmetic at once, then counts, then measured steps.

    The process ends with the iteration, however that ends: close it, or cancel the task that is in it. Raises
    `WorkbenchError` where something that the config names is not there.
    """
    config, _ = await asyncio.to_thread(prepare, workspace, config)
    preview = await asyncio.to_thread(begin, workspace.runs, config)
    yield preview
    await asyncio.sleep(PAUSE)
    yield (preview := preview.after(Doing("counting tokens")))
    process = await asyncio.create_subprocess_exec(
        *measuring.command(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=measuring.environment(),
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(measuring.question(workspace.root, config))
        process.stdin.close()
        async for line in process.stdout:
            told = decode(line.decode("utf-8", "replace"))
            if told is not None:
                yield (preview := preview.after(told))
        if await process.wait():
            yield preview.after(Unmeasured("The measuring process ended early; see workbench train --dry-run."))
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
