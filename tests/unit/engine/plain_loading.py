"""Run as a program: loads model folders with transformers alone and prints what each makes of responses.

Reads {folder: [[turns, response], …]} from stdin; prints {folder: [[log-probability of a token, …], …]}.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def logprobs(model, tokenizer, turns, response):
    """Log-probabilities of the response's tokens, the end-of-turn included, in the model's own dtype."""
    prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    whole = tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": response}], tokenize=False)
    begun, ids = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, whole))
    begin = next((at for at, (one, other) in enumerate(zip(begun, ids, strict=False)) if one != other), len(begun))
    if not tokenizer.decode(ids).rstrip().endswith(tokenizer.eos_token):
        ids.append(tokenizer.eos_token_id)
    with torch.no_grad():
        found = torch.log_softmax(model(torch.tensor([ids])).logits[0, :-1].float(), dim=-1)
    return found.gather(-1, torch.tensor(ids[1:])[:, None])[begin - 1 :, 0].tolist()


def main():
    """What the module says."""
    told = {}
    for folder, rows in json.load(sys.stdin).items():
        model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
        told[folder] = [logprobs(model, tokenizer, turns, response) for turns, response in rows]
    print(json.dumps(told))


if __name__ == "__main__":
    main()
