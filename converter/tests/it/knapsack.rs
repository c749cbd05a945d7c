//! The allocation against every way to allocate, against a solver of integer programs, and on input
//! that is out to break it.

use crate::knapsack_support::{Numbers, Shape, instance};
use hardtack_converter::knapsack::{AllocateError, Candidate, solve};
use proptest::prelude::*;

/// Bytes, cost and picks of the best allocation, by looking at all of them.
fn best_of_all(items: &[Vec<Candidate>], budget: u64) -> Option<(f64, u64)> {
    let mut picks = vec![0; items.len()];
    let mut best: Option<(f64, u64)> = None;
    loop {
        let bytes: u64 = items.iter().zip(&picks).map(|(own, &pick)| own[pick].bytes).sum();
        let cost: f64 = items.iter().zip(&picks).map(|(own, &pick)| own[pick].cost).sum();
        let better = best
            .is_none_or(|(least, its_bytes)| cost < least || (cost == least && bytes < its_bytes));
        if bytes <= budget && better {
            best = Some((cost, bytes));
        }
        let Some(next) = (0..items.len()).find(|&item| picks[item] + 1 < items[item].len()) else {
            return best;
        };
        picks[next] += 1;
        picks[..next].fill(0);
    }
}

/// Bytes of the smallest and of the largest allocation.
fn extremes(items: &[Vec<Candidate>]) -> (u64, u64) {
    let bytes = |own: &Vec<Candidate>| own.iter().map(|one| one.bytes).collect::<Vec<_>>();
    let least = items.iter().map(|own| bytes(own).into_iter().min().unwrap()).sum();
    (least, items.iter().map(|own| bytes(own).into_iter().max().unwrap()).sum())
}

#[test]
fn equals_the_best_of_all_allocations() {
    let mut numbers = Numbers::new(1);
    let (mut solved, mut refused) = (0, 0);
    for round in 0..900 {
        let shape = [Shape::Equal, Shape::Unequal, Shape::Whole][round % 3];
        let items = instance(&mut numbers, 1 + round % 7, 1 + round % 4, shape);
        let (least, most) = extremes(&items);
        let budget = least.saturating_sub(2) + numbers.below(most - least + 5);
        let expected = best_of_all(&items, budget);
        match (solve(&items, budget), expected) {
            (Ok(found), Some((cost, bytes))) => {
                assert!(
                    (found.cost - cost).abs() <= 1e-9 * cost.max(1.0),
                    "round {round}: {found:?}, {cost}"
                );
                // Whole costs add up without rounding: then ties can be recognized.
                assert!(
                    shape != Shape::Whole || found.bytes == bytes,
                    "round {round}: {found:?}, {bytes}"
                );
                assert!(found.exact && found.bound <= found.cost && found.bytes <= budget);
                solved += 1;
            }
            (Err(AllocateError::Budget { smallest, .. }), None) => {
                assert!(best_of_all(&items, smallest).is_some() && smallest > budget);
                assert!(best_of_all(&items, smallest - 1).is_none());
                refused += 1;
            }
            (found, expected) => panic!("round {round}: found {found:?}, expected {expected:?}"),
        }
    }
    assert!(solved > 500 && refused > 20, "{solved} {refused}");
}

/// The same problem as an integer program: a binary variable for each candidate.
fn by_integer_program(items: &[Vec<Candidate>], budget: u64) -> f64 {
    use good_lp::{Expression, Solution, SolverModel, constraint, microlp, variable, variables};
    let mut variables = variables!();
    let taken: Vec<Vec<_>> = items
        .iter()
        .map(|own| own.iter().map(|_| variables.add(variable().binary())).collect())
        .collect();
    let sum = |weight: &dyn Fn(usize, &Candidate) -> f64| -> Expression {
        let all = items.iter().zip(&taken).enumerate();
        all.flat_map(|(item, (own, taken))| {
            own.iter().zip(taken).map(move |(one, &taken)| (item, one, taken))
        })
        .map(|(item, one, taken)| weight(item, one) * taken)
        .sum()
    };
    let mut program = variables.minimise(sum(&|_, one| one.cost)).using(microlp);
    program = program.with(constraint!(sum(&|_, one| one.bytes as f64) <= budget as f64));
    for taken in &taken {
        program = program.with(constraint!(taken.iter().sum::<Expression>() == 1.0));
    }
    let solution = program.solve().unwrap();
    let all = items.iter().zip(&taken).flat_map(|(own, taken)| own.iter().zip(taken));
    all.map(|(one, &taken)| one.cost * solution.value(taken).round()).sum()
}

