//! Plain numbers: blocks of one element.

pub(super) fn f64(bytes: &[u8; 8], number: &mut [f32; 1]) {
    number[0] = f64::from_le_bytes(*bytes) as f32;
}

pub(super) fn f32(bytes: &[u8; 4], number: &mut [f32; 1]) {
    number[0] = f32::from_le_bytes(*bytes);
}

pub(super) fn f16(bytes: &[u8; 2], number: &mut [f32; 1]) {
    number[0] = half::f16::from_le_bytes(*bytes).to_f32();
}

pub(super) fn bf16(bytes: &[u8; 2], number: &mut [f32; 1]) {
    number[0] = half::bf16::from_le_bytes(*bytes).to_f32();
}

pub(super) fn i8(bytes: &[u8; 1], number: &mut [f32; 1]) {
    number[0] = i8::from_le_bytes(*bytes).into();
}

pub(super) fn i16(bytes: &[u8; 2], number: &mut [f32; 1]) {
    number[0] = i16::from_le_bytes(*bytes).into();
}

pub(super) fn i32(bytes: &[u8; 4], number: &mut [f32; 1]) {
    number[0] = i32::from_le_bytes(*bytes) as f32;
}

pub(super) fn i64(bytes: &[u8; 8], number: &mut [f32; 1]) {
    number[0] = i64::from_le_bytes(*bytes) as f32;
}
