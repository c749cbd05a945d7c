//! Every limit a reader enforces, as written in `SPEC.md`.

/// First bytes of every blob: a byte above ASCII, the name, and both line endings, so that a
/// text-mode copy is noticed.
pub const MAGIC: [u8; 8] = *b"\x89TACK\r\n\x1a";
/// The version this crate reads and writes.
pub const VERSION: u32 = 2;
/// Bytes of the fixed header.
pub const HEADER_BYTES: usize = 128;
/// Bytes of the header that the root hash covers: all fields before the hash itself.
pub const HEADER_HASHED_BYTES: usize = 64;
/// Bytes of one section record.
pub const SECTION_RECORD_BYTES: usize = 72;
/// Bytes of one tensor record.
pub const TENSOR_RECORD_BYTES: usize = 40;
/// Large sections start on this boundary: Apple's page, and a multiple of every other platform's.
pub const SECTION_ALIGNMENT: u64 = 16 * 1024;
/// Sections of this many bytes are large; padding a smaller one to pages would cost more than 1.6 %
/// of it.
pub const LARGE_SECTION_BYTES: u64 = 1 << 20;
/// Tensors and small sections start on this boundary: one cache line.
pub const TENSOR_ALIGNMENT: u64 = 64;

/// Most layers of a model.
pub const LAYERS_MAX: u32 = 1024;
/// Most experts in one layer.
pub const EXPERTS_MAX: u32 = 4096;
/// Most experts chosen for one token.
pub const CHOSEN_MAX: u32 = 64;
/// Most sections of a blob.
pub const SECTIONS_MAX: u32 = 1 << 20;
/// Most tensors of a blob.
pub const TENSORS_MAX: u32 = 1 << 22;
/// Largest row or column count of a tensor.
pub const DIMENSION_MAX: u32 = 1 << 24;
/// Most equal matrices in one stacked tensor.
pub const STACK_MAX: u32 = 1024;
/// Largest blob: 16 TiB.
pub const FILE_BYTES_MAX: u64 = 1 << 44;
/// Largest section that is not weights (spec, tokenizer, vocabulary, template, provenance): 256
/// MiB.
pub const PLAIN_SECTION_BYTES_MAX: u64 = 256 << 20;
/// Largest vocabulary.
pub const VOCABULARY_MAX: u32 = 1 << 21;
/// Largest trained context.
pub const CONTEXT_MAX: u32 = 1 << 28;
/// Most attention heads in a layer.
pub const HEADS_MAX: u32 = 1024;
/// Largest width of one attention head (or of a latent cache row).
pub const HEAD_DIM_MAX: u32 = 8192;

const _: () = assert!(HEADER_HASHED_BYTES + 32 <= HEADER_BYTES);
const _: () = assert!(SECTION_ALIGNMENT.is_multiple_of(TENSOR_ALIGNMENT));
const _: () = assert!(LARGE_SECTION_BYTES >= 64 * SECTION_ALIGNMENT);
const _: () = assert!(CHOSEN_MAX <= EXPERTS_MAX);
const _: () = assert!(
    SECTIONS_MAX as u64 * SECTION_RECORD_BYTES as u64
        + TENSORS_MAX as u64 * TENSOR_RECORD_BYTES as u64
        <= 256 << 20
);
/// Most prices of a KV policy.
pub const KV_PRICES_MAX: u32 = 8;
/// Most units of a kv_router.
pub const KV_ROUTER_WIDTH_MAX: u32 = 16;
