//! Hashes of a tensor: of all of it, which its record keeps, and of blocks, by which parts of it
//! are checked when they are read.

/// Bytes of a block. Small enough that one row of an embedding is checked in some tens of
/// microseconds, large enough that the hashes of a file of 100 GB take 24 MB.
pub const BLOCK_BYTES: usize = 64 << 10;

/// The first half of a block's BLAKE3 hash: against accidents and other bakes, not against whoever
/// can choose the bytes.
pub type BlockHash = [u8; 16];

/// The hash of one block.
pub fn block_hash(block: &[u8]) -> BlockHash {
    *blake3::hash(block).as_bytes().first_chunk().expect("32 bytes")
}

/// Hashes a tensor that comes in parts of any length.
pub struct BlockHasher {
    whole: blake3::Hasher,
    block: blake3::Hasher,
    filled: usize,
    blocks: Vec<BlockHash>,
}

impl BlockHasher {
    /// Starts with what the whole hash covers besides the tensor.
    pub fn new(head: &[u8]) -> Self {
        let mut whole = blake3::Hasher::new();
        whole.update(head);
        Self { whole, block: blake3::Hasher::new(), filled: 0, blocks: Vec::new() }
    }

    /// Adds bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.whole.update(bytes);
        while !bytes.is_empty() {
            let (own, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.filled));
            self.block.update(own);
            self.filled += own.len();
            if self.filled == BLOCK_BYTES {
                self.end_block();
            }
            bytes = rest;
        }
    }

    fn end_block(&mut self) {
        self.blocks.push(*self.block.finalize().as_bytes().first_chunk().expect("32 bytes"));
        self.block.reset();
        self.filled = 0;
    }

    /// The hash of everything, and those of the blocks.
    pub fn finish(mut self) -> ([u8; 32], Vec<BlockHash>) {
        if self.filled > 0 {
            self.end_block();
        }
        (*self.whole.finalize().as_bytes(), self.blocks)
    }
}
