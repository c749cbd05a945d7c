//! A multiple-choice knapsack, solved exactly: which precision each item gets under a budget of
//! bytes, and simpler answers to compare with.
//!
//! ```text
//! minimize    sum_i cost[i, pick[i]]
//! subject to  sum_i bytes[i, pick[i]] <= budget
//! ```
//!
//! An item is whatever gets one precision: an expert, a layer's attention, the embeddings. Costs
//! are assumed to add up. [`solve`] proves its answer; [`uniform_within`], [`uniform_average`] and
//! [`per_layer`] are baselines.

mod baseline;
mod candidate;
mod error;
mod frontier;
mod relaxation;
mod search;
mod solve;

pub use baseline::{Baseline, Pattern, per_layer, uniform_average, uniform_within};
pub use candidate::Candidate;
pub use error::AllocateError;
pub use solve::{Solution, solve};
