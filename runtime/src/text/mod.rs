//! Text for a model that speaks token ids: encoding, streaming text out, and chat templates.

mod error;
mod load;
mod stops;
mod stream;
mod template;
mod tokenizer;

pub use error::{TemplateError, TextError};
pub use stops::{STOP_BYTES_MAX, STOPS_MAX, Stops};
pub use stream::{Opening, Piece, TextStream};
pub use template::{ChatTemplate, Message, RenderLimits};
pub use tokenizer::{Special, Tokenizer};
