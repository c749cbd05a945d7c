//! How far a result may be off.

/// What two orders of summing these products may differ by; a product below the normal floats loses
/// a denormal more.
pub fn allowed(products: impl Iterator<Item = (f32, f32)>) -> f64 {
    let (mut count, mut sum) = (0.0, 0.0);
    for (a, b) in products {
        count += 1.0;
        sum += (f64::from(a) * f64::from(b)).abs();
    }
    count * (f64::from(f32::EPSILON) * sum + f64::from(f32::from_bits(1)))
}

pub fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// Floats from one to the other.
pub fn ulps(a: f32, b: f32) -> u32 {
    let ordered = |x: f32| {
        let bits = x.to_bits().cast_signed();
        if bits < 0 { i32::MIN.wrapping_sub(bits) } else { bits }
    };
    ordered(a).abs_diff(ordered(b))
}
