//! Embeds the runtime.
fn main() {}
