//! One turn of a conversation, with whatever fields a template may read.

use serde_json::Map;

use crate::text::TemplateError;
use crate::text::template::Json;

/// One turn: a role, what is said, and any further field that a template reads.
///
/// Templates see it as a dictionary whose keys keep their order.
///
/// ```
/// use hardtack::text::Message;
///
/// let turn = Message::new("assistant", "4").with("reasoning_content", "2 and 2");
/// assert_eq!(turn.role(), "assistant");
/// assert_eq!(turn.content_text(), Some("4"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    fields: Map<String, Json>,
}

impl Message {
    /// A turn of `role`: `system`, `user`, `assistant`, `tool`, or what else the template knows.
    /// `content` is a text, a list of parts such as `{"type": "text", "text": ...}`, or null.
    pub fn new(role: &str, content: impl Into<Json>) -> Self {
        let fields =
            [("role".to_owned(), Json::from(role)), ("content".to_owned(), content.into())];
        Self { fields: fields.into_iter().collect() }
    }

    /// A turn as chat APIs write it: an object with at least a `role` that is a text.
    pub fn from_json(turn: Json) -> Result<Self, TemplateError> {
        match turn {
            Json::Object(fields) if fields.get("role").is_some_and(Json::is_string) => {
                Ok(Self { fields })
            }
            Json::Object(_) => Err(TemplateError::Input("a message has no \"role\"".into())),
            _ => Err(TemplateError::Input("a message is not an object".into())),
        }
    }

    /// Adds or replaces a field: `reasoning_content`, `thinking`, `tool_calls`, `tool_call_id`,
    /// `name` or another.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Json>) -> Self {
        self.set(field, value);
        self
    }

    /// Adds or replaces a field.
    pub fn set(&mut self, field: &str, value: impl Into<Json>) {
        self.fields.insert(field.to_owned(), value.into());
    }

    /// Who speaks.
    pub fn role(&self) -> &str {
        self.fields.get("role").and_then(Json::as_str).unwrap_or_default()
    }

    /// What is said, where it is a plain text.
    pub fn content_text(&self) -> Option<&str> {
        self.fields.get("content").and_then(Json::as_str)
    }

    /// One field.
    pub fn field(&self, name: &str) -> Option<&Json> {
        self.fields.get(name)
    }

    /// All fields in order.
    pub fn fields(&self) -> &Map<String, Json> {
        &self.fields
    }
}
