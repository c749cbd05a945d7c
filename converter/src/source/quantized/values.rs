//! What a code means: the number of each of its 256 values.

use std::fmt;
use std::sync::Arc;

use hardtack_models::mxfp4;

use super::super::dequantize::float8;

/// The number of each code.
#[derive(Clone)]
pub(super) struct Values(Arc<[f32; 256]>);

impl Values {
    pub fn new(value: impl Fn(u8) -> f32) -> Self {
        Self(Arc::new(std::array::from_fn(|code| value(code as u8))))
    }

    /// The code itself.
    pub fn unsigned() -> Self {
        Self::new(f32::from)
    }

    /// The code less half its range.
    pub fn around_the_middle(bits: usize) -> Self {
        let middle = 1i16 << (bits - 1);
        Self::new(|code| f32::from(i16::from(code) - middle))
    }

    /// Two's complement.
    pub fn signed() -> Self {
        Self::new(|code| f32::from(code as i8))
    }

    /// GPTQ's first format stores zero points less one, and the largest stands for 0.
    pub fn one_more(bits: usize) -> Self {
        let mask = ((1u16 << bits) - 1) as u8;
        Self::new(|code| f32::from(code.wrapping_add(1) & mask))
    }

    /// Four-bit floats.
    pub fn e2m1() -> Self {
        Self::new(|code| mxfp4::VALUES[usize::from(code & 15)])
    }

    pub fn e4m3() -> Self {
        Self::new(float8::e4m3)
    }

    pub fn e5m2() -> Self {
        Self::new(float8::e5m2)
    }

    pub fn e4m3_fnuz() -> Self {
        Self::new(float8::e4m3_fnuz)
    }

    pub fn e5m2_fnuz() -> Self {
        Self::new(float8::e5m2_fnuz)
    }

    /// Powers of two.
    pub fn e8m0() -> Self {
        Self::new(mxfp4::exponent_value)
    }

    pub fn of(&self, code: u8) -> f32 {
        self.0[usize::from(code)]
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Values")
    }
}
