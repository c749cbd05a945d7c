//! The encodings that are compared.

use crate::encodings_support::{Codes, Offset, Scales, Scheme};

/// What an encoding differs in from the shipped form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Uniform,
    Codebook,
    TwoLevel,
    Rotation,
}

impl Family {
    pub const ALL: [Self; 4] = [Self::Uniform, Self::Codebook, Self::TwoLevel, Self::Rotation];

    pub const fn title(self) -> &'static str {
        match self {
            Self::Uniform => "Uniform codes, half-float scales",
            Self::Codebook => "Codebooks, half-float scales",
            Self::TwoLevel => "Uniform codes, scales and minima of few bits under half floats",
            Self::Rotation => "Inputs rotated by Hadamard blocks, half-float scales",
        }
    }
}

/// The shipped forms, fewest bits first.
pub fn shipped() -> Vec<Scheme> {
    [1, 2, 3, 4, 5, 6, 8].map(Scheme::shipped).to_vec()
}

/// All others.
pub fn others() -> Vec<(Family, Scheme)> {
    let mut all = Vec::new();
    for own in [2, 3, 4].map(Scheme::shipped) {
        let mut add = |family, scheme| all.push((family, scheme));
        for group in [32, 128] {
            add(Family::Uniform, Scheme { group, ..own });
        }
        for group in [32, 64, 128] {
            add(Family::Uniform, Scheme { group, offset: Offset::None, ..own });
        }
        for codes in [Codes::Normal, Codes::Fitted] {
            for offset in [Offset::Minimum, Offset::None] {
                add(Family::Codebook, Scheme { codes, offset, ..own });
            }
        }
        for group in [32, 64] {
            for scales in [Scales::Row(6), Scales::Tile(6), Scales::Tile(4)] {
                add(Family::TwoLevel, Scheme { scales, group, ..own });
            }
        }
        for block in [64, 128] {
            add(Family::Rotation, Scheme { rotation: Some(block), ..own });
        }
        add(Family::Rotation, Scheme { rotation: Some(64), offset: Offset::None, ..own });
    }
    all.sort_by_key(|(family, _)| *family as u32);
    all
}

/// What it is called in the tables.
pub fn name(scheme: &Scheme) -> String {
    let codes = match scheme.codes {
        Codes::Uniform => "uniform",
        Codes::Normal => "normal quantiles",
        Codes::Fitted => "fitted",
    };
    let mut name = format!("{} bits, {codes}, groups of {}", scheme.bits, scheme.group);
    if scheme.offset == Offset::None {
        name += ", no minimum";
    }
    match scheme.scales {
        Scales::Halves => {}
        Scales::Row(bits) => name += &format!(", {bits}-bit scales under a row of 256"),
        Scales::Tile(bits) => name += &format!(", {bits}-bit scales under a tile"),
    }
    if let Some(block) = scheme.rotation {
        name += &format!(", rotated by {block}");
    }
    name
}
