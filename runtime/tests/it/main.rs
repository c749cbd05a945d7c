//! The library as an application uses it.

#[cfg(feature = "text")]
mod api;
mod cancel;
#[cfg(feature = "text")]
mod chat;
#[cfg(feature = "text")]
mod chat_file;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
mod device;
#[cfg(feature = "cuda")]
mod device_ring;
mod forks;
mod golden;
mod opening;
mod recognize;
mod ring;
#[cfg(feature = "text")]
mod scripted;
#[cfg(feature = "text")]
mod text_stream;
#[cfg(feature = "text")]
mod text_template;
#[cfg(feature = "text")]
mod text_template_authors;
#[cfg(feature = "text")]
mod text_template_hostile;
#[cfg(feature = "text")]
mod text_template_python;
#[cfg(feature = "text")]
mod text_tokenizer;
#[cfg(feature = "text")]
mod text_tokenizer_bounds;
#[cfg(feature = "text")]
mod tiny;
