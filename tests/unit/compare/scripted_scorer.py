"""Speaks the scorer's protocol without a model, and misbehaves on request: run as a child by test_client.py."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def say(**reply: object) -> None:
    print(json.dumps(reply), flush=True)


def generated(request: dict[str, object]) -> None:
    for number in range(3):
        say(kind="chunk", id=request["id"], column=0, text=f"{number} ")
    say(kind="generated", id=request["id"], columns=[{"name": "base", "text": "0 1 2 ", "tokens": 3, "ended": True}])


def scored(request: dict[str, Any]) -> None:
    """Every word is a token, which a column gives half a nat less than the column before."""
    words = str(request["response"]).split()
    columns = []
    for number, column in enumerate(request["columns"]):
        logprob = -0.5 * (number + 1)
        tokens = [{"id": at, "text": word, "logprob": logprob, "rank": 1, "top": []} for at, word in enumerate(words)]
        total = logprob * len(words)
        columns.append({"name": column["name"], "sum": total, "mean": logprob, "probability": 0.5, "tokens": tokens})
    say(kind="scored", id=request["id"], columns=columns)


def distribution(request: dict[str, Any]) -> None:
    count = len(request["columns"])
    tokens = [{"token": number, "text": text, "logprobs": [-1.0] * count} for number, text in enumerate(("Yes", "No"))]
    forced = [{"id": 9, "text": request["prefix"]}] if request.get("prefix") else []
    spread = {"entropy": [0.5] * count, "kl": [0.0] * count, "prompt_tokens": [3] * count}
    say(kind="distribution", id=request["id"], candidates=tokens, forced=forced, **spread)


def spoken(request: dict[str, Any]) -> None:
    """Every column says its name, and the temperature and the seed; samples come with seed 0 alone."""
    if request["samples"] > 1 and request["seed"]:
        return
    answers = []
    for number, column in enumerate(request["columns"]):
        for sample in range(request["samples"]):
            text = f"{column['name']} {request['temperature']} {request['seed']}"
            say(kind="chunk", id=request["id"], column=number, text=text, sample=sample)
            answers.append({"name": column["name"], "text": text, "tokens": 3, "ended": True, "sample": sample})
    say(kind="generated", id=request["id"], columns=answers)


def pairs(request: dict[str, Any]) -> None:
    """Scores five pairs, id0 with a problem, in two parts; of data sets named half only the first comes."""
    name = Path(request["path"]).name
    if name == "refused.jsonl":
        say(kind="refused", id=request["id"], title="No adapter there", message="It is not.", hint="Wait.")
        return
    margins = {"id1": (1, 0, 4), "id2": (2, 4, 3), "id3": (3, 1, 2), "id4": (4, 3, 1)}
    rejected = [{"sum": -9.0, "tokens": 3}] * 3
    rows = [
        {"pair": pair, "chosen": [{"sum": margin - 9.0, "tokens": 3} for margin in each], "rejected": rejected}
        for pair, each in margins.items()
    ]
    say(kind="pair_batch", id=request["id"], rows=rows[:2], done=2, total=5)
    if name != "half.jsonl":
        problem = {"pair": "id0", "problem": "It is too long."}
        say(kind="pair_batch", id=request["id"], rows=[*rows[2:], problem], done=5, total=5)
        say(kind="pairs_scored", id=request["id"], total=5, problems=1, cached=0, computed=24, seconds=0.1)


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
        elif mode == "plays along":
            match request["op"]:
                case "score":
                    scored(request)
                case "behaviours":
                    kinds = [answer["kind"] or "no kind" for answer in request["answers"]]
                    shows = [[*request["known"]["by_name"], kind] for kind in kinds]
                    say(kind="behaviours_told", id=request["id"], shows=shows)
                case "pairs":
                    pairs(request)
                case "generate":
                    spoken(request)
                case _:
                    distribution(request)
        else:
            generated(request)


if __name__ == "__main__":
    main()
