"""Holds the rendering of chat templates to that of Python's transformers, and writes a table of what is equal.

    pip install transformers jinja2
    cargo build -p hardtack --example render_template
    python runtime/parity/compare.py target/debug/examples/render_template FOLDER [FOLDER ...] > table.md
    python runtime/parity/compare.py target/debug/examples/render_template --expressions runtime/parity/expressions.txt
    ... --expressions runtime/parity/expressions.txt runtime/tests/it/text_template_python.jsonl   # writes the right values

A folder holds templates: `*.jinja` files, and `tokenizer_config.json` files whose `chat_template` is a text or a list.
The folder's name is the source that the table shows. Expressions are lines of templates, rendered with two messages.
The last lines on stderr list every case that differs, with both results.
"""

import datetime
import json
import pathlib
import subprocess
import sys

from transformers.utils import chat_template_utils

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)


class Clock(datetime.datetime):
    """The clock that the Rust side has."""

    @classmethod
    def now(cls, tz=None):
        return NOW


chat_template_utils.datetime = Clock

SYSTEM = {"role": "system", "content": "Be brief.\nAnswer in <b>English</b>."}
HELLO = {"role": "user", "content": " Hello, what's 2+2? "}
FOUR = {"role": "assistant", "content": "It's 4."}
WHY = {"role": "user", "content": "Why? \u4f60\u597d \"quoted\""}
THOUGHT = {"role": "assistant", "content": "It's 4.", "reasoning_content": "Two and two.", "thinking": "Two and two."}
INLINE = {"role": "assistant", "content": "<think>\nTwo and two.\n</think>\n\nIt's 4."}
PARTS = {"role": "user", "content": [{"type": "text", "text": "Part one."}, {"type": "text", "text": " Part two."}]}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {
            "id": "call00001",
            "type": "function",
            "function": {"name": "weather", "arguments": {"city": "K\u00f6ln", "days": 2, "exact": True}},
        }
    ],
}
TEXT_CALL = {
    "role": "assistant",
    "tool_calls": [
        {"id": "call00001", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}
    ],
}
TWO_CALLS = {"role": "assistant", "content": "Let me see.", "tool_calls": CALL["tool_calls"] * 2}
RESULT = {"role": "tool", "tool_call_id": "call00001", "name": "weather", "content": '{"sky": "grey", "degrees": 7.5}'}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city's next days",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Where"},
                    "days": {"type": "integer", "description": "How many", "default": 1},
                    "exact": {"type": "boolean"},
                    "unit": {"type": "string", "enum": ["C", "F"]},
                },
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "noop", "description": "", "parameters": {"type": "object", "properties": {}}}},
]
CASES = {
    "one turn": dict(messages=[HELLO]),
    "one turn, no prompt": dict(messages=[HELLO, FOUR], add_generation_prompt=False),
    "system": dict(messages=[SYSTEM, HELLO]),
    "two turns": dict(messages=[SYSTEM, HELLO, FOUR, WHY]),
    "two turns, no system": dict(messages=[HELLO, FOUR, WHY]),
    "thoughts": dict(messages=[HELLO, THOUGHT, WHY]),
    "thoughts last": dict(messages=[SYSTEM, HELLO, THOUGHT], add_generation_prompt=False),
    "thoughts inline": dict(messages=[HELLO, INLINE, WHY]),
    "thinking off": dict(messages=[SYSTEM, HELLO], variables=dict(enable_thinking=False, thinking=False)),
    "thinking on": dict(messages=[HELLO], variables=dict(enable_thinking=True, thinking=True, reasoning_effort="high")),
    "parts": dict(messages=[PARTS]),
    "tools": dict(messages=[HELLO], tools=TOOLS),
    "tools, system": dict(messages=[SYSTEM, HELLO], tools=TOOLS),
    "tool call": dict(messages=[SYSTEM, HELLO, CALL, RESULT], tools=TOOLS),
    "tool call, answered": dict(messages=[HELLO, CALL, RESULT, FOUR, WHY], tools=TOOLS),
    "tool call, no tools": dict(messages=[HELLO, CALL, RESULT]),
    "no alternation": dict(messages=[HELLO, WHY]),
    "no messages": dict(messages=[]),
    "arguments as text": dict(messages=[HELLO, TEXT_CALL, RESULT], tools=TOOLS),
    "call without content": dict(messages=[HELLO, {**CALL, "content": None}, RESULT, FOUR], tools=TOOLS, add_generation_prompt=False),
    "thoughts with a call": dict(messages=[HELLO, {**THOUGHT, **CALL}, RESULT], tools=TOOLS),
    "two calls": dict(messages=[HELLO, TWO_CALLS, RESULT, RESULT], tools=TOOLS),
    "developer": dict(messages=[{"role": "developer", "content": "Be brief."}, HELLO]),
    "two systems": dict(messages=[SYSTEM, SYSTEM, HELLO]),
    "empty texts": dict(messages=[{"role": "user", "content": ""}, {"role": "assistant", "content": ""}, HELLO]),
    "names": dict(messages=[{**HELLO, "name": "Ada"}, FOUR, {**WHY, "name": "Bob"}]),
    "documents": dict(messages=[HELLO], documents=[{"title": "Sums", "text": "2+2=4"}]),
}


