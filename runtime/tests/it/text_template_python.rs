//! Templates return what Python's `transformers` returns. The right values were computed with
//! transformers 5.24 and jinja2 3.1.6 by `runtime/parity/compare.py`, which also says how to hold
//! whole published templates to them.
use hardtack::text::{ChatTemplate, Clock, Json, Message, RenderInput, TemplateError};
use serde_json::json;

/// One template a line, with the text that Python returns, or null where it refuses.
const LINES: &str = include_str!("text_template_python.jsonl");

fn clock() -> Clock {
    Clock::date(2026, 1, 2).and_then(|day| day.at(3, 4, 5)).unwrap()
}

fn render(source: &str, input: RenderInput<'_>) -> Result<String, TemplateError> {
    let rendered = ChatTemplate::new(source, "<s>", "</s>")?.render(&input.clock(clock()))?;
    Ok(rendered.text().to_owned())
}

#[test]
fn lines_give_what_python_gives() {
    let messages = [
        Message::new("system", "Be brief.\nAnswer in <b>English</b>."),
        Message::new("user", " Hello, what's 2+2? "),
    ];
    let mut wrong = Vec::new();
    let (mut equal, mut refused) = (0, 0);
    for line in LINES.lines() {
        let line: Json = serde_json::from_str(line).unwrap();
        let source = line["template"].as_str().unwrap();
        let found = render(source, RenderInput::new(&messages));
        match (line["right"].as_str(), &found) {
            (Some(right), Ok(text)) if right == text => equal += 1,
            (None, Err(error)) if !error.to_string().contains('\n') => refused += 1,
            (right, found) => wrong.push(format!("{source}\n  right {right:?}\n  found {found:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(equal >= 140 && refused >= 80, "{equal} equal, {refused} refused");
}

#[test]
fn tools_and_documents_are_none_and_not_undefined() {
    let source = "{% if tools is not none and tools|length > 0 %}TOOLS {% endif %}{% if documents is not none %}DOCUMENTS {% endif %}{{ messages[0].content }}";
    let messages = [Message::new("user", "hi")];
    assert_eq!(render(source, RenderInput::new(&messages)).unwrap(), "hi");
    let tools = [json!({"type": "function"})];
    assert_eq!(
        render(source, RenderInput::new(&messages).tools(&tools).documents(&tools)).unwrap(),
        "TOOLS DOCUMENTS hi"
    );
}

#[test]
fn the_date_is_there_without_asking() {
    let source = "{{- '<|im_start|>system\\nToday is ' + strftime_now('%Y-%m-%d') + '.' -}}";
    assert_eq!(
        render(source, RenderInput::new(&[])).unwrap(),
        "<|im_start|>system\nToday is 2026-01-02."
    );
    let now = ChatTemplate::new("{{ strftime_now('%Y') }}", "", "")
        .unwrap()
        .render(&RenderInput::new(&[]))
        .unwrap();
    assert!(now.text().parse::<u32>().is_ok_and(|year| year >= 2026), "{now}");
}

#[test]
fn what_is_never_reached_does_no_harm() {
    // As functionary's templates indent schemas, in a macro for tools only.
    let source = "{%- macro schema(depth) -%}{{ '  ' * depth }}{% include 'x' %}{%- endmacro -%}{% for m in messages %}{{ m.content }}{% endfor %}{% if tools %}{{ schema(2) }}{% endif %}";
    let messages = [Message::new("user", "hi")];
    assert_eq!(render(source, RenderInput::new(&messages)).unwrap(), "hi");
}

#[test]
fn variables_decide() {
    let source = "{{ bos_token }}{% if enable_thinking is defined and enable_thinking is false %}off{% else %}on{% endif %} {{ effort|default('medium') }}";
    let variables = json!({"enable_thinking": false, "effort": "high", "bos_token": "<b>"});
    let variables = variables.as_object().unwrap();
    assert_eq!(render(source, RenderInput::new(&[])).unwrap(), "<s>on medium");
    assert_eq!(render(source, RenderInput::new(&[]).variables(variables)).unwrap(), "<b>off high");
    let reserved = json!({"messages": []});
    let refused = render(source, RenderInput::new(&[]).variables(reserved.as_object().unwrap()));
    assert!(matches!(refused, Err(TemplateError::Input(_))), "{refused:?}");
}

#[test]
fn a_tool_call_is_written_as_python_writes_it() {
    let call = json!([{"id": "1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Köln", "days": 2, "sure": true, "unit": null, "scale": 1.5}}}]);
    let messages = [Message::new("assistant", Json::Null).with("tool_calls", call)];
    let source = "{% for call in messages[0].tool_calls %}{% set f = call.function %}{{ f.name }}({{ f.arguments | tojson }}){% for name, value in f.arguments | items %}{{ name }}={{ value if value is string else value | tojson }};{% endfor %}{{ f.arguments }}{% endfor %}{{ messages[0].content }}";
    assert_eq!(
        render(source, RenderInput::new(&messages)).unwrap(),
        "weather({\"city\": \"Köln\", \"days\": 2, \"sure\": true, \"unit\": null, \"scale\": 1.5})city=Köln;days=2;sure=true;unit=null;scale=1.5;{'city': 'Köln', 'days': 2, 'sure': True, 'unit': None, 'scale': 1.5}None"
    );
}

#[test]
fn what_other_engines_failed_at() {
    let schema = json!({"p": {"type": ["string", "null"], "x": 1, "y": 2}});
    let messages = [Message::new("user", "hi").with("schema", schema)];
    for (source, right) in [
        // A type that is a list, asked for in capitals (Gemma 4 with llama.cpp).
        (
            "{{ messages[0].schema.p.type | upper == 'STRING' }} {{ messages[0].schema.p.type | upper }}",
            "False ['STRING', 'NULL']",
        ),
        // `reject` with a test over the keys of a dictionary (Qwen3-Coder with llama.cpp).
        (
            "{%- for k in messages[0].schema.p.keys() | reject('in', ['type', 'x']) %}{{ k }}{%- endfor %}",
            "y",
        ),
        // A dictionary or a list as a condition, and one set to none (Llama 3.1 with mistral.rs).
        (
            "{%- if not tools is defined %}{%- set tools = none %}{%- endif %}{{ 'map' if messages[0].schema }}{{ tools is none }}",
            "mapTrue",
        ),
        // `rejectattr` without a test (Mistral Nemo with node-llama-cpp).
        ("{{ messages | rejectattr('tool_calls') | list | length }}", "1"),
        // SmolLM3's tag for training (minijinja).
        (
            "{% generation %}{{ messages[0].content.rstrip() ~ '<|im_end|>' }}{% endgeneration %}",
            "hi<|im_end|>",
        ),
        // Mistral Small 3's date (text-generation-inference, textgen).
        ("{%- set today = strftime_now(\"%Y-%m-%d\") %}{{ today }}", "2026-01-02"),
    ] {
        assert_eq!(render(source, RenderInput::new(&messages)).as_deref(), Ok(right), "{source}");
    }
}

#[test]
fn special_tokens_come_from_the_vocabulary() {
    use hardtack_format::vocabulary::{TextRules, TokenKind, Vocabulary, write};
    let tokens =
        [(TokenKind::Unknown, "<unk>"), (TokenKind::Control, "<s>"), (TokenKind::Control, "</s>")];
    let rules = TextRules { begin: Some(1), end: Some(2), ..TextRules::default() };
    let table = write(&rules, &tokens.map(|(kind, name)| (kind, name.as_bytes()))).unwrap();
    let vocabulary = Vocabulary::read(table).unwrap();
    let source = b"{{ bos_token }}{{ eos_token }}{{ unk_token + 'x' }}{{ pad_token is defined }}";
    let template = ChatTemplate::from_section(source, &vocabulary).unwrap();
    assert_eq!(template.render(&RenderInput::new(&[])).unwrap().text(), "<s></s><unk>xFalse");
    assert!(matches!(
        ChatTemplate::from_section(b"\xff", &vocabulary),
        Err(TemplateError::Syntax(_))
    ));
}
