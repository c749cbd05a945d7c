//! MXFP4 as published GPT-OSS checkpoints hold it: blocks of 32 four-bit floats and one power of
//! two for each.
//!
//! OCP Microscaling Formats specification 1.0, sections 5.3.3 (E2M1) and 5.4.1 (E8M0).

/// Values of a block.
pub const BLOCK_VALUES: usize = 32;
/// Bytes of a block's codes: two to a byte, the lower nibble first.
pub const BLOCK_BYTES: usize = BLOCK_VALUES / 2;

/// E2M1: a sign, two bits of exponent and one of mantissa.
pub const VALUES: [f32; 16] =
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

/// Values of all blocks, in order: `blocks` holds 16 bytes for each byte of `scales`, which means
/// `2^(scale - 127)` (255 is NaN).
///
/// Blocks without a scale, and scales without a whole block, are left out.
pub fn decode(blocks: &[u8], scales: &[u8]) -> Vec<f32> {
    let mut values = Vec::with_capacity(scales.len() * BLOCK_VALUES);
    for (block, &scale) in blocks.chunks_exact(BLOCK_BYTES).zip(scales) {
        let scale = exponent_value(scale);
        for byte in block {
            values.push(VALUES[usize::from(byte & 15)] * scale);
            values.push(VALUES[usize::from(byte >> 4)] * scale);
        }
    }
    values
}

/// E8M0: `2^(exponent - 127)`, exactly, the subnormal `2^-127` included; 255 is NaN.
pub fn exponent_value(exponent: u8) -> f32 {
    match exponent {
        0 => f32::from_bits(1 << 22),
        255 => f32::NAN,
        _ => f32::from_bits(u32::from(exponent) << 23),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nibbles_stand_low_first_and_scales_are_powers_of_two() {
        let mut block = [0u8; BLOCK_BYTES];
        block[0] = 0x21;
        block[1] = 0xF7;
        let values = decode(&block, &[128]);
        assert_eq!(values.len(), BLOCK_VALUES);
        assert_eq!(values[..4], [1.0, 2.0, 12.0, -12.0]);
    }

    #[test]
    fn the_ends_of_the_scale_are_exact() {
        assert_eq!(f64::from(exponent_value(0)), 2f64.powi(-127));
        assert_eq!(f64::from(exponent_value(1)), 2f64.powi(-126));
        assert_eq!(f64::from(exponent_value(254)), 2f64.powi(127));
        assert!(exponent_value(255).is_nan());
    }

    #[test]
    fn half_a_block_is_left_out() {
        assert!(decode(&[0; 15], &[127]).is_empty());
        assert!(decode(&[0; 16], &[]).is_empty());
    }
}
