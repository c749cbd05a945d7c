//! Holds a tier to scalar.
