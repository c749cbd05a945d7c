//! The allocation whose blob keeps to a target: bytes of the whole file are known exactly before a
//! weight is read.

use hardtack_format::Encoding;
use hardtack_models::Recipe;

use super::allocation::{Allocation, Order, Target, allocate, assigned_bytes};
use super::assignment::Assignment;
use super::draft::Draft;
use super::error::BakeError;
use super::provenance::{Allocated, CalibrationText, EarlierRound, Factor, Provenance, SourceFile};
use crate::allocate::AllocateError;
use crate::calibrate::{Domain, Tables, default_options};
use crate::vocabulary::TextSections;

/// Bytes that a blob's account of its own making may grow by once the verdict is known, for all
/// texts and for each.
const ABOUT_BYTES: u64 = 256;

/// Bytes that two figures of an allocation take at most.
const FIGURES_BYTES: u64 = 64;
/// Bytes that the factor of one group of parts takes at most, with its name.
const FACTOR_BYTES: u64 = 128;

/// What a blob is made of besides its weights.
#[derive(Clone, Copy)]
pub struct About<'a> {
    pub recipe: &'a Recipe,
    pub text: &'a TextSections,
    pub sources: &'a [SourceFile],
    pub calibration: &'a [CalibrationText],
    /// Bytes that are kept free for a KV policy and what is said about it.
    pub kv_room: u64,
}

impl About<'_> {
    /// The blob of an assignment.
    pub fn draft<'d>(
        &'d self,
        assignment: &Assignment,
        allocated: &Allocated,
        kv_policy: Option<&'d [u8]>,
    ) -> Result<Draft<'d>, BakeError> {
        let own = Provenance::new(
            self.recipe,
            assignment,
            self.sources,
            self.calibration,
            Some(allocated),
        );
        Draft::with(self.recipe, self.text, own, kv_policy, assignment.clone())
    }

    /// Its length, with room for a verdict.
    fn file_bytes(&self, assignment: &Assignment, allocated: &Allocated) -> Result<u64, BakeError> {
        let room = ABOUT_BYTES * (1 + self.calibration.len() as u64) + self.kv_room;
        Ok(self.draft(assignment, allocated, None)?.layout.file_bytes() + room)
    }

    /// Refuses a target that no allocation keeps to, before anything is measured: sizes do not
    /// depend on costs. `room` is what the account of the blob's making may still grow by.
    ///
    /// # Errors
    /// The target is too small.
    pub fn check_target(
        &self,
        fit: &[Domain],
        order: &Order<'_>,
        room: u64,
    ) -> Result<(), BakeError> {
        if let Target::ExpertBits(bits) = order.target {
            let least =
                default_options().iter().filter_map(|option| option.code_bits()).min().unwrap_or(1);
            let is_enough = bits >= f64::from(least);
            return if is_enough { Ok(()) } else { Err(BakeError::ExpertBits { bits, least }) };
        }
        let mut tables = Tables::zeros(self.recipe, fit, &default_options());
        for (domain, header) in tables.domains.iter_mut().zip(&tables.header.domains) {
            // No count is written with more digits.
            let experts = domain.layers.iter_mut().flat_map(|layer| &mut layer.experts);
            experts.for_each(|expert| expert.tokens = header.tokens);
        }
        let about = Self { kv_room: self.kv_room + FIGURES_BYTES + room, ..*self };
        about.within_target(&tables, order, &[]).map(|_| ())
    }

    /// What a blob's account of its making grows by with each earlier round.
    pub fn round_bytes(&self) -> u64 {
        ABOUT_BYTES * (1 + self.calibration.len() as u64)
    }

    /// What it grows by with the factors of a refinement.
    pub fn factors_bytes(&self) -> u64 {
        // Embeddings and head, and of each layer attention, common block and experts.
        FACTOR_BYTES * (2 + 3 * self.recipe.layers.len() as u64)
    }

    /// The allocation whose blob keeps to the order's target, after some rounds.
    pub fn within_target(
        &self,
        tables: &Tables,
        order: &Order<'_>,
        rounds: &[EarlierRound],
    ) -> Result<(Assignment, Allocated), BakeError> {
        let allocation = |target| allocate(self.recipe, tables, &Order { target, ..*order });
        let describe = |allocation: &Allocation| describe(allocation, tables, order, rounds);
        let Target::Bytes(budget) = order.target else {
            let own = allocation(order.target)?;
            let allocated = describe(&own);
            return Ok((own.assignment, allocated));
        };
        // Everything that has no choice: header and index, tokenizer, vectors, gates, padding.
        let uniform = Assignment::uniform(&self.recipe.spec, Encoding::Q4, order.head);
        let blank = describe(&Allocation { assignment: uniform.clone(), cost: 0.0, bound: 0.0 });
        let fixed = self
            .file_bytes(&uniform, &blank)?
            .saturating_sub(assigned_bytes(self.recipe, &uniform));
        let mut left = budget.saturating_sub(fixed);
        loop {
            let own = match allocation(Target::Bytes(left)) {
                Err(AllocateError::Budget { smallest, .. }) => {
                    let own = allocation(Target::Bytes(smallest))?;
                    let smallest = self.file_bytes(&own.assignment, &describe(&own))?;
                    return Err(BakeError::Floor { budget, smallest });
                }
                own => own?,
            };
            let allocated = describe(&own);
            let bytes = self.file_bytes(&own.assignment, &allocated)?;
            if bytes <= budget {
                return Ok((own.assignment, allocated));
            }
            // Padding depends on the sizes of sections: a little less, and again.
            left = match left.checked_sub(bytes - budget) {
                Some(less) => less,
                None => return Err(BakeError::Floor { budget, smallest: bytes }),
            };
        }
    }
}

fn describe(
    allocation: &Allocation,
    tables: &Tables,
    order: &Order<'_>,
    rounds: &[EarlierRound],
) -> Allocated {
    let tokens_of = |layer: usize, expert: usize| {
        tables.domains.iter().map(|domain| domain.layers[layer].experts[expert].tokens).sum()
    };
    let layers = tables.header.layers.iter().enumerate();
    let factors = order.factors.into_iter().flatten();
    Allocated {
        method: order.method.name().to_owned(),
        target: order.target.to_string(),
        expert_bits: allocation.assignment.expert_bits(),
        cost: rounded(allocation.cost),
        bound: rounded(allocation.bound),
        tokens: tables.header.domains.iter().map(|own| own.tokens).collect(),
        expert_tokens: layers
            .map(|(layer, own)| {
                (0..own.experts as usize).map(|expert| tokens_of(layer, expert)).collect()
            })
            .collect(),
        gates: "as they were".to_owned(),
        held_out: Vec::new(),
        rounds: rounds.to_vec(),
        factors: factors
            .map(|(part, &factor)| Factor { parts: part.group_name(), factor })
            .collect(),
        kv: None,
    }
}

/// Figures that a blob says about itself, short enough to come back to the bit from any reader of
/// JSON.
pub fn rounded(figure: f64) -> f64 {
    (figure * 1e9).round() / 1e9
}
