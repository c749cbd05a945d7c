//! The AVX2 tier of the kernels.
