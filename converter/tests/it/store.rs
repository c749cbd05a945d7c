//! The scratch file of encoded tensors: what is put is read, and what was cut off is dropped.

use std::fs;

use hardtack_converter::quantize::encode_rows;
use hardtack_converter::store::{Shape, Store, StoreError};
use hardtack_format::{Encoding, Role, SectionKey};

const KEYS: [(SectionKey, Role); 3] = [
    (SectionKey::expert(1, 3), Role::Down),
    (SectionKey::layer(1), Role::Router),
    (SectionKey::layer(0), Role::KeyUp),
];

fn weights(seed: usize, count: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 37 + seed * 11) % 101) as f32 / 64.0 - 0.75).collect()
}

/// A tensor of a stack: its shape, its bytes, and what they decode to.
fn tensor(encoding: Encoding, [stack, rows, columns]: [u32; 3]) -> (Shape, Vec<u8>, Vec<f32>) {
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    for matrix in 0..stack as usize {
        let mut own = weights(matrix, (rows * columns) as usize);
        bytes.extend(encode_rows(encoding, &own, columns as usize).unwrap());
        hardtack_converter::quantize::round_trip(encoding, &mut own, columns as usize).unwrap();
        values.extend(own);
    }
    (Shape { encoding, stack, rows, columns }, bytes, values)
}

fn samples() -> [(Shape, Vec<u8>, Vec<f32>); 3] {
    [
        tensor(Encoding::Q3, [1, 35, 130]),
        tensor(Encoding::F32, [1, 5, 64]),
        tensor(Encoding::Q4, [3, 20, 40]),
    ]
}

#[test]
fn what_is_put_is_read_after_an_interrupt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.tack.store");
    let samples = samples();
    let mut store = Store::open(&path, [7; 32]).unwrap();
    for (key, (shape, bytes, _)) in KEYS.into_iter().zip(&samples) {
        assert_eq!(store.shape(key), None);
        store.put(key, *shape, bytes).unwrap();
    }
    drop(store);
    let store = Store::open(&path, [7; 32]).unwrap();
    for (key, (shape, bytes, values)) in KEYS.into_iter().zip(&samples) {
        assert_eq!(store.shape(key), Some(*shape));
        assert_eq!(&store.bytes(key).unwrap(), bytes);
        let (rows, columns) = ((shape.stack * shape.rows) as usize, shape.columns as usize);
        assert_eq!(&store.rows(key, 0, rows).unwrap(), values);
        assert_eq!(
            store.rows(key, rows - 3, 2).unwrap(),
            values[(rows - 3) * columns..(rows - 1) * columns]
        );
    }
}

#[test]
fn plain_numbers_are_read_as_they_were_put() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let key = (SectionKey::layer(2), Role::RouterBias);
    let shape = Shape { encoding: Encoding::Plain, stack: 1, rows: 2, columns: 5 };
    let values = weights(4, 10);
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Store::open(&path, [7; 32]).unwrap().put(key, shape, &bytes).unwrap();
    let store = Store::open(&path, [7; 32]).unwrap();
    assert_eq!(store.rows(key, 0, 2).unwrap(), values);
    assert_eq!(store.rows(key, 1, 1).unwrap(), values[5..]);
}

#[test]
fn a_tensor_put_again_replaces_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (first, second) = (tensor(Encoding::Q3, [1, 35, 130]), tensor(Encoding::Q2, [1, 35, 130]));
    let mut store = Store::open(&path, [7; 32]).unwrap();
    store.put(KEYS[0], first.0, &first.1).unwrap();
    store.put(KEYS[0], second.0, &second.1).unwrap();
    drop(store);
    let store = Store::open(&path, [7; 32]).unwrap();
    assert_eq!((store.shape(KEYS[0]), store.bytes(KEYS[0]).unwrap()), (Some(second.0), second.1));
}

#[test]
fn what_is_cut_off_or_damaged_is_dropped_and_can_be_put_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let samples = samples();
    let mut store = Store::open(&path, [7; 32]).unwrap();
    let mut ends = vec![40];
    for (key, (shape, bytes, _)) in KEYS.into_iter().zip(&samples) {
        store.put(key, *shape, bytes).unwrap();
        ends.push(fs::metadata(&path).unwrap().len());
    }
    drop(store);
    let whole = fs::read(&path).unwrap();
    for (kept, cut) in
        [(2, ends[3] - 1), (2, ends[2] + 10), (1, ends[2] - 1), (0, ends[1] - 1), (0, 41)]
    {
        fs::write(&path, &whole[..cut as usize]).unwrap();
        let mut store = Store::open(&path, [7; 32]).unwrap();
        assert_eq!(
            KEYS.map(|key| store.shape(key).is_some()),
            [0, 1, 2].map(|index| index < kept),
            "cut at {cut}"
        );
        for (key, (shape, bytes, _)) in KEYS.into_iter().zip(&samples).skip(kept) {
            store.put(key, *shape, bytes).unwrap();
        }
        drop(store);
        assert_eq!(fs::read(&path).unwrap(), whole, "cut at {cut}");
    }
    // The second record: its layer, its expert, its hash, its bytes. The head is under the hash
    // too.
    for at in [ends[1] + 8, ends[1] + 12, ends[1] + 20, ends[1] + 50, ends[1] + 100] {
        let mut damaged = whole.clone();
        damaged[at as usize] ^= 0x40;
        fs::write(&path, &damaged).unwrap();
        let store = Store::open(&path, [7; 32]).unwrap();
        assert_eq!(
            KEYS.map(|key| store.shape(key).is_some()),
            [true, false, false],
            "damaged at {at}"
        );
    }
}

