//! The codes of a block of rows out of a tile's bit planes.
//!
//! `plane(bits, vector)` is a register of the plane that holds the code's bits from `bits` on. Its
//! bytes' bits from the lowest up are fields: field `i` holds quad `vector + i * 16 / fields`.

use std::arch::aarch64::*;

use super::codes::{BlockCodes, flip, insert};

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn q1(plane: impl Fn(usize, usize) -> uint8x16_t) -> BlockCodes {
    let one = vdupq_n_u8(1);
    let mut codes = [vdupq_n_s8(0); _];
    for vector in 0..2 {
        let fields = plane(0, vector);
        codes[vector] = vreinterpretq_s8_u8(vandq_u8(fields, one));
        codes[vector + 2] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8::<1>(fields), one));
        codes[vector + 4] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8::<2>(fields), one));
        codes[vector + 6] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8::<3>(fields), one));
        codes[vector + 8] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8::<4>(fields), one));
        codes[vector + 10] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8::<5>(fields), one));
        codes[vector + 12] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8::<6>(fields), one));
        codes[vector + 14] = vreinterpretq_s8_u8(vshrq_n_u8::<7>(fields));
    }
    codes
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn q2(plane: impl Fn(usize, usize) -> uint8x16_t) -> BlockCodes {
    let three = vdupq_n_u8(3);
    let mut codes = [vdupq_n_s8(0); _];
    for vector in 0..4 {
        let fields = plane(0, vector);
        codes[vector] = vreinterpretq_s8_u8(vandq_u8(fields, three));
        codes[vector + 4] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8::<2>(fields), three));
        codes[vector + 8] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8::<4>(fields), three));
        codes[vector + 12] = vreinterpretq_s8_u8(vshrq_n_u8::<6>(fields));
    }
    codes
}

/// Codes less 4, which is what the high bit counts. They need its inverse copied above the low
/// bits, and so no shift for it: Arm's cores shift in half of their vector pipes.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn q3(plane: impl Fn(usize, usize) -> uint8x16_t) -> BlockCodes {
    let mut codes = [vdupq_n_s8(0); _];
    // As a mask: of a code below 4, the bits above the low two, which are then its sign.
    let high = [0, 1].map(|vector| flip(plane(2, vector)));
    for vector in 0..4 {
        let low = plane(0, vector);
        let three = vdupq_n_u8(3);
        let sign = |quad: usize| vtstq_u8(high[quad % 2], vdupq_n_u8(1 << (quad / 2)));
        codes[vector] = vreinterpretq_s8_u8(insert(sign(vector), low, three));
        codes[vector + 4] =
            vreinterpretq_s8_u8(insert(sign(vector + 4), vshrq_n_u8::<2>(low), three));
        codes[vector + 8] =
            vreinterpretq_s8_u8(insert(sign(vector + 8), vshrq_n_u8::<4>(low), three));
        codes[vector + 12] = vreinterpretq_s8_u8(vsriq_n_u8::<6>(sign(vector + 12), low));
    }
    codes
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn q4(plane: impl Fn(usize, usize) -> uint8x16_t) -> BlockCodes {
    let mut codes = [vdupq_n_s8(0); _];
    for vector in 0..8 {
        let fields = plane(0, vector);
        codes[vector] = vreinterpretq_s8_u8(vandq_u8(fields, vdupq_n_u8(15)));
        codes[vector + 8] = vreinterpretq_s8_u8(vshrq_n_u8::<4>(fields));
    }
    codes
}

/// Codes less 16, as for [`q3`].
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn q5(plane: impl Fn(usize, usize) -> uint8x16_t) -> BlockCodes {
    let mut codes = [vdupq_n_s8(0); _];
    // As a mask: of a code below 16, the bits above the low four, which are then its sign.
    let high = [0, 1].map(|vector| flip(plane(4, vector)));
    for vector in 0..8 {
        let low = plane(0, vector);
        let sign = |quad: usize| vtstq_u8(high[quad % 2], vdupq_n_u8(1 << (quad / 2)));
        codes[vector] = vreinterpretq_s8_u8(insert(sign(vector), low, vdupq_n_u8(15)));
        codes[vector + 8] = vreinterpretq_s8_u8(vsriq_n_u8::<4>(sign(vector + 8), low));
    }
    codes
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn q6(plane: impl Fn(usize, usize) -> uint8x16_t) -> BlockCodes {
    let three = vdupq_n_u8(3);
    let mut codes = [vdupq_n_s8(0); _];
    for vector in 0..4 {
        // Field `i` of the high plane's vector belongs to quad `vector + 4 * i`.
        let high = plane(4, vector);
        let low = plane(0, vector);
        let next = plane(0, vector + 4);
        // As few shifts as can be: Arm's cores shift in half of their vector pipes. Where a high
        // field is in place, the low one is added below. Elsewhere the high one is put above the
        // low, in place of the other field. The last two are joined on top and moved down.
        codes[vector] = vreinterpretq_s8_u8(vsliq_n_u8::<4>(low, vandq_u8(high, three)));
        codes[vector + 4] =
            vreinterpretq_s8_u8(vsliq_n_u8::<4>(next, vandq_u8(vshrq_n_u8::<2>(high), three)));
        codes[vector + 8] =
            vreinterpretq_s8_u8(vsraq_n_u8::<4>(vandq_u8(high, vdupq_n_u8(0x30)), low));
        codes[vector + 12] = vreinterpretq_s8_u8(vshrq_n_u8::<2>(vsriq_n_u8::<2>(high, next)));
    }
    codes
}

/// Codes less 128: products of signed bytes take no more than 127.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn q8_less_128(plane: impl Fn(usize, usize) -> uint8x16_t) -> BlockCodes {
    let mut codes = q8(plane);
    for code in &mut codes {
        // Less 128 is the same as with the highest bit flipped.
        *code = veorq_s8(*code, vdupq_n_s8(i8::MIN));
    }
    codes
}

/// Unsigned codes, though the type cannot say so.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn q8(plane: impl Fn(usize, usize) -> uint8x16_t) -> BlockCodes {
    let mut codes = [vdupq_n_s8(0); _];
    for (quad, codes) in codes.iter_mut().enumerate() {
        *codes = vreinterpretq_s8_u8(plane(0, quad));
    }
    codes
}
