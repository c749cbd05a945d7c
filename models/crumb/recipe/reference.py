"""Reference values by `transformers` for the tests: `python3 reference.py CHECKPOINT` writes reference.safetensors into it.

For i = 0, 1, 2: `prompt_i` int64 [tokens], `logits_i` float32 [tokens, vocabulary], `greedy_i` int64 [16], all in float32.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

PROMPTS = [
    ("The harbour", 5),
    ("In the winter of 1911 the expedition left the coast with forty dogs and", 17),
    ('"You cannot mean it," said the captain, and he looked at the map for a long time before he folded it. '
     "Nobody on deck spoke.", 32),
]
GREEDY = 16


@torch.no_grad()
def main() -> None:
    folder = Path(sys.argv[1])
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    values = {}
    for index, (text, length) in enumerate(PROMPTS):
        ids = [0, *tokenizer.encode(text).ids][:length]
        values[f"prompt_{index}"] = torch.tensor(ids)
        values[f"logits_{index}"] = model(torch.tensor([ids])).logits[0].contiguous()
        for _ in range(GREEDY):
            ids.append(model(torch.tensor([ids])).logits[0, -1].argmax().item())
        values[f"greedy_{index}"] = torch.tensor(ids[-GREEDY:])
        print(repr(tokenizer.decode(ids)))
    save_file(values, folder / "reference.safetensors")


if __name__ == "__main__":
    main()
