//! What a rendering is given: messages, tools, variables, the clock and limits.

use serde_json::Map;

use crate::text::TemplateError;
use crate::text::template::{Clock, Json, Message};

/// Names that are the template's input already, so that no variable may have them.
const RESERVED: [&str; 4] = ["messages", "tools", "documents", "add_generation_prompt"];

/// What a template may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenderLimits {
    /// Statements, expressions and turns of a loop. Characters that operations look at or make are
    /// counted too: 64 are allowed for each step, and 64 for each byte of the rendered text.
    pub steps: u64,
    /// Bytes of the rendered text.
    pub output_bytes: usize,
}

/// The memory that values may take together, for each byte of text that may be rendered.
const MEMORY_PER_OUTPUT_BYTE: usize = 32;
/// What is granted in any case: a template's own words.
const MEMORY_BYTES_MIN: usize = 4 << 20;

impl RenderLimits {
    /// Most bytes that a template's values may take while they live.
    pub fn memory_bytes(&self) -> usize {
        self.output_bytes.saturating_mul(MEMORY_PER_OUTPUT_BYTE).max(MEMORY_BYTES_MIN)
    }
}

impl Default for RenderLimits {
    fn default() -> Self {
        Self { steps: 2_000_000, output_bytes: 1 << 20 }
    }
}

/// Everything that a template is given. As in `transformers`, `tools` and `documents` are none
/// where there are none.
#[derive(Clone)]
pub struct RenderInput<'a> {
    pub(super) messages: &'a [Message],
    pub(super) add_generation_prompt: bool,
    pub(super) tools: Option<&'a [Json]>,
    pub(super) documents: Option<&'a [Json]>,
    pub(super) variables: Option<&'a Map<String, Json>>,
    pub(super) clock: Option<Clock>,
    pub(super) limits: RenderLimits,
    pub(super) interrupted: Option<&'a dyn Fn() -> bool>,
}

impl<'a> RenderInput<'a> {
    /// A conversation that ends where the model's answer begins, with the default limits.
    pub fn new(messages: &'a [Message]) -> Self {
        Self {
            messages,
            add_generation_prompt: true,
            tools: None,
            documents: None,
            variables: None,
            clock: None,
            limits: RenderLimits::default(),
            interrupted: None,
        }
    }

    /// Whether the text ends where the model's answer begins (the default) or after the last turn.
    #[must_use]
    pub fn generation_prompt(mut self, wanted: bool) -> Self {
        self.add_generation_prompt = wanted;
        self
    }

    /// Tools that the model may call, each a JSON schema as chat APIs take them.
    #[must_use]
    pub fn tools(mut self, tools: &'a [Json]) -> Self {
        self.tools = Some(tools);
        self
    }

    /// Documents for models that answer from documents.
    #[must_use]
    pub fn documents(mut self, documents: &'a [Json]) -> Self {
        self.documents = Some(documents);
        self
    }

    /// Variables of the template, such as `enable_thinking` or `reasoning_effort`; see
    /// [`parse_variable`].
    #[must_use]
    pub fn variables(mut self, variables: &'a Map<String, Json>) -> Self {
        self.variables = Some(variables);
        self
    }

    /// What `strftime_now` takes for now; without it, the machine's local time.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// What the template may spend.
    #[must_use]
    pub fn limits(mut self, limits: RenderLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Asked every few thousand steps; rendering ends with `TemplateError::Interrupted` once it
    /// says true.
    #[must_use]
    pub fn interrupted(mut self, interrupted: &'a dyn Fn() -> bool) -> Self {
        self.interrupted = Some(interrupted);
        self
    }
}

/// Reads `NAME=VALUE`: a value that is JSON is taken as such, any other is a text.
///
/// ```
/// use hardtack::text::parse_variable;
///
/// assert_eq!(parse_variable("enable_thinking=false").unwrap(), ("enable_thinking".into(), false.into()));
/// assert_eq!(parse_variable("reasoning_effort=high").unwrap(), ("reasoning_effort".into(), "high".into()));
/// assert!(parse_variable("messages=[]").is_err());
/// ```
pub fn parse_variable(text: &str) -> Result<(String, Json), TemplateError> {
    let refuse = |reason: String| Err(TemplateError::Input(reason));
    let Some((name, value)) = text.split_once('=') else {
        return refuse("a template variable is written NAME=VALUE".into());
    };
    check_variable_name(name)?;
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Json::from(value))))
}

/// Whether a template may have a variable of this name.
pub(super) fn check_variable_name(name: &str) -> Result<(), TemplateError> {
    let refuse = |reason: String| Err(TemplateError::Input(reason));
    let mut characters = name.chars();
    let is_name = characters.next().is_some_and(|first| first == '_' || first.is_alphabetic())
        && characters.all(|other| other == '_' || other.is_alphanumeric());
    if !is_name {
        return refuse(format!("{:?} is not a name that a template can have", shorten(name)));
    }
    if RESERVED.contains(&name) {
        return refuse(format!("{name} is not a variable: it comes from the conversation"));
    }
    Ok(())
}

/// At most 300 bytes on one line: a template's own words may be megabytes.
pub(super) fn shorten(text: &str) -> String {
    const BYTES_MAX: usize = 300;
    let mut line = String::new();
    for word in text.split_whitespace() {
        let room = BYTES_MAX.saturating_sub(line.len());
        if !line.is_empty() {
            line.push(' ');
        }
        if word.len() > room {
            line.push_str(&word[..word.floor_char_boundary(room)]);
            line.push_str("...");
            return line;
        }
        line.push_str(word);
    }
    line
}
