//! The forms that models answer in: where their thinking is, and where the answer.

use hardtack_format::vocabulary::{TokenKind, Vocabulary};

/// A form with thinking between two tags, and maybe the answer between two more.
struct Tags {
    /// Begins and ends the thinking.
    thinking: [&'static str; 2],
    /// Begins and ends the answer, in models that mark it too.
    answer: Option<[&'static str; 2]>,
}

const ANSWER: [&str; 2] = ["<answer>", "</answer>"];
const RESPONSE: [&str; 2] = ["<response>", "</response>"];

/// The published forms, as their makers' templates write them.
const FORMS: [Tags; 12] = [
    // Qwen 3, DeepSeek R1, QwQ, GLM 4.5, EXAONE 4, Nemotron, MiniMax, Phi 4; `<answer>` is
    // Hunyuan's and GLM 4.1V's, `<response>` Granite 3.3's and ERNIE 4.5's.
    Tags { thinking: ["<think>", "</think>"], answer: None },
    // Magistral.
    Tags { thinking: ["[THINK]", "[/THINK]"], answer: None },
    // Seed-OSS.
    Tags { thinking: ["<seed:think>", "</seed:think>"], answer: None },
    // Command A Reasoning.
    Tags {
        thinking: ["<|START_THINKING|>", "<|END_THINKING|>"],
        answer: Some(["<|START_RESPONSE|>", "<|END_RESPONSE|>"]),
    },
    // EXAONE Deep.
    Tags { thinking: ["<thought>", "</thought>"], answer: None },
    // Gemma 4.
    Tags { thinking: ["<|channel>thought", "<channel|>"], answer: None },
    // Apertus.
    Tags { thinking: ["<|inner_prefix|>", "<|inner_suffix|>"], answer: None },
    // Kimi K1.5 and its kin.
    Tags { thinking: ["\u{25c1}think\u{25b7}", "\u{25c1}/think\u{25b7}"], answer: None },
    // Granite 3.2.
    Tags { thinking: ["Here is my thought process:", "Here is my response:"], answer: None },
    // Apriel.
    Tags {
        thinking: ["Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"],
        answer: Some(["[BEGIN FINAL RESPONSE]", "[END FINAL RESPONSE]"]),
    },
    Tags { thinking: ["<reasoning>", "</reasoning>"], answer: None },
    Tags { thinking: ["<thinking>", "</thinking>"], answer: None },
];

/// Harmony's marks (openai/harmony, docs/format.md).
pub const HARMONY: [&str; 7] = [
    "<|start|>",
    "<|channel|>",
    "<|message|>",
    "<|constrain|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
];

/// A mark that the reader of answers looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What it says.
    pub kind: TagKind,
    /// How it is written.
    pub name: String,
    /// Its token, if it is one.
    pub id: Option<u32>,
}

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagKind {
    /// Thinking begins.
    Open,
    /// Thinking ends.
    Close,
    /// The answer begins or ends; it is shown without the mark.
    Answer,
    /// One of harmony's marks, by its number in [`HARMONY`].
    Harmony(usize),
}

/// The form of a model's answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text and nothing else.
    Text,
    /// Thinking between tags.
    Tagged(Vec<Tag>),
    /// Messages in channels, as gpt-oss writes them.
    Harmony(Vec<Tag>),
}

impl Form {
    /// What a blob's template and vocabulary say.
    pub fn of<B: AsRef<[u8]>>(template: &str, vocabulary: &Vocabulary<B>) -> Self {
        let tokens = Tokens::new(vocabulary);
        if HARMONY[1..3].iter().all(|name| template.contains(name) && tokens.id(name).is_some()) {
            let tag = |(number, name): (usize, &&str)| tokens.tag(TagKind::Harmony(number), name);
            return Self::Harmony(HARMONY.iter().enumerate().map(tag).collect());
        }
        let written = |form: &&Tags| form.thinking.iter().any(|tag| template.contains(tag));
        // A template that never repeats the thinking need not say a word of it.
        let added = |form: &&Tags| form.thinking.iter().all(|tag| tokens.id(tag).is_some());
        let Some(form) = FORMS.iter().find(written).or_else(|| FORMS.iter().find(added)) else {
            return Self::Text;
        };
        let [open, close] = form.thinking;
        let mut tags = vec![tokens.tag(TagKind::Open, open), tokens.tag(TagKind::Close, close)];
        let is_known = |pair: &[&str; 2]| {
            pair.iter().any(|tag| template.contains(tag) || tokens.id(tag).is_some())
        };
        let answer = form.answer.or_else(|| [ANSWER, RESPONSE].into_iter().find(is_known));
        let answer = answer.into_iter().flatten().filter(|&tag| tag != close);
        tags.extend(answer.map(|tag| tokens.tag(TagKind::Answer, tag)));
        Self::Tagged(tags)
    }

