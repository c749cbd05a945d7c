//! Every truncation and every flipped byte is noticed, and nothing panics.

use hardtack_format::{Blob, FormatError, ModelSpec, Network, SectionKey, SectionKind, limits::*};

use crate::build::sample;
use crate::seal::{index_end, seal_all, seal_root, u64_at};

/// Opens, binds and verifies; the first error, if any.
pub fn read(file: &[u8]) -> Result<Network, FormatError> {
    let blob = Blob::open(file)?;
    let network = Network::bind(&blob)?;
    blob.verify()?;
    Ok(network)
}

#[test]
fn every_truncation_is_refused_by_open() {
    let file = sample();
    let head = index_end(&file).expect("a whole index");
    let lengths = (0..=head + 1).chain((head..file.len()).step_by(997)).chain([file.len() - 1]);
    for length in lengths {
        let error = Blob::open(&file[..length]).expect_err("truncated");
        let place_is_right = match error {
            FormatError::Truncated { .. } => length < HEADER_BYTES,
            FormatError::Mismatch { field, found, .. } => {
                field == "file_bytes" && found == length as u64
            }
            _ => false,
        };
        assert!(place_is_right, "{length}: {error}");
    }
}

#[test]
fn trailing_bytes_are_refused_even_when_declared() {
    let mut file = sample();
    file.push(0);
    let longer = file.len() as u64;
    assert!(matches!(Blob::open(&file), Err(FormatError::Mismatch { field: "file_bytes", .. })));
    file[16..24].copy_from_slice(&longer.to_le_bytes());
    seal_root(&mut file);
    let expected = FormatError::Mismatch {
        field: "file_bytes",
        offset: 16,
        expected: longer - 1,
        found: longer,
    };
    assert_eq!(Blob::open(&file).map(|_| ()), Err(expected));
}

#[test]
fn every_flipped_byte_of_head_and_spec_is_noticed() {
    let mut file = sample();
    let head = index_end(&file).expect("a whole index");
    let spec = Blob::open(&file)
        .expect("open")
        .section(SectionKey::only(SectionKind::Spec))
        .expect("a spec");
    for at in (0..head).chain(spec.offset as usize..(spec.offset + spec.bytes) as usize) {
        for flip in [0xff, 1] {
            file[at] ^= flip;
            assert!(
                Blob::open(&file).and_then(|blob| Network::bind(&blob)).is_err(),
                "byte {at} ^ {flip}"
            );
            file[at] ^= flip;
        }
    }
    read(&file).expect("every flip was undone");
}

#[test]
fn flipped_weights_and_padding_are_found_by_verify() {
    let mut file = sample();
    let head = index_end(&file).expect("a whole index");
    for at in (head..file.len()).step_by(211).chain([head, file.len() - 1]) {
        file[at] ^= 1;
        let found = Blob::open(&file).expect("open does not read weights").verify();
        assert!(
            matches!(
                found,
                Err(FormatError::Hash { .. } | FormatError::Mismatch { field: "padding", .. })
            ),
            "{at}"
        );
        file[at] ^= 1;
    }
    read(&file).expect("every flip was undone");
}

#[test]
fn padding_between_tensors_is_zero_even_under_a_right_hash() {
    let mut file = sample();
    let blob = Blob::open(&file).expect("open");
    let layer = blob.section(SectionKey::layer(0)).expect("layer 0");
    let tensors: Vec<_> = blob.tensors(&layer).map(|(_, tensor)| tensor).collect();
    let gap = tensors
        .windows(2)
        .find(|pair| pair[0].offset + pair[0].bytes < pair[1].offset)
        .expect("a gap");
    let at = gap[1].offset - 1;
    file[at as usize] = 7;
    seal_all(&mut file);
    let expected = FormatError::Mismatch { field: "padding", offset: at, expected: 0, found: 7 };
    assert_eq!(Blob::open(&file).expect("open").verify(), Err(expected));
}

#[test]
fn every_field_of_a_sealed_spec_may_hold_anything() {
    let file = sample();
    let offset = u64_at(&file, HEADER_BYTES + 24) as usize;
    let bytes = u64_at(&file, HEADER_BYTES + 32) as usize;
    for field in (0..bytes).step_by(4) {
        for value in
            [0, 1, 2, 3, 0x7fff_ffff, 0x8000_0000, 0x7fc0_0000, 0xff80_0000, 0xbf80_0000, u32::MAX]
        {
            let mut changed = file.clone();
            changed[offset + field..offset + field + 4].copy_from_slice(&value.to_le_bytes());
            // The section alone: hashing the whole file for each would make this test slow.
            let Ok(spec) = ModelSpec::from_bytes(&changed[offset..offset + bytes], 0) else {
                continue;
            };
            assert_eq!(
                spec.to_bytes(),
                &changed[offset..offset + bytes],
                "field {field} = {value}: not canonical"
            );
            seal_all(&mut changed);
            let _ = read(&changed);
        }
    }
}
