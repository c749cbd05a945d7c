//! A tier's kernels for panels, one line for each encoding.

/// Writes kernels of the type [`PanelFn`](hardtack_kernels::PanelFn). Each hands the loop over a
/// panel the one thing that its encoding knows: how to unpack a piece of it.
///
/// `panels! { "avx2,fma,f16c": q4 = codes::panel(|tile, vector| unpack::q4(tile, vector)); }`
/// expands to
///
/// ```ignore
/// #[target_feature(enable = "avx2,fma,f16c")]
/// pub(crate) fn q4(
///     panel: &[u8],
///     activations: &Activations<'_>,
///     first_token: usize,
///     out: &mut [PanelRows],
/// ) {
///     codes::panel(panel, activations, first_token, out, |tile, vector| {
///         unpack::q4(tile, vector)
///     });
/// }
/// ```
///
/// The closure is there because a function with target features is no `Fn`, while a closure
/// inside of one is.
macro_rules! panels {
    ($features:literal: $($name:ident = $file:ident::$multiply:ident($unpack:expr);)*) => { $(
        #[target_feature(enable = $features)]
        pub(crate) fn $name(
            panel: &[u8],
            activations: &hardtack_kernels::Activations<'_>,
            first_token: usize,
            out: &mut [hardtack_kernels::PanelRows],
        ) {
            $file::$multiply(panel, activations, first_token, out, $unpack);
        }
    )* };
}

pub(crate) use panels;
