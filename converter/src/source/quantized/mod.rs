//! Weights that a quantizer split into codes, scales and more, each seen as the one tensor it
//! stands for.
//!
//! A format's file finds the parts by their names and says how they fit together; what they mean is
//! the same for all: `(value of the code - zero) * scale`, or `value of the code * scale + offset`,
//! with one zero and scale for a group of a row's columns. Only bitsandbytes' four bits differ,
//! whose blocks do not follow rows. Which tensors are quantized is seen from the tensors that are
//! there: lists of modules in a configuration are often wrong.

mod awq_gptq;
mod bits;
mod bits_and_bytes;
mod blocks;
mod compressed;
mod four_bit_floats;
mod grid;
mod mlx;
mod parts;
mod scale_grid;
mod scaled;
mod settings;
mod stored;
mod together;
mod values;
mod weight;

pub(super) use together::put_together;
pub(super) use weight::Quantized;