    /// The marks to look for.
    pub fn tags(&self) -> &[Tag] {
        match self {
            Self::Text => &[],
            Self::Tagged(tags) | Self::Harmony(tags) => tags,
        }
    }

    /// Whether a prompt ends where the model is to think: its template has begun the thinking
    /// already.
    pub fn is_opened_by(&self, prompt: &str) -> bool {
        let prompt = prompt.trim_end();
        let opens = |tag: &Tag| tag.kind == TagKind::Open && prompt.ends_with(&tag.name);
        matches!(self, Self::Tagged(tags) if tags.iter().any(opens))
    }
}

/// The ids of all tokens that are called like a mark.
struct Tokens(Vec<(&'static str, u32)>);

impl Tokens {
    fn new<B: AsRef<[u8]>>(vocabulary: &Vocabulary<B>) -> Self {
        let of_forms = FORMS
            .iter()
            .flat_map(|form| form.thinking.into_iter().chain(form.answer.into_iter().flatten()));
        let names: Vec<&'static str> =
            of_forms.chain(ANSWER).chain(RESPONSE).chain(HARMONY).collect();
        let mut found = Vec::new();
        for id in (0..vocabulary.count()).filter(|&id| vocabulary.kind(id) != TokenKind::Unused) {
            let bytes = vocabulary.bytes(id);
            if bytes.len() > 4
                && let Some(name) = names.iter().find(|name| name.as_bytes() == bytes)
            {
                found.push((*name, id));
            }
        }
        Self(found)
    }

    fn id(&self, name: &str) -> Option<u32> {
        self.0.iter().find(|(known, _)| *known == name).map(|&(_, id)| id)
    }

    fn tag(&self, kind: TagKind, name: &str) -> Tag {
        Tag { kind, name: name.to_owned(), id: self.id(name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardtack_format::vocabulary::{TextRules, write};

    fn form(template: &str, names: &[&str]) -> Form {
        let tokens: Vec<_> =
            names.iter().map(|name| (TokenKind::Control, name.as_bytes())).collect();
        let vocabulary = Vocabulary::read(write(&TextRules::default(), &tokens).unwrap()).unwrap();
        Form::of(template, &vocabulary)
    }

    #[test]
    fn the_form_is_told_from_template_and_tokens() {
        let names = |form: Form| {
            form.tags().iter().map(|tag| (tag.name.clone(), tag.id)).collect::<Vec<_>>()
        };
        let tag = |name: &str, id| (name.to_owned(), id);
        assert_eq!(form("{{ messages }}", &["x"]), Form::Text);
        let think = [tag("<think>", None), tag("</think>", None)];
        assert_eq!(names(form("{% if '</think>' in content %}", &["x"])), think);
        let think = [tag("<think>", Some(0)), tag("</think>", Some(1))];
        assert_eq!(names(form("", &["<think>", "</think>"])), think);
        // What the template writes counts before what the vocabulary happens to have.
        let seed = [tag("<seed:think>", None), tag("</seed:think>", None)];
        assert_eq!(names(form("<seed:think>", &["<think>", "</think>"])), seed);
        let granite = names(form("<think> <response>", &["x"]));
        assert_eq!(granite[2..], [tag("<response>", None), tag("</response>", None)]);
        let harmony = form("<|channel|><|message|>", &["<|channel|>", "<|message|>"]);
        assert!(
            matches!(&harmony, Form::Harmony(tags) if tags[1].id == Some(0) && tags[0].id.is_none())
        );
        assert!(!matches!(form("<|channel|><|message|>", &["x"]), Form::Harmony(_)));
    }

    #[test]
    fn a_prompt_may_begin_the_thinking() {
        let think = form("<think>", &["x"]);
        assert!(think.is_opened_by("<|Assistant|><think>\n"));
        assert!(
            !think.is_opened_by("<|Assistant|><think>\n\n</think>\n\n")
                && !think.is_opened_by("hi")
        );
    }
}