def reference(case):
    """What transformers renders: text, or none and its error."""
    try:
        compiled = chat_template_utils._compile_jinja_template(case["template"])
        text = compiled.render(
            messages=case["messages"],
            tools=case.get("tools"),
            documents=case.get("documents"),
            add_generation_prompt=case.get("add_generation_prompt", True),
            **{"bos_token": case["bos_token"], "eos_token": case["eos_token"], **case.get("variables", {})},
        )
        return text, None
    except Exception as error:  # Whatever a template raises is a refusal.
        return None, f"{type(error).__name__}: {error}"


def ours(program, cases):
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run([program], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    answers = [json.loads(line) for line in done.stdout.decode().split("\n") if line]
    assert len(answers) == len(cases), f"{len(cases)} cases, {len(answers)} answers"
    return [(answer.get("text"), answer.get("error")) for answer in answers]


def token(config, name):
    value = config.get(name) or ""
    return value.get("content", "") if isinstance(value, dict) else value


def templates(folder):
    """(source, name, template, begin token, end token) of whatever stands in a folder."""
    folder = pathlib.Path(folder)
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".jinja":
            yield folder.name, path.stem, path.read_text(), "<s>", "</s>"
        elif path.name.endswith("tokenizer_config.json"):
            config = json.loads(path.read_text())
            found = config.get("chat_template")
            for entry in found if isinstance(found, list) else [{"name": "", "template": found}]:
                if entry["template"]:
                    name = "-".join(part for part in (path.parent.name, entry["name"]) if part)
                    yield folder.name, name, entry["template"], token(config, "bos_token"), token(config, "eos_token")


def verdict(right, found):
    if right[0] is None and found[0] is None:
        return "refused"
    return "equal" if right[0] == found[0] else "differs"


def show(name, right, found):
    print(f"--- {name}", file=sys.stderr)
    print(f"    right: {right[0]!r} {right[1] or ''}"[:1500], file=sys.stderr)
    print(f"    found: {found[0]!r} {found[1] or ''}"[:1500], file=sys.stderr)


def compare_templates(program, folders):
    seen, rows, cases = set(), [], []
    for source, name, template, begin, end in (found for folder in folders for found in templates(folder)):
        if template in seen:
            continue
        seen.add(template)
        rows.append((source, name))
        for title, case in CASES.items():
            cases.append({"template": template, "bos_token": begin, "eos_token": end, "title": title, **case})
    answers = ours(program, cases)
    rights = [reference(case) for case in cases]
    totals = dict(equal=0, refused=0, differs=0)
    print("| template | source | equal | refused by both | differ |\n|---|---|---|---|---|")
    for index, (source, name) in enumerate(rows):
        counts = dict(equal=0, refused=0, differs=0)
        for at in range(index * len(CASES), (index + 1) * len(CASES)):
            kind = verdict(rights[at], answers[at])
            counts[kind] += 1
            if kind == "differs":
                show(f"{source}/{name}, {cases[at]['title']}", rights[at], answers[at])
        print(f"| {name} | {source} | {counts['equal']} | {counts['refused']} | {counts['differs']} |")
        for kind, count in counts.items():
            totals[kind] += count
    print(f"| **{len(rows)} templates** | {len(cases)} cases | {totals['equal']} | {totals['refused']} | {totals['differs']} |")
    return totals["differs"]


def compare_expressions(program, file, written=None):
    lines = pathlib.Path(file).read_text().split("\n")
    cases = [
        {"template": line.replace("\\n", "\n"), "messages": [SYSTEM, HELLO], "bos_token": "<s>", "eos_token": "</s>"}
        for line in lines
        if line and not line.startswith("#")
    ]
    totals = dict(equal=0, refused=0, differs=0)
    rights = [reference(case) for case in cases]
    for case, right, found in zip(cases, rights, ours(program, cases)):
        kind = verdict(right, found)
        totals[kind] += 1
        if kind == "differs":
            show(case["template"], right, found)
    if written:
        lines = [json.dumps({"template": case["template"], "right": right[0]}) for case, right in zip(cases, rights)]
        pathlib.Path(written).write_text("\n".join(lines) + "\n")
    print(totals)
    return totals["differs"]


if __name__ == "__main__":
    program, *rest = sys.argv[1:]
    if rest[0] == "--expressions":
        sys.exit(1 if compare_expressions(program, *rest[1:]) else 0)
    sys.exit(1 if compare_templates(program, rest) else 0)
