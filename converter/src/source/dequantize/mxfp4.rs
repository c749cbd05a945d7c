//! MXFP4: 32 four-bit floats under one power of two (OCP Microscaling Formats 1.0, section 5.4).

/// Bytes of a group: 32 elements, two in a byte.
pub(in super::super) const PAIRS: usize = 16;

/// E2M1: one sign bit, two bits of exponent, one of mantissa.
const VALUES: [f32; 16] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

/// Decodes the layout of Hugging Face's GPT-OSS checkpoints: `blocks` [groups, 16], `scales` [groups], giving
/// [groups, 32]. Byte `i` of a group holds element `2 i` (low nibble) and `2 i + 1` (high).
///
/// # Panics
/// Where `blocks` is not 16 bytes for each scale.
pub fn mxfp4(blocks: &[u8], scales: &[u8]) -> Vec<f32> {
    let (groups, rest) = blocks.as_chunks::<PAIRS>();
    assert!(rest.is_empty() && groups.len() == scales.len());
    let mut numbers = Vec::with_capacity(2 * blocks.len());
    for (group, &exponent) in groups.iter().zip(scales) {
        let scale = power_of_two(exponent);
        for &pair in group {
            numbers.push(scale * VALUES[usize::from(pair & 15)]);
            numbers.push(scale * VALUES[usize::from(pair >> 4)]);
        }
    }
    numbers
}

/// GGUF's layout: exponent | 16 bytes; byte `i` holds element `i` (low nibble) and `i + 16` (high).
pub(super) fn gguf_block(block: &[u8; 17], numbers: &mut [f32; 32]) {
    let scale = power_of_two(block[0]);
    let (low, high) = numbers.split_at_mut(PAIRS);
    for ((low, high), &pair) in low.iter_mut().zip(high).zip(&block[1..]) {
        *low = scale * VALUES[usize::from(pair & 15)];
        *high = scale * VALUES[usize::from(pair >> 4)];
    }
}

/// E8M0: 2^(exponent - 127), and 255 is NaN. 2^-127 lies below the normal numbers of f32.
fn power_of_two(exponent: u8) -> f32 {
    match exponent {
        0 => f32::from_bits(1 << 22),
        255 => f32::NAN,
        _ => f32::from_bits(u32::from(exponent) << 23),
    }
}
