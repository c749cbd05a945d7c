//! Costs corrected by measurement.
//!
//! An estimated cost is of second order and looks at one block alone. An error grows on its way
//! through the later layers: other experts are chosen, and it adds to the errors of all the others.
//! The first layers have the longest way. So the quantized model is measured with one group of
//! parts after another as the checkpoint has them. The fall of the divergence, divided by what the
//! costs say, is the factor of the group's costs when the bits are shared out again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::calibrated_options::{Refined, Stage};
use super::composition::rounded;
use super::error::BakeError;
use super::round::{Coded, Rounds, Show, mean};
use crate::allocation::{Factors, group_costs};
use crate::assignment::Part;
use crate::calibrate::{Domain, Judge, Progress};
use crate::files::{beside, replace};
use crate::store::{Key, Store};

/// Tokens of each text that a measurement takes, spread evenly over what was fitted on.
const TOKENS: usize = 4096;
/// Share of the whole divergence below which a group's own is not trusted: it is drawn to the
/// factor of all of them together.
const PRIOR: f64 = 0.01;

/// Divergences of a quantized model, on disk from group to group.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Measured {
    /// The codes it was measured of.
    codes: String,
    /// With one group after another as the checkpoint has it, in the order of the network; the
    /// last is of all that is quantized.
    divergences: Vec<f64>,
}

impl Measured {
    /// The one on disk; none if that is no measurement.
    fn read(path: &Path) -> Option<Self> {
        std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }

    fn write(&self, path: &Path) -> Result<(), BakeError> {
        let json = serde_json::to_vec(self).expect("plain strings and numbers always serialize");
        replace(path, &json).map_err(|source| BakeError::Write { path: path.to_owned(), source })
    }
}

/// Files beside the output that refinements leave while a bake is under way.
pub fn scratch_paths(output: &Path, refinements: usize) -> Vec<PathBuf> {
    let paths = |pass| [codes_path(output, pass), measured_path(output, pass)];
    (1..=refinements).flat_map(paths).collect()
}

fn codes_path(output: &Path, pass: usize) -> PathBuf {
    beside(output, &format!("refined.{pass}.codes"))
}

fn measured_path(output: &Path, pass: usize) -> PathBuf {
    beside(output, &format!("refined.{pass}.json"))
}

impl Rounds<'_> {
    /// Measures, shares the bits out again and quantizes again, until it no longer helps on text
    /// held out.
    pub fn refine(
        &self,
        coded: &mut Coded,
        show: &mut Show<'_>,
    ) -> Result<Vec<Refined>, BakeError> {
        let (recipe, wanted) = (self.composition.recipe, self.options.wanted());
        let mut refined = Vec::new();
        for pass in 1..=self.options.refinements {
            let costs = group_costs(recipe, self.tables, &wanted, &coded.assignment);
            let measured = self.measure(coded, &costs, &measured_path(self.output, pass), show)?;
            let factors = factors(&costs, &measured);
            let next = self.composition.within_target(self.tables, &wanted, &factors)?;
            if next.0 == coded.assignment {
                break;
            }
            let next = self.quantize(next, &codes_path(self.output, pass), show)?;
            let divergence = |coded: &Coded| mean(&coded.allocated.held_out, |own| own.divergence);
            let own = Refined { before: divergence(coded), after: divergence(&next) };
            refined.push(own);
            if !own.stays() {
                break;
            }
            *coded = next;
        }
        Ok(refined)
    }

    fn measure(
        &self,
        coded: &Coded,
        costs: &Factors,
        path: &Path,
        show: &mut Show<'_>,
    ) -> Result<Measured, BakeError> {
        let codes = blake3::Hash::from_bytes(coded.store.fingerprint()).to_hex().to_string();
        let groups = in_order(costs);
        let known = Measured::read(path)
            .filter(|own| own.codes == codes && own.divergences.len() <= groups.len() + 1);
        let mut measured = known.unwrap_or(Measured { codes, divergences: Vec::new() });
        if measured.divergences.len() > groups.len() {
            return Ok(measured);
        }

        let layers = self.composition.recipe.layers.len();
        let depths = groups.iter().map(|group| group.depth(layers)).chain([layers]);
        // A group changes nothing before its own layer, so it goes on from there with the stream of
        // the quantized model.
        let total = 2 * layers + depths.clone().map(|depth| layers - depth).sum::<usize>();
        let some = spread(self.fit);
        let windows = some.iter().map(|domain| domain.tokens.len()).sum::<usize>() as u64;
        let mut show = |done: usize, own: Progress| {
            show(Stage::Refine, done as u64 * windows + own.done, total as u64 * windows);
        };
        let judge = Judge::new(self.exact, &some, self.settings, &mut |own| show(0, own))?;
        let quantized = self.model(&coded.store);
        let mut stream = judge.begin(&quantized)?;
        let (mut done, mut at) = (layers, 0);
        for (number, depth) in depths.enumerate() {
            judge.advance(&mut stream, depth, &quantized, &mut |own| show(done, own))?;
            done += depth - at;
            at = depth;
            if number >= measured.divergences.len() {
                let kept = groups
                    .get(number)
                    .map_or_else(BTreeSet::new, |&group| keys(&coded.store, group));
                let judged =
                    judge.judge_from(stream.clone(), &quantized.keeping(kept), &mut |own| {
                        show(done, own)
                    })?;
                let sum: f64 = judged.iter().map(|own| own.divergence).sum();
                measured.divergences.push(rounded(sum / judged.len() as f64));
                measured.write(path)?;
            }
            done += layers - depth;
        }
        Ok(measured)
    }
}

