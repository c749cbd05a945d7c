//! How fast other encodings would be decoded: inner loops of prototypes beside the shipped panels',
//! one token on one thread, all taken by turns. Prints the rows of speed in the lab
//! pages on encodings.
#![cfg_attr(
    target_arch = "x86_64",
    allow(clippy::needless_range_loop, reason = "one number indexes several arrays")
)]

#[cfg(target_arch = "x86_64")]
#[path = "../../src/avx2/codes.rs"]
#[allow(dead_code, reason = "the loops of one token are used")]
mod codes;
#[cfg(target_arch = "x86_64")]
#[path = "../../src/avx2/memory.rs"]
#[allow(dead_code, reason = "kernels use it all")]
mod memory;
#[cfg(target_arch = "x86_64")]
#[path = "../../src/avx2/panel_q2.rs"]
#[allow(dead_code, reason = "only what takes codes apart is used")]
mod panel_q2;
#[cfg(target_arch = "x86_64")]
#[path = "../../src/avx2/panel_q3.rs"]
#[allow(dead_code, reason = "only what takes codes apart is used")]
mod panel_q3;
#[cfg(target_arch = "x86_64")]
#[path = "../../src/avx2/panel_q4.rs"]
#[allow(dead_code, reason = "only what takes codes apart is used")]
mod panel_q4;

#[cfg(target_arch = "x86_64")]
mod codebook;
#[cfg(target_arch = "x86_64")]
mod lookup;
#[cfg(target_arch = "x86_64")]
mod race;
#[cfg(target_arch = "x86_64")]
mod rotation;
#[cfg(target_arch = "x86_64")]
mod two_level;

fn main() {
    #[cfg(target_arch = "x86_64")]
    race::all();
}
