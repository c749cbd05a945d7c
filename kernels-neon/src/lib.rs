//! The NEON tiers of the kernels.
