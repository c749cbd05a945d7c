//! The table that finds the decoder of a kind of element.

use hardtack_models::mxfp4::exponent_value;

use super::{float8, iq, iq4, k_quants, legacy, mxfp4, nvfp4, plain, ternary};
use crate::source::ElementKind;

/// Turns stored bytes, which are whole blocks, into as many numbers as they hold.
pub type Decoder = fn(&[u8], &mut [f32]);

/// The decoder of a kind, or none where we cannot read it.
pub fn decoder(kind: ElementKind) -> Option<Decoder> {
    let decoder: Decoder = match kind {
        ElementKind::F64 => |bytes, numbers| blocks(bytes, numbers, plain::f64),
        ElementKind::F32 => |bytes, numbers| blocks(bytes, numbers, plain::f32),
        ElementKind::F16 => |bytes, numbers| blocks(bytes, numbers, plain::f16),
        ElementKind::Bf16 => |bytes, numbers| blocks(bytes, numbers, plain::bf16),
        ElementKind::F8E4M3 => |bytes, numbers| each(bytes, numbers, float8::e4m3),
        ElementKind::F8E5M2 => |bytes, numbers| each(bytes, numbers, float8::e5m2),
        ElementKind::F8E4M3Fnuz => |bytes, numbers| each(bytes, numbers, float8::e4m3_fnuz),
        ElementKind::F8E5M2Fnuz => |bytes, numbers| each(bytes, numbers, float8::e5m2_fnuz),
        ElementKind::F8E8M0 => |bytes, numbers| each(bytes, numbers, exponent_value),
        ElementKind::I8 => |bytes, numbers| blocks(bytes, numbers, plain::i8),
        ElementKind::I16 => |bytes, numbers| blocks(bytes, numbers, plain::i16),
        ElementKind::I32 => |bytes, numbers| blocks(bytes, numbers, plain::i32),
        ElementKind::I64 => |bytes, numbers| blocks(bytes, numbers, plain::i64),
        ElementKind::Q4_0 => |bytes, numbers| blocks(bytes, numbers, legacy::q4_0),
        ElementKind::Q4_1 => |bytes, numbers| blocks(bytes, numbers, legacy::q4_1),
        ElementKind::Q5_0 => |bytes, numbers| blocks(bytes, numbers, legacy::q5_0),
        ElementKind::Q5_1 => |bytes, numbers| blocks(bytes, numbers, legacy::q5_1),
        ElementKind::Q8_0 => |bytes, numbers| blocks(bytes, numbers, legacy::q8_0),
        ElementKind::Q8_1 => |bytes, numbers| blocks(bytes, numbers, legacy::q8_1),
        ElementKind::Q2K => |bytes, numbers| blocks(bytes, numbers, k_quants::q2_k),
        ElementKind::Q3K => |bytes, numbers| blocks(bytes, numbers, k_quants::q3_k),
        ElementKind::Q4K => |bytes, numbers| blocks(bytes, numbers, k_quants::q4_k),
        ElementKind::Q5K => |bytes, numbers| blocks(bytes, numbers, k_quants::q5_k),
        ElementKind::Q6K => |bytes, numbers| blocks(bytes, numbers, k_quants::q6_k),
        ElementKind::Q8K => |bytes, numbers| blocks(bytes, numbers, k_quants::q8_k),
        ElementKind::Iq1S => |bytes, numbers| blocks(bytes, numbers, iq::iq1_s),
        ElementKind::Iq1M => |bytes, numbers| blocks(bytes, numbers, iq::iq1_m),
        ElementKind::Iq2Xxs => |bytes, numbers| blocks(bytes, numbers, iq::iq2_xxs),
        ElementKind::Iq2Xs => |bytes, numbers| blocks(bytes, numbers, iq::iq2_xs),
        ElementKind::Iq2S => |bytes, numbers| blocks(bytes, numbers, iq::iq2_s),
        ElementKind::Iq3Xxs => |bytes, numbers| blocks(bytes, numbers, iq::iq3_xxs),
        ElementKind::Iq3S => |bytes, numbers| blocks(bytes, numbers, iq::iq3_s),
        ElementKind::Iq4Nl => |bytes, numbers| blocks(bytes, numbers, iq4::iq4_nl),
        ElementKind::Iq4Xs => |bytes, numbers| blocks(bytes, numbers, iq4::iq4_xs),
        ElementKind::Tq1_0 => |bytes, numbers| blocks(bytes, numbers, ternary::tq1_0),
        ElementKind::Tq2_0 => |bytes, numbers| blocks(bytes, numbers, ternary::tq2_0),
        ElementKind::Q1_0 => |bytes, numbers| blocks(bytes, numbers, ternary::q1_0),
        ElementKind::Q2_0 => |bytes, numbers| blocks(bytes, numbers, ternary::q2_0),
        ElementKind::Nvfp4 => |bytes, numbers| blocks(bytes, numbers, nvfp4::nvfp4),
        ElementKind::Mxfp4 => |bytes, numbers| blocks(bytes, numbers, mxfp4::gguf_block),
        _ => return None,
    };
    Some(decoder)
}

/// Decodes byte after byte.
fn each(bytes: &[u8], numbers: &mut [f32], decode: impl Fn(u8) -> f32) {
    assert_eq!(bytes.len(), numbers.len());
    for (byte, number) in bytes.iter().zip(numbers) {
        *number = decode(*byte);
    }
}

/// Decodes block after block.
fn blocks<const BYTES: usize, const LENGTH: usize>(
    bytes: &[u8],
    numbers: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; LENGTH]),
) {
    let (stored, stored_rest) = bytes.as_chunks();
    let (decoded, decoded_rest) = numbers.as_chunks_mut();
    assert!(stored_rest.is_empty() && decoded_rest.is_empty());
    assert_eq!(stored.len(), decoded.len());
    for (block, target) in stored.iter().zip(decoded) {
        decode(block, target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kind of a GGUF file can be read. The sizes in the code of each decoder are those of
    /// the table that lays out files: `blocks` asserts them.
    #[test]
    fn decoders_agree_with_the_layout_table() {
        for number in 0..64 {
            let Some(kind) = ElementKind::from_gguf(number) else { continue };
            let decode = decoder(kind).unwrap_or_else(|| panic!("{kind}"));
            let stored = vec![0; 3 * kind.block_bytes()];
            let mut numbers = vec![1.0; 3 * kind.block_length()];
            decode(&stored, &mut numbers);
            assert!(numbers.iter().all(|&number| number == 0.0), "{kind}");
        }
    }
}
