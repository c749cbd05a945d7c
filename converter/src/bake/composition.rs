//! Allocations whose blob keeps to a target: the bytes of the whole file are known exactly before a
//! weight is read.

use hardtack_format::Encoding;
use hardtack_models::Recipe;

use super::draft::Draft;
use super::error::BakeError;
use super::provenance::{Allocated, Factor, Provenance};
use crate::allocation::{Allocation, Factors, Target, Wanted, allocate, assigned_bytes};
use crate::assignment::Assignment;
use crate::calibrate::{Domain, Tables, default_options};
use crate::knapsack::AllocateError;
use crate::source::{CalibrationText, Origin};
use crate::vocabulary::TextSections;

/// Bytes that a blob's provenance may grow by once the verdict is known, for all texts and for
/// each.
const VERDICT_BYTES: u64 = 256;
/// Bytes that two figures of an allocation take at most.
const FIGURES_BYTES: u64 = 64;
/// Bytes that the factor of one group of parts takes at most, with its name.
const FACTOR_BYTES: u64 = 128;

/// What a blob is made of besides its weights.
#[derive(Clone, Copy)]
pub struct Composition<'a> {
    pub recipe: &'a Recipe,
    pub text: &'a TextSections,
    pub sources: &'a [Origin],
    pub calibration: &'a [CalibrationText],
    /// Bytes that are kept free for a KV policy and its provenance.
    pub kv_room: u64,
}

impl Composition<'_> {
    /// The blob of an assignment.
    pub fn draft<'d>(
        &'d self,
        assignment: &Assignment,
        allocated: &Allocated,
        kv_policy: Option<&'d [u8]>,
    ) -> Result<Draft<'d>, BakeError> {
        let provenance = Provenance::new(
            self.recipe,
            assignment,
            self.sources,
            self.calibration,
            Some(allocated),
        );
        Draft::with(self.recipe, self.text, provenance, kv_policy, assignment.clone())
    }

    /// Its length, with room for a verdict.
    fn file_bytes(&self, assignment: &Assignment, allocated: &Allocated) -> Result<u64, BakeError> {
        let room = VERDICT_BYTES * (1 + self.calibration.len() as u64) + self.kv_room;
        Ok(self.draft(assignment, allocated, None)?.layout.file_bytes() + room)
    }

    /// Refuses a target that no allocation keeps to, before anything is measured: sizes do not
    /// depend on costs. `room` is what the provenance may still grow by.
    ///
    /// # Errors
    /// The target is too small.
    pub fn check_target(
        &self,
        fit: &[Domain],
        wanted: &Wanted,
        room: u64,
    ) -> Result<(), BakeError> {
        if let Target::ExpertBits(bits) = wanted.target {
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
        let roomy = Self { kv_room: self.kv_room + FIGURES_BYTES + room, ..*self };
        roomy.within_target(&tables, wanted, &Factors::new()).map(|_| ())
    }

    /// What the provenance grows by with the factors of a refinement.
    pub fn factors_bytes(&self) -> u64 {
        // Embeddings and head, and of each layer attention, common block and experts.
        FACTOR_BYTES * (2 + 3 * self.recipe.layers.len() as u64)
    }

    /// The allocation whose blob keeps to the target.
    pub fn within_target(
        &self,
        tables: &Tables,
        wanted: &Wanted,
        factors: &Factors,
    ) -> Result<(Assignment, Allocated), BakeError> {
        let allocation =
            |target| allocate(self.recipe, tables, &Wanted { target, ..*wanted }, factors);
        let describe = |allocation: &Allocation| describe(allocation, tables, wanted, factors);
        let Target::Bytes(budget) = wanted.target else {
            let own = allocation(wanted.target)?;
            let allocated = describe(&own);
            return Ok((own.assignment, allocated));
        };
        // Everything that has no choice: header and index, tokenizer, vectors, routers, padding.
        let uniform = Assignment::uniform(&self.recipe.spec, Encoding::Q4, wanted.head);
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
    wanted: &Wanted,
    factors: &Factors,
) -> Allocated {
    let tokens_of = |layer: usize, expert: usize| {
        tables.domains.iter().map(|domain| domain.layers[layer].experts[expert].tokens).sum()
    };
    let layers = tables.header.layers.iter().enumerate();
    Allocated {
        method: wanted.method.name().to_owned(),
        target: wanted.target.to_string(),
        expert_bits: allocation.assignment.expert_bits(),
        cost: rounded(allocation.cost),
        bound: rounded(allocation.bound),
        tokens: tables.header.domains.iter().map(|own| own.tokens).collect(),
        expert_tokens: layers
            .map(|(layer, own)| {
                (0..own.experts as usize).map(|expert| tokens_of(layer, expert)).collect()
            })
            .collect(),
        routers: "as they were".to_owned(),
        held_out: Vec::new(),
        factors: factors
            .iter()
            .map(|(part, &factor)| Factor { parts: part.group_name(), factor })
            .collect(),
        kv: None,
    }
}

/// Figures of the provenance, short enough that any reader of JSON returns them to the bit.
pub fn rounded(figure: f64) -> f64 {
    (figure * 1e9).round() / 1e9
}
