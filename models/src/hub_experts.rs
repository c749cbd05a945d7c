//! How folders store the experts of a layer: a tensor for each matrix of each expert, or tensors
//! for all of them.
//!
//! transformers 5 writes `experts.gate_up_proj` and `experts.down_proj` where it shall not go
//! back to the layout a model was published in; MLX stacks each matrix of all experts, as
//! `switch_mlp.gate_proj.weight` and so on.

use std::collections::HashMap;

use hardtack_format::Role;

use crate::select::Selection;
use crate::slots::{Place, Slot};
use crate::source::Source;
use crate::tensors::Names;

/// The layers of a folder whose experts are stored together.
pub(crate) struct HubExperts {
    /// Experts in a layer.
    count: usize,
    layers: HashMap<u32, Together>,
}

#[derive(Clone, Debug)]
enum Together {
    /// `PREFIX.gate_up_proj` `[experts, 2 * inner, hidden]`, gate's rows first, and
    /// `PREFIX.down_proj`.
    Joint(String),
    /// The same with each matrix turned, `[experts, hidden, 2 * inner]`.
    Turned(String),
    /// `PREFIX.gate_proj.weight` `[experts, inner, hidden]`, and so on.
    Stacked(String),
}

impl HubExperts {
    /// Looks through the names. `inner` is the width of one expert.
    pub fn new(names: &dyn Names, count: u32, inner: u32) -> Self {
        let mut layers = HashMap::new();
        for name in names.names() {
            let Some((layer, _)) =
                name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'))
            else {
                continue;
            };
            let Ok(layer) = layer.parse() else { continue };
            let together = if let Some(block) = name.strip_suffix(".experts.gate_up_proj") {
                let prefix = format!("{block}.experts");
                if is_turned(names, &prefix, inner as usize) {
                    Together::Turned(prefix)
                } else {
                    Together::Joint(prefix)
                }
            } else if let Some(prefix) = name.strip_suffix(".gate_proj.weight")
                && (prefix.ends_with(".switch_mlp") || prefix.ends_with(".experts"))
            {
                Together::Stacked(prefix.to_owned())
            } else {
                continue;
            };
            layers.insert(layer, together);
        }
        Self { count: count as usize, layers }
    }

    /// Looks for stacked matrices alone, in a family whose joint ones are laid out in a way of its
    /// own.
    pub fn stacked(names: &dyn Names, count: u32) -> Self {
        let mut own = Self::new(names, count, 0);
        own.layers.retain(|_, together| matches!(together, Together::Stacked(_)));
        own
    }

    /// Where an expert's matrix or bias is; `None` where it has a tensor of its own.
    pub fn source(&self, slot: &Slot) -> Option<Source> {
        let Place::Expert(layer, expert) = slot.place else { return None };
        let (expert, count) = (expert as usize, self.count);
        let (rows, columns) = (slot.rows as usize, slot.columns as usize);
        // Of what holds gate and up, the gate's half comes first.
        let half = if slot.role == Role::Up { rows } else { 0 };
        Some(Source::Stored(match (self.layers.get(&layer)?, slot.role) {
            (Together::Joint(prefix), Role::Gated | Role::Up) => Selection::one_of(
                format!("{prefix}.gate_up_proj"),
                expert,
                count,
                2 * rows,
                columns,
            )
            .every_row(half, 1, rows),
            (Together::Turned(prefix), Role::Gated | Role::Up) => Selection::one_of(
                format!("{prefix}.gate_up_proj"),
                expert,
                count,
                columns,
                2 * rows,
            )
            .every_column(half, 1, rows)
            .transposed(),
            (Together::Joint(prefix), Role::Down) => {
                Selection::one_of(format!("{prefix}.down_proj"), expert, count, rows, columns)
            }
            (Together::Turned(prefix), Role::Down) => {
                Selection::one_of(format!("{prefix}.down_proj"), expert, count, columns, rows)
                    .transposed()
            }
            (Together::Stacked(prefix), role) => {
                let (part, ending) = part(role)?;
                let name = format!("{prefix}.{part}.{ending}");
                match ending {
                    "bias" => Selection::row_of(name, expert, count, columns),
                    _ => Selection::one_of(name, expert, count, rows, columns),
                }
            }
            _ => return None,
        }))
    }
}

/// Whether joint matrices are `[inputs, outputs]`. One of the two shows it, unless the widths
/// happen to agree.
fn is_turned(names: &dyn Names, prefix: &str, inner: usize) -> bool {
    let sides = |part: &str| match names.shape(&format!("{prefix}.{part}")).as_deref() {
        Some([_, rows, columns]) => Some((*rows, *columns)),
        _ => None,
    };
    match (sides("down_proj"), sides("gate_up_proj")) {
        (Some((rows, columns)), _) if rows != columns => rows == inner,
        (_, Some((rows, columns))) if rows != columns => columns == 2 * inner,
        _ => false,
    }
}

fn part(role: Role) -> Option<(&'static str, &'static str)> {
    Some(match role {
        Role::Gated => ("gate_proj", "weight"),
        Role::Up => ("up_proj", "weight"),
        Role::Down => ("down_proj", "weight"),
        Role::GatedBias => ("gate_proj", "bias"),
        Role::UpBias => ("up_proj", "bias"),
        Role::DownBias => ("down_proj", "bias"),
        _ => return None,
    })
}
