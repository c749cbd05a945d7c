//! The router: which experts a token goes to, and with what weight.

use hardtack_format::spec::{ExpertsSpec, RouterKind};
use hardtack_kernels::math::exp;

/// One chosen expert of one token.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Choice {
    /// The expert.
    pub expert: u32,
    /// What its output is multiplied by.
    pub weight: f32,
    /// Its row in the gathered inputs.
    pub slot: u32,
}

/// Chooses the experts with the largest logits, the first of equals, and weighs them. Logits are
/// used up.
///
/// The experts are always different ones, even where logits are infinite or no numbers: those come
/// last.
pub fn choose(spec: &ExpertsSpec, logits: &mut [f32], choices: &mut [Choice]) {
    for logit in logits.iter_mut() {
        *logit = if logit.is_nan() { f32::MIN } else { logit.clamp(f32::MIN, f32::MAX) };
    }
    let maximum = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let all: f32 = match spec.router {
        RouterKind::SoftmaxAll => logits.iter().map(|&logit| exp(logit - maximum)).sum(),
        RouterKind::SoftmaxChosen => 0.0,
    };
    let mut chosen_sum = 0.0;
    for choice in choices.iter_mut() {
        // Chosen experts are marked by negative infinity, which no other logit is.
        let (mut best, mut largest) = (0, f32::NEG_INFINITY);
        for (expert, &logit) in logits.iter().enumerate() {
            if logit > largest {
                (best, largest) = (expert, logit);
            }
        }
        let weight = exp(logits[best] - maximum);
        *choice = Choice { expert: best as u32, weight, slot: 0 };
        chosen_sum += weight;
        logits[best] = f32::NEG_INFINITY;
    }
    let sum = match spec.router {
        RouterKind::SoftmaxAll => all,
        RouterKind::SoftmaxChosen => chosen_sum,
    };
    choices.iter_mut().for_each(|choice| choice.weight = choice.weight / sum * spec.routed_scale);
}

/// Assigns every choice its row among the inputs sorted by expert. `slots[e]` becomes the first row
/// of expert `e`, and the element after the last expert's the number of all rows. `tokens[row]`
/// becomes the token whose row it is, of which each has `chosen`.
pub fn assign_slots(choices: &mut [Choice], chosen: usize, slots: &mut [u32], tokens: &mut [u32]) {
    slots.fill(0);
    for choice in choices.iter() {
        slots[choice.expert as usize + 1] += 1;
    }
    for expert in 1..slots.len() {
        slots[expert] += slots[expert - 1];
    }
    // Handing out a row moves the start of the expert; afterwards every start is where the next
    // one was.
    for (index, choice) in choices.iter_mut().enumerate() {
        let next = &mut slots[choice.expert as usize];
        choice.slot = *next;
        tokens[*next as usize] = (index / chosen) as u32;
        *next += 1;
    }
    slots.rotate_right(1);
    slots[0] = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: ExpertsSpec = ExpertsSpec {
        count: 4,
        chosen: 2,
        inner: 1,
        shared_inner: 0,
        router: RouterKind::SoftmaxAll,
        routed_scale: 1.0,
    };

    #[test]
    fn the_largest_are_chosen_and_weighed() {
        let logits = [0.0f32, 2.0, 1.0, 2.0];
        let mut choices = [Choice::default(); 2];
        choose(&SPEC, &mut logits.clone(), &mut choices);
        assert_eq!(choices.map(|choice| choice.expert), [1, 3]);
        let all: f32 = logits.iter().map(|logit| logit.exp()).sum();
        assert!((choices[0].weight - 2f32.exp() / all).abs() < 1e-6);

        let renormalized =
            ExpertsSpec { router: RouterKind::SoftmaxChosen, routed_scale: 3.0, ..SPEC };
        choose(&renormalized, &mut logits.clone(), &mut choices);
        assert!((choices[0].weight - 1.5).abs() < 1e-6);
    }

    #[test]
    fn a_router_without_numbers_still_chooses_distinct_experts() {
        for odd in [f32::NAN, f32::NEG_INFINITY, f32::INFINITY] {
            let mut choices = [Choice::default(); 2];
            choose(&SPEC, &mut [odd; 4], &mut choices);
            assert_eq!(choices.map(|choice| choice.expert), [0, 1], "{odd}");
            choose(&SPEC, &mut [odd, 1.0, odd, odd], &mut choices);
            assert_ne!(choices[0].expert, choices[1].expert, "{odd}");
        }
    }

    #[test]
    fn slots_are_sorted_by_expert_and_then_by_token() {
        let mut choices = [3, 1, 1, 0, 3, 1].map(|expert| Choice { expert, weight: 1.0, slot: 9 });
        let (mut slots, mut tokens) = ([0; 5], [0; 6]);
        assign_slots(&mut choices, 2, &mut slots, &mut tokens);
        assert_eq!(slots, [0, 1, 4, 4, 6]);
        assert_eq!(tokens, [1, 0, 1, 2, 0, 2]);
        assert_eq!(choices.map(|choice| choice.slot), [4, 1, 2, 0, 5, 3]);
    }
}
