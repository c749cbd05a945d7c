//! What a layer's ring of keys and values keeps for a chunk of tokens, and how it is laid out as
//! codes: the same bytes on every device.

use hardtack_format::spec::{AttentionKind, AttentionSpec};

use crate::nested::{CodeGroup, GROUP_ROWS, TILE_COLUMNS, TILE_ROWS};

/// Tokens of a chunk.
pub const CHUNK: usize = 64;
const _: () = assert!(CHUNK == GROUP_ROWS && CHUNK.is_multiple_of(TILE_COLUMNS));

/// Heads that are cached, and the widths of their two rows.
pub fn cached_shape(attention: &AttentionSpec) -> (usize, usize, usize) {
    let (first, second) = attention.cached();
    let heads = match attention.kind {
        AttentionKind::Grouped { kv_heads, .. } => kv_heads,
        AttentionKind::Latent { .. } => 1,
    };
    (heads as usize, (first / heads) as usize, (second / heads) as usize)
}

/// What shares a lowest value and a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaled {
    /// One channel of all tokens of a chunk: keys, latents and rotated keys. Codes are `[channels,
    /// tokens]`.
    Channel,
    /// All channels of one token: values. Codes are `[tokens, channels]`.
    Token,
}

/// One head's keys or values of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Numbers of a token.
    pub width: usize,
    /// What has a scale.
    pub scaled: Scaled,
}

impl Matrix {
    /// Rows of codes, each with its scale; those after the last channel are zero.
    pub const fn rows(self) -> usize {
        match self.scaled {
            Scaled::Channel => self.width.next_multiple_of(TILE_ROWS),
            Scaled::Token => CHUNK,
        }
    }

    /// Columns of codes; those after the last channel are zero.
    pub const fn columns(self) -> usize {
        match self.scaled {
            Scaled::Channel => CHUNK,
            Scaled::Token => self.width.next_multiple_of(TILE_COLUMNS),
        }
    }

    /// Bytes of one bit of every code.
    pub const fn unit_bytes(self) -> usize {
        CodeGroup::unit_bytes(self.rows(), self.columns())
    }

    /// First row and rows of every group that is summed at once.
    pub fn groups(self) -> impl Iterator<Item = (usize, usize)> {
        let rows = self.rows();
        (0..rows).step_by(GROUP_ROWS).map(move |first| (first, (rows - first).min(GROUP_ROWS)))
    }
}

/// Most parts of a chunk that have bits of their own.
pub const PARTS_MAX: usize = hardtack_format::kv_policy::PARTS;

/// What one layer keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingShape {
    /// Heads that are cached.
    pub heads: usize,
    /// Of each head: keys and values, or latents and rotated keys.
    pub matrices: [Matrix; 2],
    /// How many positions back a token sees, itself included; 0 for all.
    pub window: usize,
    /// Elements of the first matrix that come in pairs that RoPE turns.
    pub turned: usize,
}

impl RingShape {
    /// The shape of a layer.
    pub fn of(attention: &AttentionSpec) -> Self {
        let (heads, first, second) = cached_shape(attention);
        let second_scaled = match attention.kind {
            AttentionKind::Grouped { .. } => Scaled::Token,
            AttentionKind::Latent { .. } => Scaled::Channel,
        };
        let matrices = [
            Matrix { width: first, scaled: Scaled::Channel },
            Matrix { width: second, scaled: second_scaled },
        ];
        let turned = match attention.kind {
            AttentionKind::Grouped { .. } => attention.rope_dim as usize,
            AttentionKind::Latent { .. } => 0,
        };
        Self { heads, matrices, window: attention.window as usize, turned }
    }

    /// Whether the first chunk is kept for good. A layer with a window soon sees no more of it.
    pub const fn has_sink(&self) -> bool {
        self.window == 0
    }

    /// Chunks in f16: the open one, and the first.
    pub const fn f16_slots(&self) -> usize {
        1 + self.has_sink() as usize
    }

    /// f16 of one matrix of a chunk, for all heads.
    pub const fn matrix_elements(&self, matrix: usize) -> usize {
        self.heads * self.matrices[matrix].width * CHUNK
    }

    /// f16 of a chunk.
    pub const fn chunk_elements(&self) -> usize {
        self.matrix_elements(0) + self.matrix_elements(1)
    }

    /// Parts with bits of their own: keys and values; or one, where latents are both.
    pub const fn parts(&self) -> usize {
        match self.matrices[1].scaled {
            Scaled::Token => PARTS_MAX,
            Scaled::Channel => 1,
        }
    }

    /// The part that a matrix belongs to.
    pub const fn part(&self, matrix: usize) -> usize {
        if self.parts() == 1 { 0 } else { matrix }
    }

    /// The matrix whose numbers are weighed: latents are keys and values in one.
    pub const fn value_matrix(&self) -> usize {
        self.parts() - 1
    }

    /// Bytes of a unit: one bit of every code of one part of a chunk, the larger part's if they
    /// differ.
    pub fn unit_bytes(&self) -> usize {
        (0..self.parts()).map(|part| self.heads * self.head_unit_bytes(part)).max().unwrap_or(0)
    }

    /// Numbers of a token in every part.
    pub fn elements(&self) -> [usize; PARTS_MAX] {
        let [first, second] = self.matrices.map(|matrix| self.heads * matrix.width);
        if self.parts() == 1 { [first + second, 0] } else { [first, second] }
    }

    /// Bytes of one head in a unit of a part.
    pub fn head_unit_bytes(&self, part: usize) -> usize {
        (0..self.matrices.len())
            .filter(|&matrix| self.part(matrix) == part)
            .map(|at| self.matrices[at].unit_bytes())
            .sum()
    }

    /// Where one head's matrix begins in a unit of its part.
    pub fn unit_start(&self, matrix: usize, head: usize) -> usize {
        let part = self.part(matrix);
        let before = (0..matrix)
            .filter(|&earlier| self.part(earlier) == part)
            .map(|at| self.matrices[at].unit_bytes());
        head * self.head_unit_bytes(part) + before.sum::<usize>()
    }

    /// f16 of a chunk's lowest values and ranges.
    pub const fn scale_elements(&self) -> usize {
        let [first, second] = self.matrices;
        self.heads * (first.rows() + second.rows()) * 2
    }
}
