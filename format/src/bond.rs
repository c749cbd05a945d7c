//! What binds a router to its experts. A router is tuned to the experts beside it as they were
//! quantized: another expert in the place of one of them may be valid by every other rule, and
//! still is one that the router was not made for.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::records::Hash;
use crate::role::{SectionKey, SectionKind};

/// For every layer with experts, in order: BLAKE3 over the hash of the layer's section, in which
/// its router is, and the hashes of its experts' sections. Sections come in the order of a blob's
/// index.
pub fn router_bonds(sections: impl Iterator<Item = (SectionKey, Hash)>) -> Vec<(u32, Hash)> {
    let mut layers = BTreeMap::new();
    let mut bonds: Vec<(u32, blake3::Hasher)> = Vec::new();
    for (key, hash) in sections {
        match key.kind {
            SectionKind::Layer => {
                layers.insert(key.layer, hash);
            }
            SectionKind::Expert => {
                if bonds.last().is_none_or(|(layer, _)| *layer != key.layer) {
                    let mut hasher = blake3::Hasher::new();
                    hasher.update(layers.get(&key.layer).map_or(&[], Hash::as_slice));
                    bonds.push((key.layer, hasher));
                }
                bonds.last_mut().expect("one was just made for the layer").1.update(&hash);
            }
            _ => {}
        }
    }
    bonds.into_iter().map(|(layer, hasher)| (layer, *hasher.finalize().as_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections() -> Vec<(SectionKey, Hash)> {
        let keys = [
            SectionKey::only(SectionKind::Globals),
            SectionKey::layer(0),
            SectionKey::layer(1),
            SectionKey::layer(2),
            SectionKey::expert(1, 0),
            SectionKey::expert(1, 1),
            SectionKey::expert(2, 0),
            SectionKey::expert(2, 1),
        ];
        (0..).zip(keys).map(|(number, key)| (key, [number; 32])).collect()
    }

    #[test]
    fn a_bond_is_of_its_layer_and_all_its_experts() {
        let whole = router_bonds(sections().into_iter());
        let expected = *blake3::hash(&[[2; 32], [4; 32], [5; 32]].concat()).as_bytes();
        assert_eq!((whole.len(), whole[0], whole[1].0), (2, (1, expected), 2));
        for (changed, broken) in [
            (0, [false; 2]),
            (1, [false; 2]),
            (2, [true, false]),
            (5, [true, false]),
            (6, [false, true]),
        ] {
            let mut other = sections();
            other[changed].1 = [99; 32];
            let found = router_bonds(other.into_iter());
            assert_eq!([found[0] != whole[0], found[1] != whole[1]], broken, "section {changed}");
        }
        // Two experts that change places too.
        let mut other = sections();
        (other[4].1, other[5].1) = (other[5].1, other[4].1);
        assert_ne!(router_bonds(other.into_iter())[0], whole[0]);
    }
}
