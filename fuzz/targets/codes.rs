//! Any bytes as a bake's scratch file. What is opened is read whole; a tensor is added, and is
//! there when it is opened again.
#![no_main]

use std::sync::LazyLock;

use hardtack_converter::store::{Shape, Store};
use hardtack_format::{Encoding, Role, SectionKey};
use hardtack_fuzz::TempFile;
use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<TempFile> = LazyLock::new(|| TempFile::new("codes"));
const KEY: (SectionKey, Role) = (SectionKey::layer(3), Role::RouterBias);
const FINGERPRINT: [u8; 32] = [7; 32];

fuzz_target!(|bytes: &[u8]| {
    hardtack_fuzz::keep_limit();
    FILE.write(&repaired(bytes));
    let Ok(mut store) = Store::open(FILE.path(), FINGERPRINT) else { return };
    for key in store.keys().collect::<Vec<_>>() {
        let shape = store.shape(key).expect("it is there");
        assert_eq!(
            store.bytes(key).expect("checked when it was opened").len() as u64,
            shape.bytes().expect("a shape")
        );
        let rows = (shape.stack as usize * shape.rows as usize).min(40);
        assert_eq!(
            store.rows(key, 0, rows).expect("likewise").len(),
            rows * shape.columns as usize
        );
    }
    let shape = Shape { encoding: Encoding::Plain, stack: 1, rows: 1, columns: 2 };
    store.put(KEY, shape, &[1; 8]).expect("room");
    let count = store.keys().count();
    drop(store);
    let store = Store::open(FILE.path(), FINGERPRINT).expect("our own");
    assert_eq!((store.keys().count(), store.bytes(KEY).expect("our own")), (count, vec![1; 8]));
});

/// The bytes with each record's hash made right, as far as records follow one another.
fn repaired(bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    let mut at = 40;
    while let Some(record) = file.get(at..at + 72) {
        let length = u64::from_le_bytes(record[32..40].try_into().expect("eight bytes")) as usize;
        let Some(end) = (at + 72).checked_add(length).filter(|end| *end <= file.len()) else {
            break;
        };
        let hash =
            blake3::Hasher::new().update(&file[at..at + 40]).update(&file[at + 72..end]).finalize();
        file[at + 40..at + 72].copy_from_slice(hash.as_bytes());
        at = end;
    }
    file
}
