//! What is wanted of an allocation.

use std::fmt;

use hardtack_format::Encoding;

/// An expert that fewer calibration tokens reached has costs that mean little: it borrows from its
/// layer, and is named.
pub const STARVED_TOKENS: u64 = 64;

/// What an allocation must keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// Most bytes: of the whole blob, or of the parts that have a choice.
    Bytes(u64),
    /// Most bits of the routed experts' codes, on average over their weights. All else gets 6 bits.
    ExpertBits(f64),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes} bytes"),
            Self::ExpertBits(bits) => write!(f, "{bits} bits per expert"),
        }
    }
}

/// How experts share the bits. What is not an expert is always allocated for the whole model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// All experts of the model against each other (GEMQ).
    #[default]
    Global,
    /// Every layer gets the same share and divides it among its experts.
    PerLayer,
    /// All experts alike; at a fraction of a bit, evenly spread layers get one more.
    Uniform,
}

impl Method {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::PerLayer => "per-layer",
            Self::Uniform => "uniform",
        }
    }
}

/// What is wanted: a target, and the ways to keep to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    /// What the allocation must keep to.
    pub target: Target,
    /// How experts share the bits.
    pub method: Method,
    /// Encoding of embeddings and head, where it is not left to the allocation.
    pub head: Option<Encoding>,
}