#[test]
fn equals_a_solver_of_integer_programs() {
    let mut numbers = Numbers::new(2);
    for (round, shape) in
        [Shape::Equal, Shape::Unequal, Shape::Equal, Shape::Unequal].into_iter().enumerate()
    {
        let items = instance(&mut numbers, 60, 4, shape);
        let (least, most) = extremes(&items);
        let budget = least + (most - least) * (1 + round as u64) / 8;
        let found = solve(&items, budget).unwrap();
        let expected = by_integer_program(&items, budget);
        assert!(found.exact && found.bound <= found.cost);
        assert!(
            (found.cost - expected).abs() <= 1e-6 * expected,
            "round {round}: {} {expected}",
            found.cost
        );
    }
}

#[test]
fn a_whole_model_is_solved_exactly() {
    let mut numbers = Numbers::new(3);
    for shape in [Shape::Equal, Shape::Unequal, Shape::Whole] {
        let items = instance(&mut numbers, 10_000, 8, shape);
        let (least, most) = extremes(&items);
        for part in [1, 4, 7] {
            let budget = least + (most - least) / 8 * part;
            let found = solve(&items, budget).unwrap();
            assert!(
                found.exact && found.bound <= found.cost && found.bytes <= budget,
                "{shape:?} {part}"
            );
            assert_eq!(found, solve(&items, budget).unwrap());
        }
    }
}

#[test]
fn identical_items_and_the_ends_of_the_budget() {
    let one = |bits: u32| Candidate {
        bits,
        bytes: 100 + 10 * u64::from(bits),
        cost: f64::from(8 - bits),
    };
    let items = vec![(2..=8).map(one).collect::<Vec<_>>(); 5000];
    let (least, most) = extremes(&items);
    for budget in [least, least + 7, least + 123_457, most, u64::MAX] {
        let found = solve(&items, budget).unwrap();
        assert!(
            found.exact && found.bytes == budget.min(most) / 10 * 10,
            "{budget}: {}",
            found.bytes
        );
    }
    assert_eq!(
        solve(&items, least - 1).unwrap_err(),
        AllocateError::Budget { budget: least - 1, smallest: least }
    );
    assert!(solve(&[], 0).unwrap().exact);
}

#[test]
fn sizes_made_to_resist_are_answered_honestly() {
    // Savings proportional to sizes but for a constant: the hard kind of knapsack.
    let mut numbers = Numbers::new(5);
    let item = |numbers: &mut Numbers| {
        let mut bytes = 1_000_000 + numbers.below(1_000_000);
        let mut cost = 1e9;
        let mut own = Vec::new();
        for bits in 2..6 {
            own.push(Candidate { bits, bytes, cost });
            let step = 1_000_000 + numbers.below(1_000_000);
            (bytes, cost) = (bytes + step, cost - (step + 1_000_000) as f64);
        }
        own
    };
    let items: Vec<_> = (0..400).map(|_| item(&mut numbers)).collect();
    let (least, most) = extremes(&items);
    let found = solve(&items, least + (most - least) / 3).unwrap();
    assert!(found.bound <= found.cost && found.cost - found.bound < 1e-3 * found.cost, "{found:?}");
}

#[test]
fn broken_input_is_named() {
    let fine = Candidate { bits: 2, bytes: 10, cost: 1.0 };
    for cost in [f64::NAN, f64::INFINITY, -1.0] {
        let items = [vec![fine], vec![fine, Candidate { cost, ..fine }]];
        let error = solve(&items, 100).unwrap_err();
        assert!(matches!(error, AllocateError::Cost { item: 1, candidate: 1, .. }), "{error}");
    }
    assert_eq!(
        solve(&[vec![fine], vec![]], 100).unwrap_err(),
        AllocateError::NoCandidates { item: 1 }
    );
    let heavy = vec![vec![Candidate { bytes: u64::MAX, ..fine }]; 2];
    assert!(matches!(
        solve(&heavy, u64::MAX).unwrap_err(),
        AllocateError::Sum { what: "bytes", .. }
    ));
    let costly = vec![vec![Candidate { cost: f64::MAX, ..fine }]; 2];
    assert!(matches!(solve(&costly, 100).unwrap_err(), AllocateError::Sum { what: "costs", .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_comes_is_solved_or_refused(
        items in prop::collection::vec(
            prop::collection::vec((0u32..9, prop_oneof![0u64..50, any::<u64>()], prop_oneof![0.0..9.0, any::<f64>()]), 0..5),
            0..9,
        ),
        budget in prop_oneof![0u64..400, any::<u64>()],
    ) {
        let candidate = |(bits, bytes, cost)| Candidate { bits, bytes, cost };
        let items: Vec<Vec<Candidate>> =
            items.into_iter().map(|own| own.into_iter().map(candidate).collect()).collect();
        if let Ok(found) = solve(&items, budget) {
            prop_assert!(found.bytes <= budget && found.bound <= found.cost);
        }
    }
}
