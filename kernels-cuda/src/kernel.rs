//! The kernels by name: what can be launched.

/// A kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Kernel {
    /// Rows of the embedding.
    Embed,
    /// RMS normalization, quantized.
    Normalize,
    /// Quantization alone.
    Quantize,
    /// Matrices times rows, one at a time.
    Multiply,
    /// A matrix times the rows of a prompt.
    MultiplyPrompt,
    /// Normalization and RoPE of queries and keys, and into the cache.
    Heads,
    /// Attention over a cache of f16.
    AttentionHalf,
    /// Attention over a cache of floats.
    AttentionFloat,
    /// Attention's spans joined.
    Combine,
    /// Attention over a ring, one query a block.
    AttentionRing1,
    /// Two queries a block.
    AttentionRing2,
    /// Four queries a block.
    AttentionRing4,
    /// Its spans joined.
    CombineRing,
    /// A ring's open chunk into codes.
    Seal,
    /// The router's choice.
    Choose,
    /// The shared expert's weight.
    SharedWeight,
    /// A prompt's choices sorted by expert.
    GroupByExpert,
    /// Gate and up projections of the chosen experts.
    ExpertsGated,
    /// Their down projections, weighed and added up.
    ExpertsDown,
    /// Gate and up projections of a prompt's experts.
    ExpertsGatedPrompt,
    /// Their down projections.
    ExpertsDownPrompt,
    /// Their outputs, weighed and added up.
    ExpertsSum,
    /// The likeliest token of each part of the vocabulary.
    BestOfParts,
    /// The likeliest token.
    BestOfAll,
}

impl Kernel {
    /// All of them, each at its own number.
    pub const ALL: [Self; 24] = [
        Self::Embed,
        Self::Normalize,
        Self::Quantize,
        Self::Multiply,
        Self::MultiplyPrompt,
        Self::Heads,
        Self::AttentionHalf,
        Self::AttentionFloat,
        Self::Combine,
        Self::AttentionRing1,
        Self::AttentionRing2,
        Self::AttentionRing4,
        Self::CombineRing,
        Self::Seal,
        Self::Choose,
        Self::SharedWeight,
        Self::GroupByExpert,
        Self::ExpertsGated,
        Self::ExpertsDown,
        Self::ExpertsGatedPrompt,
        Self::ExpertsDownPrompt,
        Self::ExpertsSum,
        Self::BestOfParts,
        Self::BestOfAll,
    ];

    /// Its name in the sources.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Normalize => "normalize",
            Self::Quantize => "quantize",
            Self::Multiply => "multiply",
            Self::MultiplyPrompt => "multiply_prompt",
            Self::Heads => "heads",
            Self::AttentionHalf => "attention_half",
            Self::AttentionFloat => "attention_float",
            Self::Combine => "combine",
            Self::AttentionRing1 => "attention_ring_1",
            Self::AttentionRing2 => "attention_ring_2",
            Self::AttentionRing4 => "attention_ring_4",
            Self::CombineRing => "combine_ring",
            Self::Seal => "seal",
            Self::Choose => "choose",
            Self::SharedWeight => "shared_weight",
            Self::GroupByExpert => "group_by_expert",
            Self::ExpertsGated => "experts_gated",
            Self::ExpertsDown => "experts_down",
            Self::ExpertsGatedPrompt => "experts_gated_prompt",
            Self::ExpertsDownPrompt => "experts_down_prompt",
            Self::ExpertsSum => "experts_sum",
            Self::BestOfParts => "best_of_parts",
            Self::BestOfAll => "best_of_all",
        }
    }

    /// Threads of each of its blocks.
    pub const fn threads(self) -> u32 {
        match self {
            Self::Choose | Self::Combine => 32,
            Self::AttentionHalf | Self::AttentionFloat | Self::Heads => 128,
            Self::AttentionRing1
            | Self::AttentionRing2
            | Self::AttentionRing4
            | Self::CombineRing => 128,
            _ => 256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_stands_at_its_number_and_in_the_sources() {
        let program = crate::sources::program();
        for (number, kernel) in (0..).zip(Kernel::ALL) {
            assert_eq!(kernel as u32, number);
            assert!(program.contains(&format!("KERNEL {}(", kernel.name())), "{}", kernel.name());
        }
        assert_eq!(
            program.matches("KERNEL ").count(),
            Kernel::ALL.len() + 1,
            "the macro and every kernel"
        );
    }
}
