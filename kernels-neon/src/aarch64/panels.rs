//! The kernels for panels: one line for each encoding says what the tiers' loops must know of it.

use hardtack_kernels::{Activations, PanelRows};

use super::{floats, widen};

/// Writes a module of kernels of the type [`PanelFn`](hardtack_kernels::PanelFn) for each encoding.
/// A line says its bits, what codes are less in products of signed bytes, and how to unpack those.
/// Then it says the same for `i8mm`, which can also multiply unsigned codes.
///
/// `codes! { q4: 4, less 0: unpack::q4, i8mm less 0: unpack::q4; }` expands to
///
/// ```ignore
/// pub(super) mod q4 {
///     #[target_feature(enable = "neon")]
///     pub fn neon(/* as a `PanelFn` has it */) {
///         codes_neon::panel::<{ HEAD + 4 * BIT }, 0, { run(4, 0) }>(
///             panel, activations, first_token, out, |tile, block| unpack::q4(quads(tile, block)),
///         );
///     }
///     // `dotprod` likewise by `codes_dotprod`, and `i8mm` by `codes_i8mm`, which leaves an odd
///     // last token to `dotprod`.
/// }
/// ```
///
/// The closures are there because a function with target features is no `Fn`, while a closure
/// inside of one is.
macro_rules! codes {
    ($(
        $name:ident: $bits:literal, less $offset:literal: unpack::$signed:ident,
        i8mm less $i8mm_offset:literal: unpack::$i8mm:ident;
    )*) => { $(
        pub(super) mod $name {
            use hardtack_kernels::{Activations, PanelRows};

            use crate::aarch64::codes::{BIT, HEAD, eights, quads};
            use crate::aarch64::codes_neon::run;
            use crate::aarch64::{codes_dotprod, codes_i8mm, codes_neon, unpack};

            const REGISTERS: usize = HEAD + $bits * BIT;

            #[target_feature(enable = "neon")]
            pub fn neon(
                panel: &[u8],
                activations: &Activations<'_>,
                first_token: usize,
                out: &mut [PanelRows],
            ) {
                codes_neon::panel::<REGISTERS, $offset, { run($bits, $offset) }>(
                    panel, activations, first_token, out,
                    |tile, block| unpack::$signed(quads(tile, block)),
                );
            }

            #[target_feature(enable = "neon,dotprod")]
            pub fn dotprod(
                panel: &[u8],
                activations: &Activations<'_>,
                first_token: usize,
                out: &mut [PanelRows],
            ) {
                codes_dotprod::panel::<REGISTERS, $offset>(
                    panel, activations, first_token, out,
                    |tile, block| unpack::$signed(quads(tile, block)),
                );
            }

            #[target_feature(enable = "neon,dotprod,i8mm")]
            pub fn i8mm(
                panel: &[u8],
                activations: &Activations<'_>,
                first_token: usize,
                out: &mut [PanelRows],
            ) {
                let done = codes_i8mm::panel::<REGISTERS, $i8mm_offset>(
                    panel, activations, first_token, out,
                    |tile, block| unpack::$i8mm(eights(tile, block)),
                );
                dotprod(panel, activations, first_token + done, &mut out[done..]);
            }
        }
    )* };
}

codes! {
    q1: 1, less 0: unpack::q1, i8mm less 0: unpack::q1;
    q2: 2, less 0: unpack::q2, i8mm less 0: unpack::q2;
    q3: 3, less 4: unpack::q3, i8mm less 4: unpack::q3;
    q4: 4, less 0: unpack::q4, i8mm less 0: unpack::q4;
    q5: 5, less 16: unpack::q5, i8mm less 16: unpack::q5;
    q6: 6, less 0: unpack::q6, i8mm less 0: unpack::q6;
    q8: 8, less 128: unpack::q8_less_128, i8mm less 0: unpack::q8;
}

/// As [`codes!`], for the kernels of floats that all tiers share.
macro_rules! floats {
    ($($name:ident)*) => { $(
        #[target_feature(enable = "neon")]
        pub(super) fn $name(
            panel: &[u8],
            activations: &Activations<'_>,
            first_token: usize,
            out: &mut [PanelRows],
        ) {
            floats::panel(panel, activations, first_token, out, |column| widen::$name(column));
        }
    )* };
}

floats! { f32 f16 bf16 }
