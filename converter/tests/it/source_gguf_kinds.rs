//! Every layout of GGUF against what the Python package `gguf` makes of the same bytes
//! (data/make_kinds.py), and those that the package cannot read against their formulas.

use std::collections::BTreeMap;

use crate::gguf_support::File;
use hardtack_converter::source::{Checkpoint, ElementKind};

/// Blocks of each layout: every point of the largest codebook is reached.
const BLOCKS: usize = 1024;

#[derive(serde::Deserialize)]
struct Expected {
    r#type: u32,
    first: [f32; 4],
    blake3: String,
}

fn expected() -> BTreeMap<String, Expected> {
    serde_json::from_str(include_str!("../data/kinds.json")).unwrap()
}

/// SplitMix64.
fn random_bytes(seed: u64, count: usize) -> Vec<u8> {
    let numbers = (1..=count as u64 / 8).map(|place| {
        let z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(place));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    });
    numbers.flat_map(u64::to_le_bytes).collect()
}

/// The blocks that data/make_kinds.py makes: the scales' topmost exponent bits are cleared.
fn blocks(name: &str, number: u32, block_bytes: usize) -> Vec<u8> {
    let high_bytes: &[usize] = match name {
        "Q2_K" => &[81, 83],
        "Q3_K" => &[109],
        "Q6_K" => &[209],
        "TQ1_0" => &[53],
        "TQ2_0" => &[65],
        "IQ1_M" => &[55],
        "Q4_1" | "Q5_1" | "Q4_K" | "Q5_K" => &[1, 3],
        "MXFP4" | "NVFP4" => &[],
        _ => &[1],
    };
    let mut bytes = random_bytes(number.into(), BLOCKS * block_bytes);
    for block in bytes.chunks_exact_mut(block_bytes) {
        high_bytes.iter().for_each(|&place| block[place] &= 0xBF);
        if name == "MXFP4" {
            block[0] = 64 + (block[0] & 127);
        }
    }
    bytes
}

#[test]
fn every_layout_is_read_as_python_reads_it() {
    let expected = expected();
    assert_eq!(expected.len(), 23);
    let mut file = File::default();
    for (name, own) in &expected {
        let kind = ElementKind::from_gguf(own.r#type).unwrap();
        assert_eq!(kind.name(), name);
        let shape = [8, BLOCKS / 8 * kind.block_length()];
        file = file.tensor(name, &shape, own.r#type, blocks(name, own.r#type, kind.block_bytes()));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kinds.gguf");
    file.write(&path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let mut wrong = Vec::new();
    for (name, own) in &expected {
        let numbers = checkpoint.read(name).unwrap();
        // Zeros lose their sign.
        let bytes: Vec<u8> =
            numbers.iter().flat_map(|number| (number + 0.0).to_le_bytes()).collect();
        if blake3::hash(&bytes).to_hex().as_str() != own.blake3 {
            wrong.push(format!("{name}: {:?}, expected {:?}", &numbers[..4], own.first));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// One block of a kind, as numbers.
fn read_one(number: u32, bytes: Vec<u8>) -> Vec<f32> {
    let kind = ElementKind::from_gguf(number).unwrap();
    assert_eq!(bytes.len() % kind.block_bytes(), 0);
    let columns = bytes.len() / kind.block_bytes() * kind.block_length();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.gguf");
    File::default().tensor("one", &[columns], number, bytes).write(&path);
    Checkpoint::open(&path).unwrap().read("one").unwrap()
}

/// What the Python package has no code for, by the formulas of ggml.
#[test]
fn layouts_that_python_cannot_read() {
    let signed: Vec<i8> = (0..=255).map(|byte: u8| byte.cast_signed()).collect();
    let bytes: Vec<u8> = (0..=255).collect();
    let times = |scale: f32, list: &[i8]| {
        list.iter().map(|&value| scale * f32::from(value)).collect::<Vec<_>>()
    };
    let half = |value: f32| half::f16::from_f32(value).to_le_bytes().to_vec();

    let q8_k = [0.375f32.to_le_bytes().as_slice(), &bytes, &[7; 32]].concat();
    assert_eq!(read_one(15, q8_k), times(0.375, &signed));
    let q8_1 = [half(-0.5), half(9.0), bytes[112..144].to_vec()].concat();
    assert_eq!(read_one(9, q8_1), times(-0.5, &signed[112..144]));

    // Bit by bit, the low one of a byte first.
    let q1_0 = [half(2.0), vec![0b0000_0001, 0b1000_0010], vec![0xFF; 14]].concat();
    let numbers = read_one(41, q1_0);
    let plus: Vec<usize> = (0..128).filter(|&i| numbers[i] == 2.0).collect();
    assert_eq!(plus[..4], [0, 9, 15, 16]);
    assert!(numbers.iter().all(|number| number.abs() == 2.0) && plus.len() == 3 + 112);
    let q2_0 = [half(2.0), vec![0b1110_0100; 16]].concat();
    assert_eq!(read_one(42, q2_0), [-2.0, 0.0, 2.0, 4.0].repeat(16));

    assert_eq!(read_one(24, vec![0, 1, 127, 128, 255]), [0.0, 1.0, 127.0, -128.0, -1.0]);
    assert_eq!(
        read_one(25, [-300i16, 7].iter().flat_map(|own| own.to_le_bytes()).collect()),
        [-300.0, 7.0]
    );
    assert_eq!(
        read_one(26, [-70_000i32, 7].iter().flat_map(|own| own.to_le_bytes()).collect()),
        [-70_000.0, 7.0]
    );
    assert_eq!(
        read_one(27, [1i64 << 40, -2].iter().flat_map(|own| own.to_le_bytes()).collect()),
        [1.0995116e12, -2.0]
    );
    assert_eq!(
        read_one(28, [0.1f64, -2.0].iter().flat_map(|own| own.to_le_bytes()).collect()),
        [0.1, -2.0]
    );
}
