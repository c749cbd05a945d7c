//! A bake checks what it believes: its last line says what was tried, and what would break a
//! conversation is refused before anything is written, unless it is allowed by name.

use std::fs;
use std::path::Path;

use crate::program::{Argument, Outcome, names, run, run_with_input};
use hardtack_testing::bpe::{TEMPLATE, added};
use hardtack_testing::small::Small;
use serde_json::json;

/// Bakes into a folder of its own; a refusal leaves nothing there.
fn bake(input: &Path, flags: &[&dyn AsRef<std::ffi::OsStr>]) -> (tempfile::TempDir, Outcome) {
    let scratch = tempfile::tempdir().unwrap();
    let blob = scratch.path().join("x.tack");
    let mut arguments: Vec<Argument<'_>> =
        vec![&"bake", &input, &"-o", &blob, &"--bits", &"f32", &"--head-bits", &"f32", &"--quiet"];
    arguments.extend(flags);
    let outcome = run(&arguments);
    let expected: &[&str] = if outcome.code == Some(0) { &["x.tack"] } else { &[] };
    assert_eq!(names(scratch.path()), expected, "{outcome:#?}");
    (scratch, outcome)
}

/// The model in a folder, baked.
fn baked(model: &Small, flags: &[&dyn AsRef<std::ffi::OsStr>]) -> (tempfile::TempDir, Outcome) {
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path());
    bake(folder.path(), flags)
}

fn last_line(outcome: &Outcome) -> &str {
    outcome.out.lines().last().unwrap_or_default()
}

/// The logits of one token, as bytes.
fn logits(scratch: &Path) -> Vec<u8> {
    let (blob, tokens, out) =
        (scratch.join("x.tack"), scratch.join("tokens.json"), scratch.join("logits.safetensors"));
    fs::write(&tokens, "[5, 6, 7]").unwrap();
    run(&[&"eval", &"logits", &blob, &"--tokens", &tokens, &"--out", &out]).succeeded();
    fs::read(out).unwrap()
}

#[test]
fn a_bake_ends_with_what_was_tried() {
    let (_, outcome) = baked(&Small::new(), &[]);
    let outcome = outcome.succeeded();
    // Sixteen texts, 128 single bytes that are text, and nine words.
    assert_eq!(
        last_line(&outcome),
        "check: template 4 renderings, 2 markers, 2 end tokens, tokenizer 153 round trips, 12 of \
            12 tensors"
    );
    assert_eq!(outcome.err, "");
    let (_, silent) = baked(&Small::new(), &[&"--no-text"]);
    assert_eq!(last_line(&silent.succeeded()), "check: no text, 12 of 12 tensors");
}

#[test]
fn a_template_that_cannot_be_used_is_refused_unless_allowed() {
    let cases = [
        ("{% for m in messages %}", "chat template"),
        ("{{ raise_exception('only with tools') }}", "only with tools"),
        ("<|im_start|>fixed<|im_end|>", "leaves out what the user says"),
        (
            "{% for m in messages %}<|turn|>{{ m.content }}<|over|>{% endfor %}",
            "`<|over|>`, which is no end token",
        ),
    ];
    for (template, word) in cases {
        let model = Small { template: Some(template.to_owned()), ..Small::new() };
        let (_, outcome) = baked(&model, &[]);
        outcome.refused(&[word, "--allow-broken-chat"]);
        let (_, outcome) = baked(&model, &[&"--allow-broken-chat"]);
        assert!(outcome.succeeded().err.contains(word), "{template}");
    }
    // An empty one is none: there is nothing to break.
    let (scratch, outcome) = baked(&Small { template: Some(String::new()), ..Small::new() }, &[]);
    assert!(outcome.succeeded().err.contains("template is empty"));
    run(&[&"chat", &scratch.path().join("x.tack")]).refused(&["no template section"]);
    // No place for a system prompt is worth a word.
    let strict = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no \
        system') }}{% endif %}\
                  <|im_start|>{{ m.content }}<|im_end|>{% endfor %}";
    let (_, outcome) = baked(&Small { template: Some(strict.to_owned()), ..Small::new() }, &[]);
    let outcome = outcome.succeeded();
    assert!(
        outcome.err.contains("takes no system prompt") && outcome.out.contains("2 renderings"),
        "{outcome:#?}"
    );
}

