//! Answers of every form, the same token by token and at once.

use super::*;
use hardtack_format::vocabulary::{TextRules, TokenKind, write};

/// Reads tokens by their names; `"<x>"` is a token of that name where the vocabulary has one,
/// and else its letters.
struct Bench {
    vocabulary: Vocabulary<Box<[u8]>>,
    form: Form,
    markers: Markers,
    names: Vec<String>,
}

impl Bench {
    fn new(template: &str, tokens: &[(&str, TokenKind)]) -> Self {
        let letters: Vec<[u8; 1]> = (0..=255).map(|byte| [byte]).collect();
        let letters = letters.iter().map(|byte| (TokenKind::Normal, byte.as_slice()));
        let added = tokens.iter().map(|(name, kind)| (*kind, name.as_bytes()));
        let table =
            write(&TextRules::default(), &letters.chain(added).collect::<Vec<_>>()).unwrap();
        let vocabulary = Vocabulary::read(table.into_boxed_slice()).unwrap();
        let (form, markers) =
            (Form::of(template, &vocabulary), Markers::new(&vocabulary, template).unwrap());
        let names = tokens.iter().map(|(name, _)| (*name).to_owned()).collect();
        Self { vocabulary, form, markers, names }
    }

    fn ids(&self, pieces: &[&str]) -> Vec<u32> {
        let ids = |piece: &&str| match self.names.iter().position(|name| name == piece) {
            Some(place) => vec![256 + place as u32],
            None => piece.bytes().map(u32::from).collect(),
        };
        pieces.iter().flat_map(ids).collect()
    }

    /// Answer and thinking, the same by single pieces and together.
    fn read(&self, prompt: &str, pieces: &[&str]) -> (String, String) {
        self.read_with(prompt, pieces, &[])
    }

    fn read_with(&self, prompt: &str, pieces: &[&str], stops: &[&str]) -> (String, String) {
        let stops = Stops::new(stops).unwrap();
        let mut reader = Reader::new(&self.vocabulary, (&self.form, &self.markers), prompt, stops);
        let mut read = Vec::new();
        for id in self.ids(pieces) {
            if reader.push(id, &mut read) {
                break;
            }
        }
        reader.finish(&mut read);
        let (mut answer, mut thinking) = (String::new(), String::new());
        for piece in read {
            match piece {
                Piece::Text(text) | Piece::Marker(text) => answer.push_str(&text),
                Piece::Thinking(text) => thinking.push_str(&text),
            }
        }
        (answer, thinking)
    }
}

fn both(answer: &str, thinking: &str) -> (String, String) {
    (answer.to_owned(), thinking.to_owned())
}

#[test]
fn thinking_between_tags_in_every_spelling() {
    let marker = [("<think>", TokenKind::Marker), ("</think>", TokenKind::Marker)];
    let text = [("<thi", TokenKind::Normal), ("nk>", TokenKind::Normal)];
    for tokens in [&marker[..], &text, &[]] {
        let bench = Bench::new("</think>", tokens);
        let cases: [(&str, &[&str], (&str, &str)); 14] = [
            ("", &["<think>", "why", "</think>", "\n\nDone"], ("Done", "why")),
            ("", &["\n<think>\n", "why\n", "</think>", "Done"], ("Done", "why\n")),
            ("", &["Done"], ("Done", "")),
            ("", &["<think>", "\n\n", "</think>", "\n\n", "Done"], ("Done", "")),
            ("<|a|><think>\n", &["why", "</think>", "Done"], ("Done", "why")),
            // The model says once more what the template has said.
            ("<think>\n", &["<think>", "\nwhy", "</think>", "Done"], ("Done", "why")),
            // Several thoughts one after another.
            (
                "",
                &["<think>", "a", "</think>", "\n", "<think>", "b", "</think>", "Done"],
                ("Done", "ab"),
            ),
            ("", &["<th", "ink>", "a<", "/thi", "nk", ">Done"], ("Done", "a")),
            // Never closed.
            ("<think>\n", &["why"], ("", "why")),
            ("", &["<think>", "why"], ("", "why")),
            // Thoughts within thoughts, and a thought about a tag.
            (
                "",
                &["<think>", "a", "<think>", "b", "</think>", "c", "</think>", "Done"],
                ("Done", "abc"),
            ),
            ("", &["<think>", "a", "<think>", "b", "</think>", "Done"], ("Done", "ab")),
            // An answer about a tag, and one that is cut in the middle of something like it.
            ("", &["Use ", "<thi"], ("Use <thi", "")),
            ("", &["1 < 2", " <", "b>"], ("1 < 2 <b>", "")),
        ];
        for (prompt, pieces, (answer, thinking)) in cases {
            assert_eq!(bench.read(prompt, pieces), both(answer, thinking), "{prompt:?} {pieces:?}");
        }
    }
    let bench = Bench::new("</think>", &[]);
    assert_eq!(bench.read("", &["Use <think> and </think>."]), both("Use <think> and .", ""));
}

