//! Limits, each some times what published tokenizers have.

/// Normalizers, pre-tokenizers, decoders and post-processors, those inside sequences counted
/// too.
pub const STEPS_MAX: usize = 64;
/// Values of one of these four sections.
pub const VALUES_MAX: usize = 1 << 15;
/// Bytes of the strings of one of them.
pub const TEXT_BYTES_MAX: usize = 8 << 20;
/// Bytes of a string of the model's settings, such as its unknown token or what it puts before
/// a word's continuation.
pub const SETTING_BYTES_MAX: usize = 256;
/// Bytes of a regular expression.
pub const REGEX_BYTES_MAX: usize = 4096;
/// Character classes of all regular expressions, each as often as counted repetition writes it
/// out.
pub const CLASSES_MAX: usize = 512;
/// How many times as long a text can become.
pub const GROWTH_MAX: f64 = 4096.0;
/// Bytes of a `precompiled_charsmap`.
pub const CHARSMAP_BYTES_MAX: usize = 4 << 20;
