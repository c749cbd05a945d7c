//! Hashes made right again after a blob was changed, so that the checks after them are reached.

use hardtack_format::limits::*;

/// Where the root hash is.
const ROOT_AT: usize = HEADER_HASHED_BYTES;

/// Makes the root hash fit the header and as many index bytes as the header asks for, if the file
/// has them.
pub fn seal_root(file: &mut [u8]) {
    let Some(index_end) = index_end(file) else { return };
    let mut hasher = blake3::Hasher::new();
    hasher.update(&file[..HEADER_HASHED_BYTES]);
    hasher.update(&file[HEADER_BYTES..index_end]);
    let root = *hasher.finalize().as_bytes();
    file[ROOT_AT..ROOT_AT + 32].copy_from_slice(&root);
}

/// Makes the hash of every section that lies inside the file fit its bytes, and then the root hash.
pub fn seal_all(file: &mut [u8]) {
    let Some(index_end) = index_end(file) else { return };
    let sections = u32_at(file, 24) as usize;
    for record in (0..sections).map(|index| HEADER_BYTES + index * SECTION_RECORD_BYTES) {
        let (offset, bytes) = (u64_at(file, record + 24), u64_at(file, record + 32));
        let end = offset.saturating_add(bytes);
        // A section over the index would change the hashes while they are made.
        if offset >= index_end as u64 && end <= file.len() as u64 {
            let hash = *blake3::hash(&file[offset as usize..end as usize]).as_bytes();
            file[record + 40..record + 72].copy_from_slice(&hash);
        }
    }
    seal_root(file);
}

/// Where the index ends, if the file is long enough for it.
pub fn index_end(file: &[u8]) -> Option<usize> {
    if file.len() < HEADER_BYTES {
        return None;
    }
    let (sections, tensors) = (u64::from(u32_at(file, 24)), u64::from(u32_at(file, 28)));
    let end = HEADER_BYTES as u64
        + sections * SECTION_RECORD_BYTES as u64
        + tensors * TENSOR_RECORD_BYTES as u64;
    (end <= file.len() as u64).then_some(end as usize)
}

/// The little-endian `u32` at an offset.
pub fn u32_at(file: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"))
}

/// The little-endian `u64` at an offset.
pub fn u64_at(file: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(file[at..at + 8].try_into().expect("eight bytes"))
}
