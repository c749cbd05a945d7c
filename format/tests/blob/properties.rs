//! Random networks and layouts are read back; random bytes and random sealed mutations never panic.

use hardtack_format::limits::HEADER_BYTES;
use hardtack_format::{Blob, Layout, ModelSpec, Network, SectionKey, SectionKind, SectionPlan};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::build::{Optional, sample, weights, write};
use crate::damage::read;
use crate::networks;
use crate::seal::{index_end, seal_all, seal_root};

/// Numbers at which arithmetic and limits tip over.
const EDGES: [u64; 18] = [
    0,
    1,
    2,
    63,
    64,
    16 * 1024,
    0xffff,
    (1 << 20) - 1,
    1 << 22,
    1 << 24,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 32,
    1 << 44,
    (1 << 44) + 1,
    i64::MAX as u64,
    u64::MAX,
];

/// One write into a file: where, how many bytes, and what.
fn change() -> impl Strategy<Value = (Index, usize, u64)> {
    let value = prop_oneof![select(EDGES.to_vec()), any::<u64>(), 0..300_u64];
    (any::<Index>(), select(vec![1, 2, 4, 8]), value)
}

/// Writes to a place in `range`, on a boundary of its own width, so that it hits whole fields.
fn apply(
    file: &mut [u8],
    range: core::ops::Range<usize>,
    (place, width, value): (Index, usize, u64),
) {
    let at = range.start + place.index(range.len() / width) * width;
    file[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_spec_is_read_back(spec in networks::spec()) {
        let bytes = spec.to_bytes();
        prop_assert_eq!(bytes.len(), 32 + 80 * spec.layers.len());
        prop_assert_eq!(ModelSpec::from_bytes(&bytes, 0), Ok(spec));
    }

    #[test]
    fn a_network_is_bound_to_its_spec(spec in networks::spec(), with in any::<bool>()) {
        let optional = if with { Optional::Present } else { Optional::Absent };
        let bytes = spec.to_bytes();
        let key = SectionKey::only(SectionKind::Spec);
        let mut plans = vec![SectionPlan::Plain { key, bytes: bytes.len() as u64 }];
        plans.extend(weights(&spec, optional));
        let file = write(&plans, |_| bytes.clone());
        let network = read(&file);
        prop_assert_eq!(network.map(|network| network.spec), Ok(spec));
    }

    #[test]
    fn a_layout_is_read_back(plans in networks::sections()) {
        let file = write(&plans, |key| {
            let plan = plans.iter().find(|plan| plan.key() == key);
            let Some(SectionPlan::Plain { bytes, .. }) = plan else { unreachable!("only plain sections have content") };
            vec![key.layer as u8; *bytes as usize]
        });
        let layout = Layout::new(&plans).expect("written from it");
        let blob = Blob::open(&file).expect("open");
        blob.verify().expect("verify");
        prop_assert_eq!(blob.sections().len(), plans.len());
        for (read, planned) in blob.sections().zip(layout.sections()) {
            prop_assert_eq!((read.key, read.offset, read.bytes), (planned.key, planned.offset, planned.bytes));
            prop_assert_eq!(blob.section(read.key), Some(read));
            prop_assert!(blob.tensors(&read).eq(layout.tensors(planned)));
            prop_assert!(read.tensor_count > 0 || blob.section_bytes(&read).iter().all(|&b| b == read.key.layer as u8));
        }
        prop_assert!(Network::bind(&blob).is_err());
    }

    #[test]
    fn random_bytes_are_refused(mut bytes in vec(any::<u8>(), 0..2000), counts in any::<[u8; 2]>()) {
        prop_assert!(read(&bytes).is_err());
        prop_assert!(ModelSpec::from_bytes(&bytes, 0).is_err());
        let valid = sample();
        let prefix = bytes.len().min(24);
        bytes[..prefix].copy_from_slice(&valid[..prefix]);
        if bytes.len() >= HEADER_BYTES {
            let declared = (bytes.len() as u64).to_le_bytes();
            bytes[16..24].copy_from_slice(&declared);
            bytes[24..64].fill(0);
            (bytes[24], bytes[28]) = (counts[0] % 9 + 1, counts[1] % 9 + 1);
            bytes[96..HEADER_BYTES].fill(0);
            seal_root(&mut bytes);
        }
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn sealed_changes_of_the_head_never_panic(changes in vec(change(), 1..4)) {
        let valid = sample();
        let head = index_end(&valid).expect("a whole index");
        // Each change alone, then all together: most single changes stop at their own check.
        for some in (0..changes.len()).map(|at| &changes[at..=at]).chain([&changes[..]]) {
            let mut file = valid.clone();
            some.iter().for_each(|&change| apply(&mut file, 8..head, change));
            seal_root(&mut file);
            if let Ok(blob) = Blob::open(&file) {
                let _ = (Network::bind(&blob), blob.verify());
                for section in blob.sections() {
                    blob.tensors(&section).for_each(|(_, tensor)| assert!(!blob.tensor_bytes(&tensor).is_empty()));
                }
            }
        }
    }

    #[test]
    fn sealed_changes_of_the_spec_never_panic(changes in vec(change(), 1..4)) {
        let mut file = sample();
        let spec = Blob::open(&file).expect("open").sections().next().expect("the spec");
        changes.iter().for_each(|&change| apply(&mut file, spec.offset as usize..(spec.offset + spec.bytes) as usize, change));
        seal_all(&mut file);
        let _ = read(&file);
    }
}
