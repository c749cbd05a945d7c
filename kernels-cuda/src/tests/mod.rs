//! Every kernel, from its own source, against the scalar truth: run by the emulation, and with the
//! feature `driver` on a GPU.

mod attention;
mod devices;
mod experts;
mod multiply;
mod numbers;
mod ring;
mod ring_attention;
mod router;
mod vectors;
