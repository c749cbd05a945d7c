//! The encodings that are compared.

use crate::encodings_support::{Codes, Offset, Scales, Scheme};

/// The shipped forms, fewest bits first.
pub fn shipped() -> Vec<Scheme> {
    [1, 2, 3, 4, 5, 6, 8].map(Scheme::shipped).to_vec()
}

/// All others, the more telling ones first.
pub fn others() -> Vec<Scheme> {
    let beside: [fn(Scheme) -> Vec<Scheme>; 2] = [first_beside, then_beside];
    beside
        .into_iter()
        .flat_map(|beside| [4, 3, 2].map(Scheme::shipped).into_iter().flat_map(beside))
        .collect()
}

/// Shipped forms and others for rounding with feedback: what came out ahead with plain rounding.
pub fn fed_back() -> (Vec<Scheme>, Vec<Scheme>) {
    let ahead = |own: Scheme| {
        [
            Scheme { codes: Codes::Fitted, offset: Offset::None, ..own },
            Scheme { scales: Scales::Tile(6), ..own },
        ]
    };
    (
        [1, 2, 3, 4].map(Scheme::shipped).to_vec(),
        [4, 3, 2].map(Scheme::shipped).into_iter().flat_map(ahead).collect(),
    )
}

fn first_beside(own: Scheme) -> Vec<Scheme> {
    vec![
        Scheme { group: 32, ..own },
        Scheme { group: 128, ..own },
        Scheme { offset: Offset::None, ..own },
        Scheme { codes: Codes::Normal, offset: Offset::None, ..own },
        Scheme { codes: Codes::Fitted, ..own },
        Scheme { codes: Codes::Fitted, offset: Offset::None, ..own },
        Scheme { scales: Scales::Row(6), group: 32, ..own },
        Scheme { scales: Scales::Tile(6), group: 32, ..own },
        Scheme { scales: Scales::Tile(6), ..own },
        Scheme { scales: Scales::Tile(4), ..own },
        Scheme { rotation: Some(64), ..own },
    ]
}

fn then_beside(own: Scheme) -> Vec<Scheme> {
    vec![
        Scheme { rotation: Some(128), ..own },
        Scheme { rotation: Some(64), offset: Offset::None, ..own },
        Scheme { group: 32, offset: Offset::None, ..own },
        Scheme { group: 128, offset: Offset::None, ..own },
        Scheme { codes: Codes::Normal, ..own },
        Scheme { scales: Scales::Row(6), ..own },
        Scheme { scales: Scales::Tile(4), group: 32, ..own },
        // As fine as f16: what fitting the minimum once more, as codes of scales have it,
        // is worth alone.
        Scheme { scales: Scales::Tile(16), ..own },
    ]
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
