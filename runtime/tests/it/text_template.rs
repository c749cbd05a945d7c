//! Chat templates: those of well-known models return what Python's Jinja returns, and hostile ones
//! stop early.
use std::time::{Duration, Instant};

use hardtack::text::{
    ChatTemplate, Clock, Json, Message, RenderInput, RenderLimits, TemplateError, parse_variable,
};

const SMOLLM2: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

const LLAMA3: &str = "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";

const MISTRAL: &str = "{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('After the optional system message, conversation roles must alternate user/assistant') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {%- if loop.first and system_message is defined %}
            {{- ' [INST] ' + system_message + '\\n\\n' + message['content'] + ' [/INST]' }}
        {%- else %}
            {{- ' [INST] ' + message['content'] + ' [/INST]' }}
        {%- endif %}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'] + eos_token}}
    {%- endif %}
{%- endfor %}
";

const QWEN3: &str = "{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == \"user\" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == \"user\") or (message.role == \"system\" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == \"assistant\" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or reasoning_content) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}";

fn conversation() -> Vec<Message> {
    [
        ("system", "Be brief."),
        ("user", " Hello "),
        ("assistant", "<think>\nhm\n</think>\n\nHi!"),
        ("user", "1+1?"),
        ("assistant", "<think>\neasy\n</think>\n\n2"),
    ]
    .map(|(role, content)| Message::new(role, content))
    .to_vec()
}

fn render(source: &str, messages: &[Message]) -> Result<String, TemplateError> {
    let rendered = ChatTemplate::new(source, "<s>", "</s>")?.render(&RenderInput::new(messages))?;
    Ok(rendered.text().to_owned())
}

#[test]
fn smollm2_adds_its_system_message() {
    let user = [Message::new("user", "Hi")];
    assert_eq!(
        render(SMOLLM2, &user).unwrap(),
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    );
    let template = ChatTemplate::new(SMOLLM2, "", "").unwrap();
    let text =
        template.render(&RenderInput::new(&conversation()[..2]).generation_prompt(false)).unwrap();
    assert_eq!(
        text.text(),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hello <|im_end|>\n"
    );
}

