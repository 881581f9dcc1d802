"""The worker: trains the run whose folder it is given. Started as `python -m workbench.engine.train RUN_DIR`."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from workbench.config import RunConfig
from workbench.errors import WorkbenchError
from workbench.runs.events import Event, Failed
from workbench.runs.folder import RunFolder
from workbench.runs.process import ENVIRONMENT, record, worker_pid
from workbench.runs.state import TERMINAL
from workbench.runs.writer import EventWriter


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains a run. Exit status: 0 finished or stopped, 1 failed, 2 wrong usage or a run that cannot be trained."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1:
        print("usage: python -m workbench.engine.train RUN_DIR", file=sys.stderr)
        return 2
    folder = RunFolder(Path(arguments[0]).resolve())
    try:
        _claim(folder)
    except WorkbenchError as error:
        print(error, file=sys.stderr)
        return 2
    with EventWriter(folder.events) as events:
        events.phase("starting")
        end = _train(folder, events)
        events.write(end)
    return 1 if isinstance(end, Failed) else 0


def _claim(folder: RunFolder) -> None:
    """Makes this process the run's worker; raises `WorkbenchError` where the run has ended or has another."""
    if not folder.run_toml.is_file():
        raise WorkbenchError("Not a run", f"{folder.path} has no run.toml.", "Start runs with: workbench train")
    if folder.state().status in TERMINAL:
        raise WorkbenchError("The run has ended", f"{folder.id} has a last event.", "Start a new run.")
    if worker_pid(folder) not in (None, os.getpid()):
        raise WorkbenchError("The run has a worker already", f"{folder.id} is running.", "Stop it first.")
    record(folder, os.getpid())
    faulthandler.enable()
    # It reports the want of an optional kernel as if something had failed.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: folder.stop.touch())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _train(folder: RunFolder, events: EventWriter) -> Event:
    """The run's last event. Whatever goes wrong is told in it, and with its traceback in the log."""
    config: RunConfig | None = None
    try:
        # The libraries take seconds to import, and may fail to.
        from workbench.engine.job import train

        asked = folder.record()
        config = asked.config
        return train(folder, asked, events)
    except WorkbenchError as error:
        traceback.print_exc()
        return Failed(time=time.time(), title=error.title, message=error.message, hint=error.hint)
    except Exception as error:
        traceback.print_exc()
        if config is not None and _out_of_memory(error):
            return Failed(time=time.time(), title="Out of memory", message=_last_line(error), hint=_smaller(config))
        message = f"{type(error).__name__}: {_last_line(error)}"
        return Failed(
            time=time.time(),
            title="The worker met an error",
            message=message,
            hint=f"See the log: workbench logs {folder.id}",
        )


def _out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    told = "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or told


def _smaller(config: RunConfig) -> str:
    """Settings that need less memory, the least costly first."""
    parts = [n for n in range(config.gradient_accumulation + 1, config.batch_size + 1) if config.batch_size % n == 0]
    advice = []
    if parts:
        fitting = next((n for n in parts if n >= 2 * config.gradient_accumulation), parts[-1])
        advice.append(f"gradient_accumulation={fitting}")
    if config.quantization != "nf4":
        advice.append("quantization=nf4")
    if config.max_length > 256:
        advice.append(f"max_length={config.max_length // 2}")
    return "Try --set " + ", then --set ".join(advice) + "." if advice else "Use a smaller model."


def _last_line(error: Exception) -> str:
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "no message")


if __name__ == "__main__":
    sys.exit(main())
