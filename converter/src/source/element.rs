//! The kinds of element a checkpoint may hold: their names, and how many bytes hold how many
//! elements.

use std::fmt;

use safetensors::Dtype;

/// How the elements of a tensor are stored. Not every kind can be read; every kind has a known
/// size.
#[allow(missing_docs, reason = "the variants are the names of the formats")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementKind {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
    C64,
    F8E5M2,
    F8E4M3,
    F8E8M0,
    F8E5M2Fnuz,
    F8E4M3Fnuz,
    F6E2M3,
    F6E3M2,
    F4,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q8_1,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Q8K,
    Iq1S,
    Iq1M,
    Iq2Xxs,
    Iq2Xs,
    Iq2S,
    Iq3Xxs,
    Iq3S,
    Iq4Nl,
    Iq4Xs,
    Tq1_0,
    Tq2_0,
    Mxfp4,
    Nvfp4,
    Q1_0,
    Q2_0,
}

impl ElementKind {
    /// The name in the format that has this kind.
    pub fn name(self) -> &'static str {
        self.layout().0
    }

    /// Elements in one block; 1 for plain numbers.
    pub fn block_length(self) -> usize {
        self.layout().1
    }

    /// Bytes in one block.
    pub fn block_bytes(self) -> usize {
        self.layout().2
    }

    /// Bits an element takes, scales included.
    pub fn bits(self) -> f64 {
        8.0 * self.block_bytes() as f64 / self.block_length() as f64
    }

    /// Whether numbers are rounded to codes: weights of this kind were wider once.
    pub fn is_quantized(self) -> bool {
        self.block_length() > 1
            || matches!(self, Self::F8E5M2 | Self::F8E4M3 | Self::F8E5M2Fnuz | Self::F8E4M3Fnuz)
    }

    /// Name, elements in a block, bytes in a block. Blocks are written as the sum of their parts.
    fn layout(self) -> (&'static str, usize, usize) {
        match self {
            Self::F64 => ("F64", 1, 8),
            Self::F32 => ("F32", 1, 4),
            Self::F16 => ("F16", 1, 2),
            Self::Bf16 => ("BF16", 1, 2),
            Self::I64 => ("I64", 1, 8),
            Self::I32 => ("I32", 1, 4),
            Self::I16 => ("I16", 1, 2),
            Self::I8 => ("I8", 1, 1),
            Self::U64 => ("U64", 1, 8),
            Self::U32 => ("U32", 1, 4),
            Self::U16 => ("U16", 1, 2),
            Self::U8 => ("U8", 1, 1),
            Self::Bool => ("BOOL", 1, 1),
            Self::C64 => ("C64", 1, 8),
            Self::F8E5M2 => ("F8_E5M2", 1, 1),
            Self::F8E4M3 => ("F8_E4M3", 1, 1),
            Self::F8E8M0 => ("F8_E8M0", 1, 1),
            Self::F8E5M2Fnuz => ("F8_E5M2FNUZ", 1, 1),
            Self::F8E4M3Fnuz => ("F8_E4M3FNUZ", 1, 1),
            Self::F6E2M3 => ("F6_E2M3", 4, 3),
            Self::F6E3M2 => ("F6_E3M2", 4, 3),
            Self::F4 => ("F4", 2, 1),
            Self::Q4_0 => ("Q4_0", 32, 2 + 16),
            Self::Q4_1 => ("Q4_1", 32, 2 + 2 + 16),
            Self::Q5_0 => ("Q5_0", 32, 2 + 4 + 16),
            Self::Q5_1 => ("Q5_1", 32, 2 + 2 + 4 + 16),
            Self::Q8_0 => ("Q8_0", 32, 2 + 32),
            Self::Q8_1 => ("Q8_1", 32, 2 + 2 + 32),
            Self::Q2K => ("Q2_K", 256, 16 + 64 + 2 + 2),
            Self::Q3K => ("Q3_K", 256, 32 + 64 + 12 + 2),
            Self::Q4K => ("Q4_K", 256, 2 + 2 + 12 + 128),
            Self::Q5K => ("Q5_K", 256, 2 + 2 + 12 + 32 + 128),
            Self::Q6K => ("Q6_K", 256, 128 + 64 + 16 + 2),
            Self::Q8K => ("Q8_K", 256, 4 + 256 + 32),
            Self::Iq1S => ("IQ1_S", 256, 2 + 32 + 16),
            Self::Iq1M => ("IQ1_M", 256, 32 + 16 + 8),
            Self::Iq2Xxs => ("IQ2_XXS", 256, 2 + 64),
            Self::Iq2Xs => ("IQ2_XS", 256, 2 + 64 + 8),
            Self::Iq2S => ("IQ2_S", 256, 2 + 64 + 16),
            Self::Iq3Xxs => ("IQ3_XXS", 256, 2 + 64 + 32),
            Self::Iq3S => ("IQ3_S", 256, 2 + 64 + 32 + 8 + 4),
            Self::Iq4Nl => ("IQ4_NL", 32, 2 + 16),
            Self::Iq4Xs => ("IQ4_XS", 256, 2 + 2 + 128 + 4),
            Self::Tq1_0 => ("TQ1_0", 256, 2 + 52),
            Self::Tq2_0 => ("TQ2_0", 256, 2 + 64),
            Self::Mxfp4 => ("MXFP4", 32, 1 + 16),
            Self::Nvfp4 => ("NVFP4", 64, 4 + 32),
            Self::Q1_0 => ("Q1_0", 128, 2 + 16),
            Self::Q2_0 => ("Q2_0", 64, 2 + 16),
        }
    }

    /// The kind that a GGUF file means by this number (`ggml_type` in the GGUF specification).
    pub fn from_gguf(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            9 => Self::Q8_1,
            10 => Self::Q2K,
            11 => Self::Q3K,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            15 => Self::Q8K,
            16 => Self::Iq2Xxs,
            17 => Self::Iq2Xs,
            18 => Self::Iq3Xxs,
            19 => Self::Iq1S,
            20 => Self::Iq4Nl,
            21 => Self::Iq3S,
            22 => Self::Iq2S,
            23 => Self::Iq4Xs,
            24 => Self::I8,
            25 => Self::I16,
            26 => Self::I32,
            27 => Self::I64,
            28 => Self::F64,
            29 => Self::Iq1M,
            30 => Self::Bf16,
            34 => Self::Tq1_0,
            35 => Self::Tq2_0,
            39 => Self::Mxfp4,
            40 => Self::Nvfp4,
            41 => Self::Q1_0,
            42 => Self::Q2_0,
            _ => return None,
        })
    }

    /// The kind that a safetensors header means by this dtype.
    pub fn from_safetensors(dtype: Dtype) -> Option<Self> {
        Some(match dtype {
            Dtype::F64 => Self::F64,
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
            Dtype::BF16 => Self::Bf16,
            Dtype::I64 => Self::I64,
            Dtype::I32 => Self::I32,
            Dtype::I16 => Self::I16,
            Dtype::I8 => Self::I8,
            Dtype::U64 => Self::U64,
            Dtype::U32 => Self::U32,
            Dtype::U16 => Self::U16,
            Dtype::U8 => Self::U8,
            Dtype::BOOL => Self::Bool,
            Dtype::C64 => Self::C64,
            Dtype::F8_E5M2 => Self::F8E5M2,
            Dtype::F8_E4M3 => Self::F8E4M3,
            Dtype::F8_E8M0 => Self::F8E8M0,
            Dtype::F8_E5M2FNUZ => Self::F8E5M2Fnuz,
            Dtype::F8_E4M3FNUZ => Self::F8E4M3Fnuz,
            Dtype::F6_E2M3 => Self::F6E2M3,
            Dtype::F6_E3M2 => Self::F6E3M2,
            Dtype::F4 => Self::F4,
            // The crate may learn kinds that we do not know the size of.
            _ => return None,
        })
    }
}

impl fmt::Display for ElementKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