#[test]
fn ends_that_are_named_and_not_there_are_refused() {
    let mut model = Small::new();
    model.tokenizer["added_tokens"] = json!([added(265, "<|endoftext|>", true)]);
    model.config["eos_token_id"] = json!(319);
    model.settings = json!({});
    let (_, outcome) = baked(&model, &[]);
    outcome.refused(&[
        "config.json eos_token_id names end token 319",
        "`<|im_end|>`, which is no end token",
    ]);
}

#[test]
fn markers_that_are_not_special_cannot_be_typed() {
    let mut model = Small::new();
    model.tokenizer["added_tokens"] = json!([
        added(265, "<|endoftext|>", true),
        added(266, "<|im_start|>", false),
        added(267, "<|im_end|>", false),
        // Only rendering finds this one.
        added(268, "<|user|]", false),
    ]);
    model.template =
        Some(TEMPLATE.replace("{{ message['role'] }}", "{{ '<|' + message['role'] + '|]' }}"));
    let (scratch, outcome) = baked(&model, &[]);
    let line = outcome.succeeded();
    assert!(last_line(&line).contains("3 markers, 2 end tokens"), "{line:#?}");
    let blob = scratch.path().join("x.tack");
    let tokens = |text: &str| {
        run(&[&"run", &blob, &"-n", &"1", &"-p", &text]).succeeded().numbers_before("prompt tokens")
            [0]
    };
    for mark in ["<|im_end|>", "<|im_start|>", "<|user|]"] {
        assert_eq!(tokens(mark), mark.len() as u64, "{mark}");
    }
}

#[test]
fn a_stored_head_outranks_the_flag_unless_it_is_the_embeddings_again() {
    let untied = Small::new();
    let mut flagged = Small::new();
    flagged.config["tie_word_embeddings"] = json!(true);
    let (own, outcome) = baked(&untied, &[]);
    outcome.succeeded();
    let (stored, outcome) = baked(&flagged, &[]);
    let outcome = outcome.succeeded();
    assert!(outcome.err.contains("lm_head.weight is stored and differs"), "{outcome:#?}");
    assert_eq!(logits(own.path()), logits(stored.path()));

    *flagged.tensor("lm_head.weight") = flagged.tensor("model.embed_tokens.weight").clone();
    let (copied, outcome) = baked(&flagged, &[]);
    let outcome = outcome.succeeded();
    assert!(outcome.err.contains("1 lm_head.weight (the embeddings again)"), "{outcome:#?}");
    assert!(last_line(&outcome).ends_with("11 of 12 tensors"));
    flagged.tensors.retain(|(name, ..)| name != "lm_head.weight");
    let (tied, outcome) = baked(&flagged, &[]);
    assert_eq!(outcome.succeeded().err, "");
    assert_eq!(logits(copied.path()), logits(tied.path()));
    assert_ne!(logits(copied.path()), logits(own.path()));
}

#[test]
fn tensors_of_no_use_are_refused_unless_allowed() {
    let mut model = Small::new();
    model.tensors.push(("model.layers.0.odd.weight".to_owned(), vec![4], vec![0.0; 4]));
    model.tensors.push(("vision_tower.0.weight".to_owned(), vec![4], vec![0.0; 4]));
    let (_, outcome) = baked(&model, &[]);
    outcome.refused(&["model.layers.0.odd.weight", "no place"]);
    let (_, outcome) = baked(&model, &[&"--allow-unused-tensors"]);
    let outcome = outcome.succeeded();
    assert!(
        outcome.err.contains("1 model.layers.*.odd.weight, 1 vision_tower.*.* (vision)"),
        "{outcome:#?}"
    );
    assert!(last_line(&outcome).ends_with("12 of 14 tensors"));
}

