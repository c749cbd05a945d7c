//! The encodings that are compared.

use crate::encodings_support::{Codes, Offset, Scales, Scheme};

/// The shipped forms, fewest bits first.
pub fn shipped() -> Vec<Scheme> {
    [1, 2, 3, 4, 5, 6, 8].map(Scheme::shipped).to_vec()
}

/// All others, those of 4 bits first.
pub fn others() -> Vec<Scheme> {
    [4, 3, 2].map(Scheme::shipped).into_iter().flat_map(beside).collect()
}

/// What stands beside one of the shipped forms.
fn beside(own: Scheme) -> Vec<Scheme> {
    let mut all = vec![
        Scheme { group: 32, ..own },
        Scheme { group: 128, ..own },
        Scheme { group: 32, offset: Offset::None, ..own },
        Scheme { offset: Offset::None, ..own },
    ];
    for codes in [Codes::Normal, Codes::Fitted] {
        all.extend([Offset::Minimum, Offset::None].map(|offset| Scheme { codes, offset, ..own }));
    }
    for scales in [Scales::Row(6), Scales::Tile(6), Scales::Tile(4)] {
        all.push(Scheme { scales, group: 32, ..own });
    }
    all.push(Scheme { scales: Scales::Tile(6), ..own });
    all.extend([64, 128].map(|block| Scheme { rotation: Some(block), ..own }));
    all.push(Scheme { rotation: Some(64), offset: Offset::None, ..own });
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
