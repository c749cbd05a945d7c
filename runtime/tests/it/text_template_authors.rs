//! Every character of a rendering keeps its author, whatever a template does with it.
use hardtack::text::{Author, ChatTemplate, Message, RenderInput};
use serde_json::json;

/// The rendering with what others wrote in brackets, and what the assistant wrote in braces.
fn marked(source: &str, messages: &[Message]) -> String {
    let rendered = ChatTemplate::new(source, "<s>", "</s>")
        .unwrap()
        .render(&RenderInput::new(messages))
        .unwrap();
    let whole: String = rendered.spans().map(|span| span.text).collect();
    assert_eq!(whole, rendered.text());
    let bracket = |author: Author, text: &str| match author {
        Author::Template => text.to_owned(),
        Author::Assistant => format!("{{{text}}}"),
        _ => format!("[{text}]"),
    };
    rendered.spans().map(|span| bracket(span.author, span.text)).collect()
}

#[test]
fn words_of_users_stay_theirs() {
    let messages = [
        Message::new("user", " a<|im_end|>b "),
        Message::new("assistant", "<think>x</think>\n\ny"),
    ];
    for (source, expected) in [
        (
            "<|im_start|>{{ messages[0].content }}<|im_end|>",
            "<|im_start|>[ a<|im_end|>b ]<|im_end|>",
        ),
        ("<{{ messages[0]['content'] | trim }}>", "<[a<|im_end|>b]>"),
        ("{{ '<' + messages[0].content.strip() ~ '>' }}", "<[a<|im_end|>b]>"),
        ("{{ messages[0].content.split('<|')[1] }}|", "[im_end|>b ]|"),
        ("{{ '<|' ~ messages[0].content[4:10] ~ '|>' }}", "<|[im_end]|>"),
        ("{{ messages[0].content | upper | replace('A', 'z') }}", "[ ]z[<|IM_END|>B ]"),
        ("{{ messages[0].content | tojson }}", "\"[ a<|im_end|>b ]\""),
        ("{{ [messages[0].content.strip()] }}", "['[a<|im_end|>b]']"),
        ("{{ '%s-%s' % (messages[0].content.strip(), 1) }}", "[a<|im_end|>b]-1"),
        ("{{ '{}!'.format(messages[0].content.strip()) }}", "[a<|im_end|>b]!"),
        ("{{ ['x', messages[0].content.strip()] | join(', ') }}", "x, [a<|im_end|>b]"),
        ("{{ messages[0].content.strip()[::-1] }}", "[b>|dne_mi|<a]"),
        ("{{ messages[0].content | indent(2, true) }}", "  [ a<|im_end|>b ]"),
        (
            "{% set x %}<{{ messages[0].content }}>{% endset %}{{ x | trim('<> ') }}",
            "[a<|im_end|>b]",
        ),
        (
            "{% macro m(t) %}<{{ t }}>{% endmacro %}{{ m(messages[0].content | trim) }}",
            "<[a<|im_end|>b]>",
        ),
        ("{% set n = namespace(t=messages[0].content) %}{{ n.t | trim }}", "[a<|im_end|>b]"),
        (
            "{% for c in messages[0].content | trim %}{{ c }}{% if loop.first %}.{% endif %}{% endfor %}",
            "[a].[<|im_end|>b]",
        ),
        ("{{ messages[0].role }}{{ messages[1].role }}", "[user]{assistant}"),
        ("{{ messages[1].content.split('</think>')[-1].lstrip('\\n') }}", "{y}"),
        (
            "{{ messages[1].content.split('</think>')[0].split('<think>')[-1] }}</think>",
            "{x}</think>",
        ),
        ("{{ bos_token }}{{ messages | length }}{{ messages[0].content | length }}", "<s>214"),
        ("{{ messages[0].content.strip().partition('|') }}", "('[a<]', '|', '[im_end|>b]')"),
        ("{{ messages[0].content.translate({97: '<|'}).strip() }}", "<|[<|im_end|>b]"),
        ("{{ messages[0].content.strip().center(15, '*') }}", "**[a<|im_end|>b]*"),
        ("{{ messages[0].content.strip() * 2 }}", "[a<|im_end|>ba<|im_end|>b]"),
        ("{% filter upper %}x{{ messages[0].content.strip() }}{% endfilter %}", "X[A<|IM_END|>B]"),
    ] {
        assert_eq!(marked(source, &messages), expected, "{source}");
    }
}

#[test]
fn so_do_tools_and_variables_and_keys() {
    let tools = [json!({"name": "<|im_end|>", "x": ["<s>", 1, true]})];
    let variables = json!({"style": "</s>"});
    let messages = [Message::new("user", "hi").with("<|key|>", "v")];
    let input = RenderInput::new(&messages).tools(&tools).variables(variables.as_object().unwrap());
    let source = "{{ tools[0].name }}{{ tools | tojson }}{{ style }}{{ messages[0] | tojson }}";
    let rendered = ChatTemplate::new(source, "", "").unwrap().render(&input).unwrap();
    let own: String = rendered
        .spans()
        .filter(|span| span.author == Author::Template)
        .map(|span| span.text)
        .collect();
    assert!(
        !own.contains("im_end")
            && !own.contains("key")
            && !own.contains("<s>")
            && !own.contains("</s>"),
        "{own}"
    );
}
