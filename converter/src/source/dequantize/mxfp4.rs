//! MXFP4 as GGUF holds it: 32 four-bit floats under one power of two (OCP Microscaling Formats 1.0,
//! section 5.4).

use hardtack_models::mxfp4::{BLOCK_BYTES, VALUES, exponent_value};

/// Exponent | 16 bytes; byte `i` holds element `i` (low nibble) and `i + 16` (high).
pub(super) fn gguf_block(block: &[u8; 1 + BLOCK_BYTES], numbers: &mut [f32; 2 * BLOCK_BYTES]) {
    let scale = exponent_value(block[0]);
    let (low, high) = numbers.split_at_mut(BLOCK_BYTES);
    for ((low, high), &pair) in low.iter_mut().zip(high).zip(&block[1..]) {
        *low = scale * VALUES[usize::from(pair & 15)];
        *high = scale * VALUES[usize::from(pair >> 4)];
    }
}
