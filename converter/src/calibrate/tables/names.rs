//! Every number of the tables under its name: one walk that writing and reading share.

use super::costs::{DomainTable, ExpertTable, LayerTable, Tables};

/// The values of one stored tensor, and its shape.
pub enum Values<'a> {
    /// Costs and losses.
    Floats(Vec<&'a mut f64>),
    /// Counts of tokens.
    Counts(Vec<&'a mut u64>),
}

/// All tensors of the tables: name, shape, and the numbers themselves.
pub fn tensors(tables: &mut Tables) -> Vec<(String, Vec<usize>, Values<'_>)> {
    let mut all = Vec::new();
    for (index, domain) in tables.domains.iter_mut().enumerate() {
        let prefix = format!("domain.{index}");
        let DomainTable { loss, embedding, head, layers } = domain;
        all.push((format!("{prefix}.loss"), vec![1], Values::Floats(vec![loss])));
        all.push(row(format!("{prefix}.embedding"), embedding));
        all.push(row(format!("{prefix}.head"), head));
        for (layer, LayerTable { attention, common, experts }) in layers.iter_mut().enumerate() {
            let prefix = format!("{prefix}.layer.{layer}");
            all.push(row(format!("{prefix}.attention"), attention));
            if !common.is_empty() {
                all.push(row(format!("{prefix}.common"), common));
            }
            if !experts.is_empty() {
                push_experts(&prefix, experts, &mut all);
            }
        }
    }
    all
}

fn row(name: String, values: &mut [f64]) -> (String, Vec<usize>, Values<'_>) {
    (name, vec![values.len()], Values::Floats(values.iter_mut().collect()))
}

fn push_experts<'a>(
    prefix: &str,
    experts: &'a mut [ExpertTable],
    all: &mut Vec<(String, Vec<usize>, Values<'a>)>,
) {
    let (count, options) = (experts.len(), experts[0].cost.len());
    let (mut costs, mut tokens, mut masses) = (Vec::new(), Vec::new(), Vec::new());
    for expert in experts {
        costs.extend(expert.cost.iter_mut());
        tokens.push(&mut expert.tokens);
        masses.push(&mut expert.mass);
    }
    all.push((format!("{prefix}.experts.cost"), vec![count, options], Values::Floats(costs)));
    all.push((format!("{prefix}.experts.tokens"), vec![count], Values::Counts(tokens)));
    all.push((format!("{prefix}.experts.mass"), vec![count], Values::Floats(masses)));
}