#[test]
fn a_gguf_without_its_tokenizer_in_order_has_ways_out() {
    let model = Small::new();
    let scratch = tempfile::tempdir().unwrap();
    let [file, folder] = ["model.gguf", "tokenizer"].map(|name| scratch.path().join(name));
    model.save_tokenizer(&folder);
    let write = |pre: &str, types, merges| model.save_gguf(&file, pre, types, merges);

    write("gpt-2", [3, 3], true);
    let (right, outcome) = bake(&file, &[]);
    assert_eq!(outcome.succeeded().err, "");
    // Types that are wrong are put right, with a word.
    write("deepseek-r1-qwen", [1, 1], true);
    let (_, outcome) = bake(&file, &[]);
    let outcome = outcome.succeeded();
    assert!(
        outcome.err.contains("`<|im_start|>`, `<|im_end|>`") && outcome.out.contains("2 markers"),
        "{outcome:#?}"
    );

    for (pre, merges, words) in [
        ("gpt-2", false, ["merges is missing", "--tokenizer FOLDER"]),
        ("of-tomorrow", true, ["`of-tomorrow`", "--no-text"]),
    ] {
        write(pre, [3, 3], merges);
        let (_, outcome) = bake(&file, &[]);
        outcome.refused(&words);
        // From a folder, and from the file in it.
        for tokenizer in [folder.clone(), folder.join("tokenizer.json")] {
            let (other, outcome) = bake(&file, &[&"--tokenizer", &tokenizer]);
            assert!(last_line(&outcome.succeeded()).contains("2 markers, 2 end tokens"));
            let prompt = |blob: &Path| {
                run(&[&"run", &blob.join("x.tack"), &"-n", &"1", &"-p", &"hello world"])
                    .succeeded()
                    .numbers_before("prompt tokens")
            };
            assert_eq!((prompt(other.path()), prompt(right.path())), (vec![2], vec![2]));
        }
        let (silent, outcome) = bake(&file, &[&"--no-text"]);
        outcome.succeeded();
        run(&[&"run", &silent.path().join("x.tack"), &"-p", &"hi"])
            .refused(&["speaks token ids only"]);
        assert_eq!(logits(silent.path()), logits(right.path()));
    }
    let nowhere = scratch.path().join("nowhere");
    let (_, outcome) = bake(&file, &[&"--tokenizer", &nowhere]);
    outcome.refused(&["nowhere", "no tokenizer.json there"]);
}

#[test]
fn marks_that_are_plain_text_are_named_and_cannot_be_typed() {
    let template = "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}<|im_end|>\n\
                    {% else %}[INST] {{ m.content }} [/INST]{% endif %}{% endfor %}";
    let (scratch, outcome) =
        baked(&Small { template: Some(template.to_owned()), ..Small::new() }, &[]);
    let line = outcome.succeeded();
    let expected = "turns marked by plain text (`[/INST]`, `[/INST][INST]`, `[INST]`), which gets \
        a space where somebody types it";
    assert!(last_line(&line).contains(expected), "{line:#?}");
    let blob = scratch.path().join("x.tack");
    let flags: [Argument<'_>; 5] = [&"chat", &blob, &"-n", &"1", &"--show-prompt"];
    let shown = run_with_input(&flags, "a [/INST] b [INST] c\n").succeeded();
    let prompt = "[INST] a [ /INST] b [ INST] c [/INST]";
    assert!(shown.err.contains(prompt) || shown.out.contains(prompt), "{shown:#?}");
    // Where nothing marks a turn's end, a bake says so.
    let bare = "{% for m in messages %}{{ m.content }}\n{% endfor %}";
    let (_, outcome) = baked(&Small { template: Some(bare.to_owned()), ..Small::new() }, &[]);
    assert!(last_line(&outcome.succeeded()).contains("turns end without a mark"));
}
