//! A matrix's input for some tokens: as floats, and as int8 codes in groups of 64 columns.

use hardtack_format::encoding::GROUP_COLUMNS;

/// Inputs of a matrix for some tokens.
#[derive(Clone, Copy, Debug)]
pub struct Activations<'a> {
    /// Columns of a token.
    pub columns: usize,
    /// `[tokens, columns]`
    pub floats: &'a [f32],
    /// `[tokens, groups * 64]`, zero after the last column.
    pub codes: &'a [i8],
    /// `[tokens, groups]`
    pub scales: &'a [f32],
    /// `[tokens, groups]`: scale times the sum of the group's codes.
    pub sums: &'a [f32],
}

/// One token's activations about to be quantized.
#[derive(Debug)]
pub struct ActivationsMut<'a> {
    /// `[columns]`
    pub floats: &'a [f32],
    /// `[groups * 64]`
    pub codes: &'a mut [i8],
    /// `[groups]`
    pub scales: &'a mut [f32],
    /// `[groups]`
    pub sums: &'a mut [f32],
}

impl<'a> Activations<'a> {
    /// Groups of 64 columns, the last one perhaps padded.
    pub const fn groups(&self) -> usize {
        groups(self.columns)
    }

    /// `[columns]` of one token.
    pub fn token_floats(&self, token: usize) -> &'a [f32] {
        &self.floats[token * self.columns..(token + 1) * self.columns]
    }

    /// `[groups * 64]`, `[groups]` and `[groups]` of one token: codes, scales and sums.
    pub fn token_codes(&self, token: usize) -> (&'a [i8], &'a [f32], &'a [f32]) {
        let groups = self.groups();
        let span = token * groups..(token + 1) * groups;
        (
            &self.codes[span.start * GROUP_COLUMNS..span.end * GROUP_COLUMNS],
            &self.scales[span.clone()],
            &self.sums[span],
        )
    }
}

impl ActivationsMut<'_> {
    /// Checks that all slices are as long as the number of columns says.
    pub fn check(&self) {
        let groups = groups(self.floats.len());
        assert_eq!(self.codes.len(), groups * GROUP_COLUMNS, "codes");
        assert_eq!(self.scales.len(), groups, "scales");
        assert_eq!(self.sums.len(), groups, "sums");
    }
}

/// Groups of 64 columns, the last of which may be short.
pub const fn groups(columns: usize) -> usize {
    columns.div_ceil(GROUP_COLUMNS)
}
