"""The scorer's process: `python -m workbench.engine.score --model M --quantization nf4`.

One request a line comes in, replies go out on the original stdout and nothing else does (see `compare.messages`).
While a generation runs, other requests are answered between its tokens. It ends when its stdin does, so that it does
not outlive its parent.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

from workbench.child import claim_stdout
from workbench.console import guarded
from workbench.engine.libraries import quick_imports, quiet_libraries

if TYPE_CHECKING:
    from pydantic import BaseModel

    from workbench.engine.scoring.server import Inbox

_PARENT_CHECK = 0.2
"""Seconds between two looks at whether the parent still lives, once stdin has ended."""


def main() -> None:
    """Loads the model and answers requests until stdin ends. Exit status 1: the model could not be loaded."""
    replies = claim_stdout()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--quantization", choices=["nf4", "int8", "none"], default="nf4")
    parser.add_argument("--chat-template", default="", help="a template itself, in the place of the model's own")
    parser.add_argument("--trust-remote-code", action="store_true", help="Python that comes with the model may run")
    parser.add_argument("--allow-pickle", action="store_true", help="weights may be a pickle")
    options = parser.parse_args()
    inbox: Inbox = SimpleQueue()
    threading.Thread(target=_read, args=(inbox, os.getppid()), daemon=True).start()

    started = time.monotonic()
    quiet_libraries()
    from workbench.compare.messages import Ready, Refused
    from workbench.errors import WorkbenchError
    from workbench.models import resolve
    from workbench.runs.beside_run import cpu_instead
    from workbench.trust import Trust

    def send(reply: BaseModel) -> None:
        replies.write(reply.model_dump_json() + "\n")
        replies.flush()

    try:
        resolve(options.model)  # What is no model is told before torch is imported, which takes seconds.
        with quick_imports():
            from workbench.engine.model.inference import fitting_threads
            from workbench.engine.scoring.scorer import Scorer
            from workbench.engine.scoring.server import Server
        trust = Trust(options.trust_remote_code, options.allow_pickle)
        slower_because = cpu_instead(options.model, options.quantization)
        scorer = Scorer(
            options.model,
            options.quantization,
            "cpu" if slower_because else None,
            chat_template=options.chat_template,
            trust=trust,
        )
    except WorkbenchError as error:
        send(Refused(id=0, title=error.title, message=error.message, hint=error.hint))
        sys.exit(1)
    with fitting_threads(scorer.adapters.model):
        server = Server(scorer, inbox, send)
        server.warm_up()
        ready = Ready(
            model=options.model,
            quantization=options.quantization,
            device=scorer.device,
            parameters=scorer.parameters,
            seconds=time.monotonic() - started,
            slower_because=slower_because,
        )
        try:
            send(ready)
            server.run()
        except BrokenPipeError:
            os._exit(0)  # nobody listens any more; a normal exit would try to flush the pipe


def _read(inbox: Inbox, parent: int) -> None:
    """Puts requests into the inbox as they come, then None; ends the process once the parent is gone."""
    from pydantic import ValidationError

    from workbench.compare.messages import REQUESTS, Refused

    for line in sys.stdin.buffer:
        if not line.strip():
            continue
        try:
            inbox.put(REQUESTS.validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            message = f"{'.'.join(map(str, first['loc'])) or 'line'}: {first['msg']}."
            hint = "workbench/compare/messages.py has the protocol."
            inbox.put(Refused(id=_id_in(line), title="Not a request", message=message, hint=hint))
    inbox.put(None)
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK)
    os._exit(0)


def _id_in(line: bytes) -> int:
    """The id of a line that is no request, so that who sent it hears of it; 0 where it has none."""
    try:
        identity = json.loads(line)["id"]
    except (ValueError, TypeError, KeyError):
        return 0
    return identity if isinstance(identity, int) else 0


if __name__ == "__main__":
    with guarded():
        main()
