//! Text for a model that speaks token ids: encoding, streaming text out, and chat templates.

mod contain;
mod error;
pub(crate) mod markers;
pub(crate) mod pieces;
mod stops;
mod stream;
mod template;
mod text_marks;
mod tokenizer;

pub use error::{TemplateError, TextError};
pub use stops::{STOP_BYTES_MAX, STOPS_MAX, Stops};
pub use stream::{Opening, Piece, TextStream};
pub use template::{
    Author, ChatTemplate, Clock, Json, Message, RenderInput, RenderLimits, Rendered, Span,
    parse_variable,
};
pub use text_marks::TextMarks;
pub use tokenizer::Tokenizer;
