//! Every kernel, from its own source and run by the emulation, against the scalar truth.

mod attention;
mod emulation;
mod experts;
mod gate;
mod multiply;
mod numbers;
mod vectors;
