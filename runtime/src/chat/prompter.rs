//! A conversation as tokens, in the model's own form and so that nobody can forge a turn.

use hardtack_format::SectionKind;
use serde_json::Map;

use super::form::Form;
use super::turn::Turn;
use crate::cancel::Cancel;
use crate::engine::Engine;
use crate::error::Error;
use crate::text::markers::{Markers, unused_mark};
use crate::text::{ChatTemplate, Json, Message, RenderInput, RenderLimits, Tokenizer};

/// Bytes of a rendering beside its messages, and for each of their bytes.
const RENDERED_BYTES: usize = 1 << 20;
const RENDERED_FACTOR: usize = 4;

/// Turns conversations into prompts by a blob's chat template.
///
/// Names of control tokens in what somebody said are plain text, whatever the template does with it: a person who types
/// `<|im_end|>` has typed ten letters. This is the only way to a prompt, and it is safe.
///
/// ```no_run
/// use hardtack::chat::{Prompter, Turn};
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let engine = hardtack::Engine::open("model.tack", &hardtack::Options::default())?;
/// let prompt = Prompter::new(&engine)?.prompt(&[Turn::user("What is a ring buffer?")])?;
/// println!("{} tokens: {}", prompt.tokens.len(), prompt.text);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Prompter {
    engine: Engine,
    template: ChatTemplate,
    pub(super) markers: Markers,
    pub(super) form: Form,
    /// Fields of a message in which the template looks for what the model thought.
    thinking_fields: Vec<&'static str>,
    variables: Map<String, Json>,
    tools: Vec<Json>,
    cancel: Cancel,
}

/// Fields by which templates know a model's thinking: most of them by the first, gpt-oss by the second.
const THINKING_FIELDS: [&str; 2] = ["reasoning_content", "thinking"];

/// A prompt as the model reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prompt {
    /// Its tokens, up to where the model's answer begins.
    pub tokens: Vec<u32>,
    /// Its text, for people. It does not say which names in it are tokens.
    pub text: String,
}

impl Prompter {
    /// Reads the blob's template.
    ///
    /// # Errors
    /// The blob has no template or no tokenizer, or one that cannot be read.
    pub fn new(engine: &Engine) -> Result<Self, Error> {
        let tokenizer = engine.tokenizer()?;
        let Some(section) = engine.section(SectionKind::Template) else {
            let advice = "this model has no form of conversation; it can only continue a text";
            return Err(Error::NoText { path: engine.path().to_owned(), section: "template", advice });
        };
        let vocabulary = tokenizer.vocabulary();
        let template = ChatTemplate::from_section(section, vocabulary)?;
        let source = String::from_utf8_lossy(section);
        let (markers, form) = (Markers::new(vocabulary, &source)?, Form::of(&source, vocabulary));
        let is_field = |field: &&str| {
            ["message.", "m.", "['", "[\""].iter().any(|before| source.contains(&format!("{before}{field}")))
        };
        let thinking_fields = THINKING_FIELDS.into_iter().filter(is_field).collect();
        let (variables, tools, cancel) = (Map::new(), Vec::new(), Cancel::new());
        Ok(Self { engine: engine.clone(), template, markers, form, thinking_fields, variables, tools, cancel })
    }

    /// Sets variables of the template, such as `enable_thinking` or `reasoning_effort`. They are the program's own words:
    /// nothing of theirs is made plain text.
    #[must_use]
    pub fn variables(mut self, variables: Map<String, Json>) -> Self {
        self.variables = variables;
        self
    }

    /// Sets tools that the model may call, each a JSON schema as chat APIs take them.
    #[must_use]
    pub fn tools(mut self, tools: Vec<Json>) -> Self {
        self.tools = tools;
        self
    }

    /// Sets what ends a rendering from elsewhere.
    #[must_use]
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// The prompt of a conversation, up to where the model's answer begins.
    ///
    /// # Errors
    /// The template refuses the conversation or fails, or the tokenizer does.
    pub fn prompt(&self, turns: &[Turn]) -> Result<Prompt, Error> {
        let turns: Vec<&Turn> = turns.iter().collect();
        let mark = mark(&turns);
        let text = self.render(&turns, mark)?;
        let tokens = self.encode_whole(&text, mark, usize::MAX)?.unwrap_or_default();
        Ok(Prompt { tokens, text: text.replace(mark, "") })
    }