#[test]
fn other_forms_have_other_tags() {
    let control = |name| (name, TokenKind::Control);
    type Case<'a> = (&'a str, &'a [(&'a str, TokenKind)], &'a [&'a str]);
    let cases: [Case<'_>; 6] = [
        (
            "[THINK]",
            &[control("[THINK]"), control("[/THINK]")],
            &["[THINK]", "why", "[/THINK]", "Done"],
        ),
        ("<seed:think>", &[], &["<seed:think>why</seed:think>Done"]),
        (
            "Here is my thought process:",
            &[],
            &["Here is my thought process:\nwhy", "Here is my response:\n", "Done"],
        ),
        ("<think> <answer>", &[], &["<think>\nwhy</think>\n<answer>\nDone</answer>"]),
        ("<think><response>", &[], &["<think>why</think><response>Done</response>"]),
        (
            "<|START_THINKING|>",
            &[
                control("<|START_THINKING|>"),
                control("<|END_THINKING|>"),
                control("<|START_RESPONSE|>"),
            ],
            &["<|START_THINKING|>", "why", "<|END_THINKING|>", "<|START_RESPONSE|>", "Done"],
        ),
    ];
    for (template, tokens, pieces) in cases {
        assert_eq!(
            Bench::new(template, tokens).read("", pieces),
            both("Done", "why"),
            "{template}"
        );
    }
}

/// As gpt-oss answers (openai/harmony, docs/format.md).
#[test]
fn harmony_in_channels() {
    let tokens: Vec<_> = HARMONY.iter().map(|name| (*name, TokenKind::Control)).collect();
    let bench = Bench::new("<|channel|><|message|>", &tokens);
    let [start, channel, message, constrain, end, back, call] = HARMONY;
    let analysis =
        [channel, "analysis", message, "They ask for a capital.", end, start, "assistant"];
    let with = |rest: &[&'static str]| [&analysis[..], rest].concat();
    let thought = "They ask for a capital.";
    let read = |pieces: &[&str]| bench.read("<|start|>assistant", pieces);
    assert_eq!(read(&with(&[channel, "final", message, "Paris.", back])), both("Paris.", thought));
    assert_eq!(read(&[channel, "final", message, "Paris."]), both("Paris.", ""));
    // A word to the user before a call is shown, the call is not.
    let words = [channel, "commentary", message, "I look.", end, start, "assistant"];
    let json = [channel, "commentary to=functions.look ", constrain, "json", message, "{}", call];
    assert_eq!(read(&[&words[..], &json].concat()), both("I look.", "{}"));
    assert_eq!(
        read(&[" to=functions.look", channel, "commentary", message, "{}", call]),
        both("", "{}")
    );
    // A model that does not keep to the form is heard all the same.
    assert_eq!(read(&["Paris."]), both("Paris.", ""));
    assert_eq!(read(&[message, "Paris.", end]), both("Paris.", ""));
    assert_eq!(read(&with(&[])), both("", thought));
}

#[test]
fn stop_strings_end_the_answer_and_not_the_thinking() {
    let bench = Bench::new("</think>", &[]);
    let pieces = ["<think>", "stop", "</think>", "go on, st", "op here"];
    assert_eq!(bench.read_with("", &pieces, &["stop"]), both("go on, ", "stop"));
}

#[test]
fn tokens_that_steer_are_part_of_the_answer() {
    let tokens = [("<tool_call>", TokenKind::Marker), ("</tool_call>", TokenKind::UserDefined)];
    let bench = Bench::new("{{ messages }}", &tokens);
    assert_eq!(
        bench.read("", &["<tool_call>", "{}", "</tool_call>"]),
        both("<tool_call>{}</tool_call>", "")
    );
}