/// Windows of each text, evenly spread, of about as many tokens as a measurement takes.
fn spread(domains: &[Domain]) -> Vec<Domain> {
    let own = |domain: &Domain| {
        let every = domain.token_count().div_ceil(TOKENS).max(1);
        Domain { tokens: domain.tokens.iter().step_by(every).cloned().collect(), ..domain.clone() }
    };
    domains.iter().map(own).collect()
}

/// Groups in the order of the network.
fn in_order(costs: &Factors) -> Vec<Part> {
    let mut groups: Vec<Part> = costs.keys().copied().collect();
    groups.sort_by_key(|group| group.depth(usize::MAX));
    groups
}

/// Everything of a group that a store has.
fn keys(store: &Arc<Store>, group: Part) -> BTreeSet<Key> {
    store
        .keys()
        .filter(|&(section, role)| Part::of(section, role).map(Part::group) == Some(group))
        .collect()
}

/// Measured by estimated cost of each group.
fn factors(costs: &Factors, measured: &Measured) -> Factors {
    let Some((whole, without)) = measured.divergences.split_last() else { return Factors::new() };
    let groups = in_order(costs).into_iter().zip(without);
    let saved: Factors =
        groups.map(|(group, without)| (group, (whole - without).max(0.0))).collect();
    let (estimated, found): (f64, f64) = (costs.values().sum(), saved.values().sum());
    let prior = PRIOR * whole;
    if estimated <= 0.0 || found <= 0.0 || prior <= 0.0 {
        return Factors::new();
    }
    let factor = |(group, saved)| {
        (group, rounded((saved + prior) / (costs[&group] + prior * estimated / found)))
    };
    saved.into_iter().map(factor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(whole: f64, without: &[f64]) -> Measured {
        Measured { codes: String::new(), divergences: [without, &[whole]].concat() }
    }

    fn costs(costs: &[f64]) -> Factors {
        (0..).map(|layer| Part::Expert(layer, 0)).zip(costs.iter().copied()).collect()
    }

    fn found(own: &[f64], whole: f64, without: &[f64]) -> Vec<f64> {
        factors(&costs(own), &measured(whole, without)).into_values().collect()
    }

    #[test]
    fn a_factor_is_what_was_measured_by_what_was_estimated() {
        let own = found(&[0.1, 0.1, 0.1], 1.0, &[0.9, 0.7, 0.8]);
        // All groups together: 0.6 for 0.3.
        let expected = [0.11 / 0.105, 0.31 / 0.105, 0.21 / 0.105];
        assert!(
            own.iter().zip(expected).all(|(own, expected)| (own - expected).abs() < 1e-6),
            "{own:?}"
        );
        // Costs that are right but for one scale keep their order, and where nothing was lost, they
        // are as they were.
        let own = found(&[0.1, 0.2, 0.4], 2.0, &[1.8, 1.6, 1.2]);
        assert!(own.iter().all(|own| (own - 2.0).abs() < 1e-6), "{own:?}");
    }

    #[test]
    fn what_is_too_small_to_be_measured_takes_the_factor_of_all() {
        // The last group costs next to nothing, and by chance the divergence rose without it.
        let own = found(&[0.1, 0.1, 0.000_01], 1.0, &[0.8, 0.8, 1.001]);
        assert!((own[2] / 2.0 - 1.0).abs() < 0.01, "{own:?}");
        // One that should cost much and does not is worth little, never nothing.
        let own = found(&[0.1, 0.1, 0.1], 1.0, &[0.8, 0.8, 1.001]);
        assert!(own[2] > 0.0 && own[2] < 0.2 * own[0], "{own:?}");
    }

    #[test]
    fn what_was_measured_goes_to_its_own_group() {
        let parts = [
            Part::Embedding,
            Part::Head,
            Part::Attention(0),
            Part::Attention(1),
            Part::Common(0),
            Part::Common(1),
        ];
        let costs: Factors = parts.into_iter().map(|part| (part, 0.1)).collect();
        let order = [
            Part::Embedding,
            Part::Attention(0),
            Part::Common(0),
            Part::Attention(1),
            Part::Common(1),
            Part::Head,
        ];
        assert_eq!(in_order(&costs), order);
        let found = factors(&costs, &measured(1.0, &[0.95, 0.9, 0.8, 0.7, 0.6, 0.5]));
        let by_factor = found
            .into_iter()
            .map(|(part, factor)| ((factor * 1e6) as u64, part))
            .collect::<BTreeSet<_>>();
        assert!(
            by_factor.into_iter().map(|(_, part)| part).eq(order),
            "the less is left, the more it costs"
        );
    }

    #[test]
    fn without_a_divergence_there_are_no_factors() {
        for (whole, without) in [(0.0, [0.0, 0.0]), (0.1, [0.1, 0.2])] {
            assert!(found(&[0.1, 0.2], whole, &without).is_empty());
        }
        assert!(found(&[0.0, 0.0], 0.1, &[0.05, 0.0]).is_empty());
    }

    #[test]
    fn a_measurement_takes_windows_from_the_whole_of_a_text() {
        let windows: Vec<Vec<u32>> = (0..20).map(|window| vec![window; 512]).collect();
        let text = Domain { name: "text".to_owned(), hash: String::new(), tokens: windows };
        let [some] = &spread(std::slice::from_ref(&text))[..] else { panic!("one text") };
        let first: Vec<u32> = some.tokens.iter().map(|window| window[0]).collect();
        assert_eq!(first, [0, 3, 6, 9, 12, 15, 18]);
        let short = Domain { tokens: text.tokens[..2].to_vec(), ..text };
        assert_eq!(spread(std::slice::from_ref(&short)), [short]);
    }
}