    /// The tokens of a rendered conversation from its start on; `None` if there are more than `most`.
    pub(super) fn encode_whole(&self, text: &str, mark: char, most: usize) -> Result<Option<Vec<u32>>, Error> {
        let tokenizer = self.tokenizer()?;
        let Some(mut tokens) = self.encode(text, mark, most)? else { return Ok(None) };
        // Some templates write the begin token themselves, some leave it to us.
        if let Some(begin) = tokenizer.begin().filter(|begin| tokens.first() != Some(begin)) {
            tokens.insert(0, begin);
        }
        Ok(Some(tokens))
    }

    /// The tokens of a part of a rendered conversation.
    pub(super) fn encode(&self, text: &str, mark: char, most: usize) -> Result<Option<Vec<u32>>, Error> {
        Ok(self.markers.encode(self.tokenizer()?, text, mark, most)?)
    }

    /// The conversation's text, with breaks in the names of control tokens that somebody has said.
    pub(super) fn render(&self, turns: &[&Turn], mark: char) -> Result<String, Error> {
        let mut said: Vec<Said> = turns.iter().map(|turn| self.said(turn, mark)).collect();
        let text = self.render_said(turns, &said, mark)?;
        // A message that does not stand in the text as it is was changed by the template, which may have put a name
        // together from its pieces.
        let mut found = 0;
        let mut changed = false;
        for (turn, said) in turns.iter().zip(&mut said).filter(|(turn, _)| self.markers.has_beginnings(&turn.content)) {
            let content = said.content.trim();
            match text[found..].find(content).map(|at| at + found).or_else(|| text.find(content)) {
                Some(at) => found = at,
                None => {
                    said.content = self.markers.guard_all(&turn.content, mark);
                    changed = true;
                }
            }
        }
        if changed { self.render_said(turns, &said, mark) } else { Ok(text) }
    }

    /// Whether a rendered text begins with a name: it is cut there by any tokenizer.
    pub(super) fn begins_with_name(&self, text: &str) -> bool {
        self.markers.begin(text)
    }

    /// A turn's content as it goes to the template.
    pub(super) fn guarded(&self, turn: &Turn, mark: char) -> String {
        self.markers.guard(&turn.content, &turn.markers, mark)
    }

    fn said(&self, turn: &Turn, mark: char) -> Said {
        let thinking = self.markers.guard(&turn.thinking, &[], mark);
        Said { content: self.guarded(turn, mark), thinking }
    }

    fn render_said(&self, turns: &[&Turn], said: &[Said], mark: char) -> Result<String, Error> {
        let bytes: usize = said.iter().map(|said| said.content.len() + said.thinking.len()).sum();
        let output_bytes = RENDERED_BYTES.saturating_add(bytes.saturating_mul(RENDERED_FACTOR));
        let limits = RenderLimits { output_bytes, ..RenderLimits::default() };
        let message = |(turn, said): (&&Turn, &Said)| {
            let mut message = Message::new(&turn.role, said.content.as_str());
            if !said.thinking.is_empty() {
                self.thinking_fields.iter().for_each(|field| message.set(field, said.thinking.as_str()));
            }
            message
        };
        let messages: Vec<Message> = turns.iter().zip(said).map(message).collect();
        let interrupted = || self.cancel.is_cancelled();
        let mut input = RenderInput::new(&messages).limits(limits).interrupted(&interrupted);
        let tools: Vec<Json> = self.tools.iter().map(|tool| self.guarded_json(tool, mark)).collect();
        if !tools.is_empty() {
            input = input.tools(&tools);
        }
        if !self.variables.is_empty() {
            input = input.variables(&self.variables);
        }
        Ok(self.template.render(&input)?.to_string())
    }

    /// A value whose texts have breaks in them.
    fn guarded_json(&self, value: &Json, mark: char) -> Json {
        match value {
            Json::String(text) => Json::String(self.markers.guard(text, &[], mark)),
            Json::Array(items) => items.iter().map(|item| self.guarded_json(item, mark)).collect(),
            Json::Object(fields) => {
                let guarded = |(name, value): (&String, &Json)| {
                    (self.markers.guard(name, &[], mark), self.guarded_json(value, mark))
                };
                Json::Object(fields.iter().map(guarded).collect())
            }
            other => other.clone(),
        }
    }

    pub(super) fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        self.engine.tokenizer()
    }
}

/// What a turn says, with breaks in it.
struct Said {
    content: String,
    thinking: String,
}

/// A character for the breaks of a conversation.
pub fn mark(turns: &[&Turn]) -> char {
    unused_mark(turns.iter().flat_map(|turn| [turn.content.as_str(), turn.thinking.as_str()]))
}
