//! What reading a file takes at its peak, from what it holds. Most of it is the library's, while it
//! parses.
//!
//! The figures are those of a counting allocator under tokenizers 0.23 on 64-bit Linux, rounded up
//! by a tenth: of 16 published files, and of files made to take as much as they can for each byte.

use crate::demand::{ModelKind, Survey};

/// Bytes of an entry of a vocabulary that is a map.
const TOKEN_BYTES: u64 = 400;
/// Bytes of a merge that is written as one string.
const MERGE_BYTES: u64 = 270;
/// Bytes of a merge that is written as a pair.
const PAIR_BYTES: u64 = 850;
/// Bytes of an entry of a vocabulary that is a list of pieces with scores.
const PIECE_BYTES: u64 = 800;
/// Bytes of a node of the tree of pieces; a byte of a piece is a node at most.
const NODE_BYTES: u64 = 350;
/// Bytes of a token besides the model's.
const ADDED_BYTES: u64 = 440;
/// Bytes of a compiled character class.
const CLASS_BYTES: u64 = 100 << 10;
/// Copies of the file's texts.
const COPIES: u64 = 3;

impl Survey {
    /// Bytes that a tokenizer takes at most while its file is read, and afterwards.
    #[must_use]
    pub const fn memory_bytes(&self) -> u64 {
        let model = match self.model {
            ModelKind::Unigram => {
                self.tokens as u64 * PIECE_BYTES + self.piece_bytes as u64 * NODE_BYTES
            }
            ModelKind::Bpe | ModelKind::WordPiece | ModelKind::WordLevel => {
                self.tokens as u64 * TOKEN_BYTES
            }
        };
        let merges =
            (self.merges - self.pairs) as u64 * MERGE_BYTES + self.pairs as u64 * PAIR_BYTES;
        let rest = self.added as u64 * ADDED_BYTES + self.classes as u64 * CLASS_BYTES;
        model + merges + rest + self.bytes as u64 * COPIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Model, tokens, merges, pairs among them, bytes of pieces, added tokens, classes, bytes of
    /// the file, and the peak that was measured.
    type Measured = (ModelKind, [usize; 7], u64);

    /// Published files, and the worst that were made of each kind.
    const MEASURED: [Measured; 14] = [
        (ModelKind::Bpe, [128_000, 280_147, 0, 0, 256, 28, 9_085_698], 139_000_000),
        (ModelKind::Bpe, [131_072, 269_443, 0, 0, 1000, 49, 9_264_445], 139_000_000),
        (ModelKind::Bpe, [199_998, 446_189, 446_189, 0, 21, 52, 27_868_174], 395_700_000),
        (ModelKind::Bpe, [256_000, 580_604, 0, 0, 217, 2, 17_518_525], 276_800_000),
        (ModelKind::Bpe, [151_643, 151_387, 0, 0, 22, 26, 7_031_645], 104_100_000),
        (ModelKind::Bpe, [65_000, 64_739, 0, 0, 5, 8, 1_774_213], 36_000_000),
        (ModelKind::Bpe, [32_000, 58_980, 0, 0, 3, 2, 1_795_303], 23_900_000),
        (ModelKind::Bpe, [4160, 204_800, 0, 0, 0, 0, 1_269_368], 53_700_000),
        (ModelKind::Bpe, [4160, 204_800, 204_800, 0, 0, 0, 2_088_581], 156_900_000),
        (ModelKind::Bpe, [204_160, 204_096, 204_096, 0, 0, 0, 4_779_861], 217_000_000),
        (ModelKind::WordLevel, [200_000, 0, 0, 0, 0, 0, 2_489_058], 71_400_000),
        (ModelKind::Unigram, [200_000, 0, 0, 600_000, 0, 0, 2_000_159], 145_600_000),
        (ModelKind::Unigram, [60_000, 0, 0, 1_920_000, 0, 0, 2_340_159], 614_300_000),
        (ModelKind::Bpe, [4160, 0, 0, 0, 0, 505, 42_500], 47_300_000),
    ];

    #[test]
    fn what_was_measured_is_within_the_estimate() {
        for (model, [tokens, merges, pairs, piece_bytes, added, classes, bytes], peak) in MEASURED {
            let survey = Survey {
                model,
                tokens,
                merges,
                pairs,
                piece_bytes,
                added,
                growth: 1.0,
                classes,
                bytes,
                steps: 0,
            };
            let estimate = survey.memory_bytes();
            assert!(estimate >= peak, "{survey:?}: {estimate}, measured {peak}");
            assert!(estimate < 3 * peak, "{survey:?}: {estimate}, measured {peak}");
        }
    }
}
