//! What a kernel must do: the table of operations, the scalar truth, the portable tier, and the
//! check that holds every tier to scalar.
//!
//! # How a matrix is multiplied
//!
//! Decoding reads every weight once for one token, so a kernel must be as fast as memory. Three
//! ideas make it so, and every tier follows them.
//!
//! **A tile lies in memory in the order in which it is read.** A matrix is cut into panels of 16
//! rows, a panel into tiles of 64 columns, a row of a tile into 16 quads of four columns:
//!
//! ```text
//!           64 columns = 16 quads               bytes of a tile
//!         +----+----+-- ... --+-----+    +------------------------------+
//! row  0  | q0 | q1 |         | q15 |    | 16 scales, 16 minima as f16  |  64
//! row  1  |    |    |         |     |    +------------------------------+
//!  ...    |    |    |         |     |    | bit planes: 128 for each bit |  128 * bits
//! row 15  |    |    |         |     |    +------------------------------+
//!         +----+----+-- ... --+-----+
//! ```
//!
//! A vector of a plane is 64 bytes: four columns of all 16 rows. A byte of a plane of `b` bits has
//! `8 / b` fields, each of another quad. So one load, a shift and a mask for each field yield
//! vectors in which lane `r` holds four codes of row `r`. No lane needs what another one has, and
//! nothing is ever shuffled.
//!
//! **Integers inside a group of 64 columns, floats outside.** A weight is `code * scale + minimum`,
//! an activation `code * scale`, both scales per group. Therefore
//!
//! ```text
//! sum of weight * activation
//!     = scale_w * scale_a * (sum of code_w * code_a) + minimum_w * (sum of activations)
//! ```
//!
//! The first sum is of small integers: exact in any order, and one instruction adds four of its
//! products (`vpdpbusd`, `sdot`). The second is known once for all rows. What is left are two
//! products and two additions of floats for 64 weights.
//!
//! **One order for those floats.** Groups are added from left to right and nothing is fused, as
//! [`PanelFn`] says. So panels of codes are equal to the bit on every tier, for any number of
//! tokens at once, however rows are shared out to threads. Sums of floats alone (attention,
//! normalization, float panels) may be in an order of the tier's choice, but one that does not
//! depend on what is computed beside them.
//!
//! Products with the codes of cached keys and values work likewise ([`nested`]), but with inputs of
//! 16 bits and with planes that can be taken away one by one.
//!
//! # A tier
//!
//! A tier is a [`KernelTable`]. Its kernels have one shape: check lengths, take whole vectors,
//! leave the rest to the scalar twin. [`check::check`] runs all of them against [`scalar`] on
//! ordinary, extreme and uneven inputs.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod activations;
pub mod attention;
pub mod check;
pub mod hadamard;
pub mod kv_router;
pub mod math;
pub mod nested;
pub mod pack;
pub mod portable;
pub mod ring_shape;
pub mod rope;
pub mod scalar;
pub mod table;

pub use activations::{Activations, ActivationsMut};
pub use table::{KernelTable, PanelFn, PanelRows};
