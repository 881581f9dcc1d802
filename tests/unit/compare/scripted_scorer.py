"""Speaks the scorer's protocol without a model, and misbehaves on request: run as a child by test_client.py."""

import json
import os
import sys
import time


def say(**reply: object) -> None:
    print(json.dumps(reply), flush=True)


def generated(request: dict[str, object]) -> None:
    for number in range(3):
        say(kind="chunk", id=request["id"], column=0, text=f"{number} ")
    say(kind="generated", id=request["id"], columns=[{"name": "base", "text": "0 1 2 ", "tokens": 3, "ended": True}])


def main() -> None:
    mode = sys.argv[1]
    if mode == "dies at once":
        print("ImportError: no such library", file=sys.stderr)
        sys.exit(3)
    if mode == "refuses":
        say(kind="refused", id=0, title="No such model", message="m is not there.", hint="Name another.")
        sys.exit(1)
    say(kind="ready", model="m", quantization="nf4", device="cpu", parameters=1, seconds=0.1)
    for line in sys.stdin:
        request = json.loads(line)
        prompt = request.get("prompt")
        if request["op"] == "cancel":
            say(kind="cancelled", id=request["id"])
            print(f"cancelled {request['id']}", file=sys.stderr, flush=True)
        elif prompt == "die":
            print("Loading:  10%\rLoading: 100%\rlast words", file=sys.stderr, flush=True)
            os._exit(9)
        elif prompt == "be silent":
            continue
        elif prompt == "chatter":
            sys.stderr.write("x" * 70 + "\n" * 1 + ("y" * 99 + "\n") * 20000)
            sys.stderr.flush()
            print("not JSON at all", flush=True)
            generated(request)
        elif prompt == "long":
            say(
                kind="generated",
                id=request["id"],
                columns=[{"name": "b", "text": "é" * 500_000, "tokens": 1, "ended": True}],
            )
        elif prompt == "refuse":
            say(kind="refused", id=request["id"], title="No adapter there", message="It is not.", hint="Wait.")
        elif prompt == "be slow":
            time.sleep(0.2)
            generated(request)
        else:
            generated(request)


if __name__ == "__main__":
    main()
