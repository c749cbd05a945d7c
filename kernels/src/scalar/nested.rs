//! Products with nested codes.

use half::f16;

use crate::math::{ACTIVATION_MIN, round};
use crate::nested::{CodeGroup, Folded, INPUT_MAX, check_fold};

pub(crate) fn fold(inputs: &[f32], ranges: &[f16], out: &mut Folded) {
    check_fold(inputs, ranges);
    let product = |at: usize| inputs[at] * ranges[at].to_f32();
    let largest =
        (0..inputs.len()).map(product).fold(0.0f32, |largest, product| largest.max(product.abs()));
    let (scale, inverse) = if largest < ACTIVATION_MIN {
        (0.0, 0.0)
    } else {
        (largest / INPUT_MAX, INPUT_MAX / largest)
    };
    out.codes.fill(0);
    for (at, code) in out.codes[..inputs.len()].iter_mut().enumerate() {
        *code = round(product(at) * inverse) as i16;
    }
    out.scale = scale;
}

pub(crate) fn code_rows(group: &CodeGroup<'_>, inputs: &[Folded], out: &mut [f32]) {
    group.check();
    assert_eq!(out.len(), inputs.len() * group.columns, "a row for each input");
    for (input, out) in inputs.iter().zip(out.chunks_exact_mut(group.columns)) {
        for (column, out) in out.iter_mut().enumerate() {
            let product =
                |row: usize| i32::from(input.codes[row]) * i32::from(group.code(row, column));
            let sum: i32 = (0..group.rows).map(product).sum();
            *out += sum as f32 * input.scale;
        }
    }
}

pub(crate) fn code_columns(group: &CodeGroup<'_>, inputs: &[Folded], out: &mut [f32]) {
    group.check();
    assert!(group.columns <= crate::nested::GROUP_ROWS, "an input has a number for each column");
    assert_eq!(out.len(), inputs.len() * group.rows, "a number for each row and input");
    for (input, out) in inputs.iter().zip(out.chunks_exact_mut(group.rows)) {
        for (row, out) in out.iter_mut().enumerate() {
            let product =
                |column: usize| i32::from(input.codes[column]) * i32::from(group.code(row, column));
            let sum: i32 = (0..group.columns).map(product).sum();
            *out += sum as f32 * input.scale;
        }
    }
}
