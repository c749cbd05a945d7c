//! What the person who bakes should know.

use hardtack_converter::Baked;

use crate::output::warn;

/// Says it.
pub fn show(baked: &Baked) {
    for warning in &baked.warnings {
        warn(format_args!("warning: {warning}"));
    }
    if !baked.left_out.is_empty() {
        let kinds: Vec<String> = baked.left_out.iter().map(ToString::to_string).collect();
        warn(format_args!(
            "left out, tensors without a place in the network: {}",
            kinds.join(", ")
        ));
    }
}
