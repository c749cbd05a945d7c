"""Texts to calibrate and distil on: articles, novels, and chats that the dense model answers itself; nothing under test."""

import json
import random
import re

import numpy as np
import torch

SEPARATOR = "<|endoftext|>"
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
SUBJECTS = (
    "volcanoes", "the water cycle", "photosynthesis", "gravity", "a thunderstorm", "honey bees", "the Roman Empire",
    "a lighthouse", "chess", "bread", "coffee", "the moon", "a steam engine", "recycling", "a bicycle", "tides", "dreams",
    "music", "a garden in spring", "friendship", "computers", "the internet", "vaccines", "a library", "money", "maps",
    "dinosaurs", "earthquakes", "the human heart", "plastic", "rainbows", "snow", "trains", "democracy", "a good night's sleep",
    "whales", "the desert", "electric cars", "painting", "time zones", "cats", "a small village", "rivers", "soap", "glass",
)  # fmt: skip
FORMS = (
    "Explain {} to a child.",
    "Write three sentences about {}.",
    "Give me a short list of facts about {}.",
    "Write a short poem about {}.",
    "Tell me a short story about {}.",
    "Why does {} matter to people?",
    "What should a beginner know about {}?",
    "Write a polite email that asks a teacher about {}.",
)
PLAIN = (
    "Hello!", "Who are you?", "What can you do?", "Thank you very much.", "Good morning, how are you?",
    "How do I boil an egg?", "Give me a recipe for pancakes.", "Suggest a name for a dog.", "How can I learn faster?",
    "Write a Python function that adds two numbers.", "What is the difference between weather and climate?",
    "Translate 'good night' into Spanish.", "Name five countries in Africa.", "List the days of the week.",
    "Plan a day in Paris.", "How do I stay calm before an exam?", "What is a prime number?", "Summarize the story of Cinderella.",
    "Rewrite this more politely: send me the file now.", "Fix the grammar: he go to school every days.",
)  # fmt: skip


def test_titles(path):
    """Titles of the articles in the WikiText-2 test: lines such as ` = Title = `."""
    with open(path, encoding="utf-8") as text:
        return {match.group(1) for line in text if (match := re.fullmatch(r"\s*= ([^=]+?) =\s*", line))}


def plain_title(title):
    """A title without WikiText's spaces, so that it compares with other texts' titles."""
    return re.sub(r"[^a-z0-9]", "", title.replace("@-@", "-").lower())


def articles(path, excluded, bytes_read, seed):
    """The documents of the first part of a file, shuffled, without those whose first line is an excluded title."""
    with open(path, "rb") as file:
        text = file.read(bytes_read).decode("utf-8", errors="ignore")
    excluded = {plain_title(title) for title in excluded}
    documents = [document.strip() for document in text.split(SEPARATOR)]
    kept = [document for document in documents if document and plain_title(document.split("\n", 1)[0]) not in excluded]
    random.Random(seed).shuffle(kept)
    return kept


def windows(documents, tokenizer, count, length, end):
    """`count` windows of `length` tokens: documents one after another, the end token between them."""
    needed = count * length
    tokens = []
    for document in documents:
        # A document of many windows would crowd out the others.
        tokens += tokenizer.encode(document[: 8 * length], add_special_tokens=False).ids + [end]
        if len(tokens) >= needed:
            return np.array(tokens[:needed], dtype=np.uint16).reshape(count, length)
    raise SystemExit(f"the text has {len(tokens)} tokens, {needed} are needed")


def long_pieces(documents, characters):
    """Novels cut into pieces."""
    pieces = [text[at : at + characters] for text in documents for at in range(0, len(text), characters)]
    random.Random(1).shuffle(pieces)
    return pieces


def prompts(train_files, count, seed):
    """Plain prompts and questions of training sets (`.jsonl` with `question`, `.json` with `instruction`)."""
    plain = list(PLAIN) + [form.format(subject) for subject in SUBJECTS for form in FORMS]
    random.Random(seed).shuffle(plain)
    lists = [plain]
    for path in train_files:
        with open(path, encoding="utf-8") as file:
            if str(path).endswith(".jsonl"):
                questions = [json.loads(line)["question"] for line in file]
            else:
                questions = [entry["instruction"] for entry in json.load(file)]
        random.Random(seed).shuffle(questions)
        lists.append(questions)
    mixed = []
    while len(mixed) < count and any(lists):
        mixed += [questions.pop() for questions in lists if questions]
    return mixed[:count]


def chat(prompt):
    """A prompt in the model's chat template, up to where the answer begins."""
    return (
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
    )


@torch.no_grad()
def answers(model, tokenizer, prompts, new_tokens, temperature, end, seed, batch=48):
    """What the dense model answers: one list of tokens for each prompt, the prompt's own included."""
    torch.manual_seed(seed)
    encoded = [tokenizer.encode(chat(prompt), add_special_tokens=False).ids for prompt in prompts]
    encoded = sorted((tokens for tokens in encoded if len(tokens) <= 256), key=len)
    results = []
    for start in range(0, len(encoded), batch):
        group = encoded[start : start + batch]
        width = max(map(len, group))
        padded = torch.full((len(group), width), end)
        mask = torch.zeros(len(group), width, dtype=torch.long)
        for row, tokens in enumerate(group):
            padded[row, width - len(tokens) :] = torch.tensor(tokens)
            mask[row, width - len(tokens) :] = 1
        made = model.generate(
            padded,
            attention_mask=mask,
            max_new_tokens=new_tokens,
            do_sample=temperature > 0,
            temperature=temperature or None,
            top_k=0 if temperature else None,
            pad_token_id=0,
            eos_token_id=end,
        )
        for tokens, row in zip(group, made[:, width:].tolist(), strict=True):
            answer = row[: row.index(end) + 1] if end in row else row
            results.append(tokens + answer + tokenizer.encode("\n").ids)
        print(f"answers: {len(results)} of {len(encoded)}", flush=True)
    return results


def packed(sequences, length, seed):
    """Sequences one after another in windows of `length` tokens."""
    random.Random(seed).shuffle(sequences)
    tokens = [token for sequence in sequences for token in sequence]
    count = len(tokens) // length
    return np.array(tokens[: count * length], dtype=np.uint16).reshape(count, length)
