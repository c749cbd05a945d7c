//! Which precision each matrix gets: one exact multiple-choice knapsack over the whole model, and
//! what it is compared with.
//!
//! ```text
//! minimize    sum_i cost[i, pick[i]]
//! subject to  sum_i bytes[i, pick[i]] <= budget
//!             in every group of items, at least `count` picks of `bits` or more   (floors)
//! ```
//!
//! One item is whatever gets one precision: an expert, a layer's attention, the embeddings. Costs
//! come from elsewhere and are taken to add up. [`solve`] proves its answer; [`uniform_within`],
//! [`uniform_average`] and [`per_layer`] are what results are compared with.

mod baseline;
mod class;
mod enforce;
mod error;
mod floors;
mod problem;
mod relaxation;
mod search;
mod solve;

pub use baseline::{Baseline, Pattern, per_layer, uniform_average, uniform_within};
pub use error::AllocateError;
pub use problem::{Candidate, Floor, Group};
pub use solve::{Solution, solve};
