//! Any bytes as a vocabulary section; what is accepted is looked up at every id and written again
//! to the same bytes.
#![no_main]

use hardtack_format::vocabulary::{TOKEN_BYTES_MAX, Vocabulary, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Named so that the allocator with its limit is linked.
    let _ = hardtack_fuzz::read_blob(&[]);
    let Ok(table) = Vocabulary::read(bytes) else { return };
    let mut tokens = Vec::new();
    for id in 0..table.count() {
        assert!(table.bytes(id).len() <= TOKEN_BYTES_MAX as usize);
        tokens.push((table.kind(id), table.bytes(id)));
        let _ = table.is_end(id);
    }
    assert!(table.bytes(table.count()).is_empty() && table.bytes(u32::MAX).is_empty());
    assert_eq!(write(table.rules(), &tokens).as_deref(), Ok(bytes), "a table has one form only");
});