#[test]
fn llama3_trims_and_begins() {
    assert_eq!(
        render(LLAMA3, &conversation()[..2]).unwrap(),
        "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    );
}

#[test]
fn mistral_refuses_turns_that_do_not_alternate() {
    assert_eq!(
        render(MISTRAL, &conversation()[..4]).unwrap(),
        "<s> [INST] Be brief.\n\n Hello  [/INST] <think>\nhm\n</think>\n\nHi!</s> [INST] 1+1? [/INST]"
    );
    let twice = [conversation()[1].clone(), conversation()[1].clone()];
    let refused = render(MISTRAL, &twice).unwrap_err();
    assert!(
        matches!(&refused, TemplateError::Refused(reason) if reason.contains("must alternate")),
        "{refused}"
    );
}

#[test]
fn qwen3_drops_old_thoughts_and_keeps_the_last() {
    assert_eq!(
        render(QWEN3, &conversation()).unwrap(),
        "<|im_start|>user\n Hello <|im_end|>\n<|im_start|>assistant\nHi!<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n<think>\neasy\n</think>\n\n2<|im_end|>\n<|im_start|>assistant\n"
    );
}

#[test]
fn the_environment_is_that_of_hugging_face() {
    for (source, expected) in [
        ("{{ messages[0] | tojson }}", r#"{"role": "system", "content": "Be brief."}"#),
        ("{{ ['a<b', 1, none, true, 2.5] | tojson }}", r#"["a<b", 1, null, true, 2.5]"#),
        ("{{ {'a': [1, {}]} | tojson(indent=2) }}", "{\n  \"a\": [\n    1,\n    {}\n  ]\n}"),
        (
            "{% for key, value in messages[0].items() %}{{ key }}={{ value }};{% endfor %}",
            "role=system;content=Be brief.;",
        ),
        ("a\n  {% if true %}\n  b\n  {% endif %}\nc", "a\n  b\nc"),
        ("{{ none }} {{ true }} {{ 'x' ~ 1 ~ none }}", "None True x1None"),
        ("{{ [1, 2] + [3] }} {{ 2 ** 3 }} {{ 7 // 2 }} {{ 1.5 + 1 }}", "[1, 2, 3] 8 3 2.5"),
        (
            "{{ 'a,b'.split(',') | join('-') }} {{ ', '.join(['x', 'y']) }} {{ 'aXa'.replace('a', 'b', 1) }}",
            "a-b x, y bXa",
        ),
        (
            "{% macro turn(m) %}[{{ m.role }}]{% endmacro %}{{ turn(messages[0]) }}{{ turn(messages[1]) }}",
            "[system][user]",
        ),
        ("{% set text %}<{{ bos_token }}>{% endset %}{{ text | upper }}", "<<S>>"),
        ("{% for m in messages recursive %}{% endfor %}{{ strftime_now is defined }}", "True"),
        (
            "{% for m in messages %}{% if loop.index0 == 1 %}{% break %}{% endif %}{{ m.role }}{% endfor %}",
            "system",
        ),
        (
            "{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined else '-' }},{% endfor %}",
            "-,system,",
        ),
        (
            "{{ messages[-1]['content'] | trim }}|{{ messages | map(attribute='role') | list }}",
            "Hello|['system', 'user']",
        ),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "1"),
        (
            "{{ undefined_name }}{{ messages[0].name is defined }}{{ messages[0].get('name', 'x') }}",
            "Falsex",
        ),
        ("a{% generation %}b{% endgeneration %}c", "abc"),
    ] {
        let result = render(source, &conversation()[..2]);
        assert_eq!(result.as_deref(), Ok(expected), "{source}");
    }
    let dated = ChatTemplate::new("{{ strftime_now('%d %b %Y') }}", "", "").unwrap();
    let input = RenderInput::new(&[]).clock(Clock::date(2024, 7, 26).unwrap());
    assert_eq!(dated.render(&input).unwrap().text(), "26 Jul 2024");
}

#[test]
fn hostile_templates_stop_early() {
    let mut wrong = Vec::new();
    for source in [
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}xxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(x) %}{{ f(x ~ x) }}{% endmacro %}{{ f('aaaa') }}",
        "{% set n = namespace(x='aaaa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x='aaaa') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x='aaaa') %}{% for i in range(60) %}{% set n.x = n.x.replace('a', n.x) %}{% endfor %}",
        "{% set n = namespace(x='aaaa') %}{% for i in range(60) %}{% set n.x = n.x | replace('a', n.x) %}{% endfor %}",
        "{% set n = namespace(x='aaaa') %}{% for i in range(60) %}{% set n.x = n.x.join([n.x, n.x]) %}{% endfor %}",
        "{% set n = namespace(x='aaaa') %}{% for i in range(60) %}{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}{% endfor %}",
        "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=[1]) %}{% for i in range(99999) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x={}) %}{% for i in range(99999) %}{% set n.x = {'a': n.x} %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x={}) %}{% for i in range(99999) %}{% set n.x = dict(a=n.x) %}{% endfor %}{{ n.x }}",
        "{% set n = namespace() %}{% set n.n = n %}{{ n }}",
        "{% set n = namespace() %}{% set n.n = [n] %}{{ n }}",
        "{% set n = namespace(x=range(9)) %}{% for i in range(99999) %}{% set n.x = n.x | reverse %}{% endfor %}{% for i in range(99999) %}{% for j in range(999) %}{% endfor %}{% endfor %}",
        "{{ 'a' * 100000000 }}",
        "{{ 'a' * 10000 * 10000 }}",
        "{{ ('a' * 10000) * 10000 }}",
        "{{ 'a' | upper * 100000000 }}",
        "{% set x = 'a' %}{{ x * 100000000 }}",
        "{% set x = [1] %}{{ x * 100000000 }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ [1] | batch(1000000000, 'x') | list }}",
        "{{ messages | tojson(indent=1000000000) | indent(1000000000) }}{{ raise_exception('a') }}",
        "{% include 'x' %}",
        "{% extends 'x' %}",
        "{{ 9 ** 999999999 }}",
        "{% for x in messages recursive %}{{ loop(messages) }}{% endfor %}",
        "{{ raise_exception('no') }}",
        "{{ undefined.name.name }}",
        "{{ messages[0].nothing() }}",
        "{{ 1 // 0 }}",
        "{{ range(0, 9223372036854775807, 1) }}",
        "{{ messages | sum(start='') }}{{ '' + 1 }}",
    ] {
        let start = Instant::now();
        let result = render(source, &conversation());
        let spent = start.elapsed();
        let Err(error) = result else {
            wrong.push(source);
            continue;
        };
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(spent < Duration::from_secs(5), "{source}: {spent:?}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(matches!(render(&"x".repeat(200_000), &[]), Err(TemplateError::Size { .. })));
}

#[test]
fn limits_hold_from_both_sides() {
    let template = ChatTemplate::new("{{ messages[0].content }}", "", "").unwrap();
    let text = "x".repeat(1000);
    let message = [Message::new("", text.as_str())];
    let limits = |output_bytes| RenderLimits { output_bytes, ..RenderLimits::default() };
    let input = RenderInput::new(&message).generation_prompt(false);
    assert_eq!(template.render(&input.clone().limits(limits(1000))).unwrap().text(), text);
    assert_eq!(
        template.render(&input.clone().limits(limits(999))),
        Err(TemplateError::Output(999))
    );
    let few = RenderLimits { steps: 3, ..RenderLimits::default() };
    assert_eq!(template.render(&input.limits(few)), Err(TemplateError::Steps(3)));
}

#[test]
fn a_long_conversation_fits_the_default_limits() {
    let text = "A sentence of some words, again and again. ".repeat(10);
    let roles = ["user", "assistant"];
    let messages: Vec<_> =
        (0..1000).map(|index| Message::new(roles[index % 2], text.as_str())).collect();
    for source in [SMOLLM2, LLAMA3, MISTRAL, QWEN3] {
        assert!(render(source, &messages).unwrap().len() > 400_000);
    }
}

#[test]
fn messages_tools_and_variables_reach_the_template() {
    let messages = [
        Message::new("assistant", "4").with("reasoning_content", "2 and 2"),
        Message::from_json(serde_json::json!({"role": "tool", "tool_call_id": "1"})).unwrap(),
    ];
    let tools = [serde_json::json!({"type": "function", "function": {"name": "f"}})];
    let variables = ["enable_thinking=false", "effort=high", "sizes=[1, 2]"]
        .map(|text| parse_variable(text).unwrap());
    let variables = variables.into_iter().collect();
    let source = "{{ messages[0].reasoning_content }}|{{ messages[1].content is defined }}|{{ tools[0].function.name }}|\
                  {{ documents is none }}|{{ enable_thinking }}|{{ effort }}|{{ sizes[1] }}";
    let input = RenderInput::new(&messages).tools(&tools).variables(&variables);
    let rendered = ChatTemplate::new(source, "", "").unwrap().render(&input).unwrap();
    assert_eq!(rendered.text(), "2 and 2|False|f|True|False|high|2");
    for wrong in ["messages=1", "tools=[]", "1=2", "a b=1", "x", "=1"] {
        assert!(matches!(parse_variable(wrong), Err(TemplateError::Input(_))), "{wrong}");
    }
    for wrong in
        [Json::from("x"), serde_json::json!({"content": "x"}), serde_json::json!({"role": 1})]
    {
        assert!(matches!(Message::from_json(wrong), Err(TemplateError::Input(_))));
    }
    for nothing in ["", " \n"] {
        assert_eq!(ChatTemplate::new(nothing, "", "").unwrap_err(), TemplateError::Empty);
    }
}
