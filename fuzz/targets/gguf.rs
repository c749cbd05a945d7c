//! Any bytes as a GGUF file; the tensors that are found lie inside it.
#![no_main]

use hardtack_converter::source::parse_gguf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Named so that the allocator with its limit is linked.
    let _ = hardtack_fuzz::read_blob(&[]);
    let Ok(gguf) = parse_gguf(bytes) else { return };
    for tensor in &gguf.tensors {
        assert!(
            tensor.offset.checked_add(tensor.bytes).is_some_and(|end| end <= bytes.len() as u64)
        );
        // What a caller asks of a tensor next must not overflow either.
        let _ = (tensor.elements(), tensor.row_bytes());
    }
});
