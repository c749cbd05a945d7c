//! A conversation as tokens, in the model's own form and so that nobody can forge a turn.

use hardtack_format::SectionKind;
use serde_json::Map;

use super::form::Form;
use super::turn::Turn;
use crate::cancel::Cancel;
use crate::engine::Engine;
use crate::error::Error;
use crate::text::markers::{Markers, unused_mark};
use crate::text::{ChatTemplate, Json, Message, RenderInput, RenderLimits, TextMarks, Tokenizer};

/// Bytes of a rendering beside its messages, and for each of their bytes.
const RENDERED_BYTES: usize = 1 << 20;
const RENDERED_FACTOR: usize = 4;

/// Turns conversations into prompts by a blob's chat template.
///
/// Names of control tokens in what somebody said are plain text, whatever the template does with
/// it: a person who types `<|im_end|>` has typed ten letters. This is the only way to a prompt, and
/// it is safe.
///
/// A few older templates mark turns by plain text, such as Llama 2's `[/INST]` and Vicuna's
/// `USER:`. There is no token that could be kept from a person, so a mark that somebody types gets
/// a space after its first character: `[ /INST]`. [`TextMarks`] lists them.
///
/// ```
/// use hardtack::chat::{Prompter, Turn};
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let engine = hardtack::Engine::open("tests/data/tiny.tack")?;
/// let prompt = Prompter::new(&engine)?.prompt(&[Turn::user("What is a ring buffer?")])?;
/// println!("{} tokens: {}", prompt.tokens.len(), prompt.text);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Prompter {
    engine: Engine,
    template: ChatTemplate,
    pub(super) markers: Markers,
    text_marks: TextMarks,
    pub(super) form: Form,
    /// Fields of a message in which the template looks for what the model thought.
    thinking_fields: Vec<&'static str>,
    variables: Map<String, Json>,
    tools: Vec<Json>,
    cancel: Cancel,
    /// What else may be in a rendered text: the template, and the tools and variables as JSON.
    foreign: Vec<String>,
}

/// Fields by which templates know a model's thinking: most of them by the first, gpt-oss by the
/// second.
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
            return Err(Error::NoText {
                path: engine.path().to_owned(),
                section: "template",
                advice,
            });
        };
        let vocabulary = tokenizer.vocabulary();
        let template = ChatTemplate::from_section(section, vocabulary)?;
        let source = String::from_utf8_lossy(section);
        let (markers, form) = (Markers::new(vocabulary, &source)?, Form::of(&source, vocabulary));
        let text_marks = TextMarks::find(&template, &markers);
        let is_field = |field: &&str| {
            ["message.", "m.", "['", "[\""]
                .iter()
                .any(|before| source.contains(&format!("{before}{field}")))
        };
        let thinking_fields = THINKING_FIELDS.into_iter().filter(is_field).collect();
        let (engine, foreign) = (engine.clone(), vec![source.into_owned()]);
        let (variables, tools, cancel) = (Map::new(), Vec::new(), Cancel::new());
        Ok(Self {
            engine,
            template,
            markers,
            text_marks,
            form,
            thinking_fields,
            variables,
            tools,
            cancel,
            foreign,
        })
    }

    /// Sets variables of the template, such as `enable_thinking` or `reasoning_effort`. Names of
    /// control tokens in them are plain text.
    #[must_use]
    pub fn variables(mut self, variables: Map<String, Json>) -> Self {
        self.foreign.push(Json::Object(variables.clone()).to_string());
        self.variables = variables;
        self
    }

    /// Sets tools that the model may call, each a JSON schema as chat APIs take them.
    #[must_use]
    pub fn tools(mut self, tools: Vec<Json>) -> Self {
        self.foreign.push(Json::Array(tools.clone()).to_string());
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
        let mark = self.mark(&turns);
        let text = self.render(&turns, mark)?;
        let tokens = self.encode_whole(&text, mark, usize::MAX)?.unwrap_or_default();
        Ok(Prompt { tokens, text: text.replace(mark, "") })
    }

    /// The tokens of a rendered conversation from its start on; `None` if there are more than
    /// `most`.
    pub(super) fn encode_whole(
        &self,
        text: &str,
        mark: char,
        most: usize,
    ) -> Result<Option<Vec<u32>>, Error> {
        let tokenizer = self.tokenizer()?;
        let Some(mut tokens) = self.encode(text, mark, most)? else { return Ok(None) };
        // Some templates write the begin token themselves, some leave it to us.
        if let Some(begin) = tokenizer.begin().filter(|begin| tokens.first() != Some(begin)) {
            tokens.insert(0, begin);
        }
        Ok(Some(tokens))
    }

    /// The tokens of a part of a rendered conversation.
    pub(super) fn encode(
        &self,
        text: &str,
        mark: char,
        most: usize,
    ) -> Result<Option<Vec<u32>>, Error> {
        Ok(self.markers.encode(self.tokenizer()?, text, mark, most)?)
    }

    /// The conversation's text, with breaks in the names of control tokens that somebody has said.
    pub(super) fn render(&self, turns: &[&Turn], mark: char) -> Result<String, Error> {
        let messages: Vec<Message> = turns.iter().map(|turn| self.message(turn, mark)).collect();
        let bytes: usize = turns.iter().map(|turn| turn.bytes()).sum();
        let output_bytes = RENDERED_BYTES.saturating_add(bytes.saturating_mul(RENDERED_FACTOR));
        let limits = RenderLimits { output_bytes, ..RenderLimits::default() };
        let interrupted = || self.cancel.is_cancelled();
        let mut input = RenderInput::new(&messages).limits(limits).interrupted(&interrupted);
        if !self.tools.is_empty() {
            input = input.tools(&self.tools);
        }
        if !self.variables.is_empty() {
            input = input.variables(&self.variables);
        }
        let rendered = self.text_marks.part(self.template.render(&input)?);
        let mut roles: Vec<&str> = turns.iter().map(|turn| turn.role.as_str()).collect();
        roles.sort_unstable();
        roles.dedup();
        let real = turns.iter().map(|turn| turn.markers.len()).sum();
        Ok(self.markers.guard_rendered(&rendered, &roles, real, mark))
    }

    /// A turn as it goes to the template. Only the model's own words have breaks before: afterwards
    /// nobody can tell what it wrote as a token and what letter by letter.
    fn message(&self, turn: &Turn, mark: char) -> Message {
        if turn.role != "assistant" {
            return Message::new(&turn.role, turn.content.as_str());
        }
        let mut message = Message::new(&turn.role, self.guarded(turn, mark));
        if !turn.thinking.is_empty() {
            let thinking = self.markers.guard(&turn.thinking, &[], mark);
            self.thinking_fields.iter().for_each(|field| message.set(field, thinking.as_str()));
        }
        message
    }

    /// An answer as it goes to the template.
    pub(super) fn guarded(&self, turn: &Turn, mark: char) -> String {
        self.markers.guard(&turn.content, &turn.markers, mark)
    }

    /// A character for the breaks of a conversation: one that is in none of its texts, nor in the
    /// template.
    pub(super) fn mark(&self, turns: &[&Turn]) -> char {
        let said = turns.iter().flat_map(|turn| [turn.content.as_str(), turn.thinking.as_str()]);
        let around = self.foreign.iter().map(String::as_str);
        unused_mark(said.chain(around))
    }

    /// Whether a rendered text begins with a name: it is cut there by any tokenizer.
    pub(super) fn begins_with_name(&self, text: &str) -> bool {
        self.markers.begin(text)
    }

    pub(super) fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        self.engine.tokenizer()
    }
}
