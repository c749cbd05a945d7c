//! Any bytes as the beginning of a safetensors file of any length; the tensors that are found lie
//! inside it.
#![no_main]

use hardtack_converter::source::parse_safetensors_header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Named so that the allocator with its limit is linked.
    let _ = hardtack_fuzz::read_blob(&[]);
    let length = bytes.len() as u64;
    for file_bytes in [0, length, length + 24, 1 << 40, u64::MAX] {
        let Ok(tensors) = parse_safetensors_header(bytes, file_bytes) else { continue };
        for tensor in &tensors {
            assert!(tensor.offset.checked_add(tensor.bytes).is_some_and(|end| end <= file_bytes));
            // What a caller asks of a tensor next must not overflow either.
            let _ = (tensor.elements(), tensor.row_bytes());
        }
    }
});
