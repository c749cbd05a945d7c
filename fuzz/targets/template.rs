//! Any text as a chat template, rendered over a few conversations within small limits: no panic gets out, no text is longer than
//! the limit, and no rendering takes long.
#![no_main]

use hardtack::text::{ChatTemplate, Message, RenderLimits};
use libfuzzer_sys::fuzz_target;

const LIMITS: RenderLimits = RenderLimits { steps: 20_000, output_bytes: 1 << 16 };

fuzz_target!(|bytes: &[u8]| {
    hardtack_fuzz::keep_limit();
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let Ok(template) = ChatTemplate::new(source, "<s>", "</s>") else { return };
    let system = Message { role: "system", content: "Be brief." };
    let user = Message { role: "user", content: "  {{ 1 }} <|x|>\n" };
    let assistant = Message { role: "assistant", content: "<think>\u{e9}</think>4" };
    for messages in [&[][..], &[user], &[system, user, assistant, user]] {
        for generation in [false, true] {
            if let Ok(text) = template.render(messages, generation, &LIMITS) {
                assert!(text.len() <= LIMITS.output_bytes);
            }
        }
    }
});
