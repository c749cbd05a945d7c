//! Which encoding each matrix gets.

use hardtack_format::{Encoding, Role};

/// How precise the weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// The same encoding for every matrix of the layers.
    Uniform(Encoding),
    /// The most precise uniform encoding whose blob has at most this many bytes.
    Budget(u64),
}

/// The encodings a budget chooses from, most precise first.
pub const CANDIDATES: [Encoding; 7] =
    [Encoding::Bf16, Encoding::Q8, Encoding::Q6, Encoding::Q5, Encoding::Q4, Encoding::Q3, Encoding::Q2];

/// One choice of encodings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Of the layers' and experts' matrices.
    pub layers: Encoding,
    /// Of embeddings and head.
    pub head: Encoding,
}

impl Choice {
    /// Embeddings and head meet every token: they get 6 bits at least, if nothing else is asked for.
    pub fn new(layers: Encoding, head: Option<Encoding>) -> Self {
        let least = match layers.code_bits() {
            Some(bits) if bits < 6 => Encoding::Q6,
            _ => layers,
        };
        Self { layers, head: head.unwrap_or(least) }
    }

    /// The encoding of a matrix. Gates stay floats: a token's whole way hangs on them, and they are small.
    pub fn of(&self, role: Role) -> Encoding {
        match role {
            Role::Gate => Encoding::F32,
            Role::Embedding | Role::Head => self.head,
            _ => self.layers,
        }
    }
}
