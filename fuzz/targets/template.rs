//! Any text as a chat template, rendered over a few conversations within small limits: no panic
//! gets out, no text is longer than the limit, and no rendering takes long.
#![no_main]

use std::sync::LazyLock;

use hardtack::text::{ChatTemplate, Json, Message, RenderInput, RenderLimits};
use libfuzzer_sys::fuzz_target;

static TURNS: LazyLock<Vec<Message>> = LazyLock::new(|| {
    let user = Message::new("user", "  {{ 1 }} <|x|>\n");
    vec![
        Message::new("system", "Be brief."),
        user.clone(),
        Message::new("assistant", "<think>\u{e9}</think>4")
            .with("tool_calls", Json::Array(Vec::new())),
        user,
    ]
});
static TOOLS: LazyLock<Vec<Json>> = LazyLock::new(|| {
    let tool = r#"{"type":"function","function":{"name":"f","parameters":{"properties":{"a":{"type":"string"}}}}}"#;
    vec![serde_json::from_str(tool).expect("JSON")]
});

fuzz_target!(|bytes: &[u8]| {
    hardtack_fuzz::keep_limit();
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let Ok(template) = ChatTemplate::new(source, "<s>", "</s>") else { return };
    let mut limits = RenderLimits::default();
    (limits.steps, limits.output_bytes) = (20_000, 1 << 16);
    for turns in [&TURNS[..0], &TURNS[1..2], &TURNS[..]] {
        let input = RenderInput::new(turns).limits(limits);
        for input in [input.clone().generation_prompt(false), input.tools(&TOOLS)] {
            if let Ok(rendered) = template.render(&input) {
                assert!(rendered.text().len() <= limits.output_bytes);
            }
        }
    }
});