/// Two bakes into one output wrote into each other's file, and the blob of one was of both.
#[test]
fn a_file_in_use_is_neither_opened_nor_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (shape, bytes, _) = tensor(Encoding::Q3, [1, 35, 130]);
    let mut first = Store::open(&path, [7; 32]).unwrap();
    first.put(KEYS[0], shape, &bytes).unwrap();
    let length = fs::metadata(&path).unwrap().len();
    for fingerprint in [[7; 32], [8; 32]] {
        let error = Store::open(&path, fingerprint).unwrap_err();
        assert!(matches!(error, StoreError::Busy { .. }), "{error}");
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), length);
    assert_eq!(first.bytes(KEYS[0]).unwrap(), bytes);
    drop(first);
    assert_eq!(Store::open(&path, [8; 32]).unwrap().shape(KEYS[0]), None);
}

/// A second process, as this test's own program started once more.
#[test]
fn a_file_in_use_by_another_process_is_refused() {
    const PLACE: &str = "STORE_OF_ANOTHER_PROCESS";
    if let Some(path) = std::env::var_os(PLACE) {
        let found = Store::open(path.as_ref(), [8; 32]);
        std::process::exit(i32::from(!matches!(found, Err(StoreError::Busy { .. }))));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = Store::open(&path, [7; 32]).unwrap();
    let other = |expected: bool| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "store::a_file_in_use_by_another_process_is_refused"])
            .env(PLACE, &path);
        assert_eq!(command.output().unwrap().status.success(), expected);
    };
    other(true);
    drop(store);
    other(false);
}

#[test]
fn bytes_that_change_while_the_file_is_open_are_never_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    // Several blocks of 64 KiB.
    let (shape, bytes, values) = tensor(Encoding::F32, [1, 300, 200]);
    let mut store = Store::open(&path, [7; 32]).unwrap();
    store.put(KEYS[1], shape, &bytes).unwrap();
    let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut whole = fs::read(&path).unwrap();
    for at in [112, 112 + 70_000, whole.len() - 1] {
        whole[at] ^= 1;
        rewrite(&file, &whole);
        let damaged = StoreError::Damaged {
            path: path.clone(),
            offset: 112 + (at as u64 - 112) / 65536 * 65536,
        };
        assert_eq!(store.bytes(KEYS[1]).unwrap_err().to_string(), damaged.to_string());
        assert_eq!(store.rows(KEYS[1], 0, 300).unwrap_err().to_string(), damaged.to_string());
        whole[at] ^= 1;
        rewrite(&file, &whole);
        assert_eq!(store.rows(KEYS[1], 0, 300).unwrap(), values);
        assert_eq!(store.bytes(KEYS[1]).unwrap(), bytes);
    }
}

fn rewrite(mut file: &fs::File, bytes: &[u8]) {
    use std::io::{Seek, Write};
    file.rewind().unwrap();
    file.write_all(bytes).unwrap();
}

#[cfg(unix)]
#[test]
fn a_link_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, victim) = (folder.path().join("store"), folder.path().join("victim"));
    std::os::unix::fs::symlink(&victim, &path).unwrap();
    for empty in [false, true] {
        if empty {
            fs::write(&victim, "").unwrap();
        }
        let error = Store::open(&path, [7; 32]).unwrap_err();
        assert!(matches!(error, StoreError::Occupied { .. }), "{error}");
        assert_eq!(fs::read(&victim).ok(), empty.then(Vec::new));
    }
}

#[test]
fn a_file_of_the_version_before_starts_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    fs::write(&path, [&b"\x89TACKST\n"[..], &[7; 200]].concat()).unwrap();
    assert_eq!(Store::open(&path, [7; 32]).unwrap().keys().count(), 0);
    assert_eq!(fs::metadata(&path).unwrap().len(), 40);
}

#[test]
fn another_bake_begins_anew_and_another_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (shape, bytes, _) = tensor(Encoding::Q3, [1, 35, 130]);
    Store::open(&path, [7; 32]).unwrap().put(KEYS[0], shape, &bytes).unwrap();
    assert_eq!(Store::open(&path, [8; 32]).unwrap().shape(KEYS[0]), None);
    for text in ["precious", "a longer text that is nobody's scratch file"] {
        fs::write(&path, text).unwrap();
        let error = Store::open(&path, [7; 32]).unwrap_err();
        assert!(matches!(error, StoreError::Occupied { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}
