//! One way to lie, and the sample while it is changed.

use hardtack_format::limits::*;
use hardtack_format::{Blob, Role, SectionKey, SectionKind};

use crate::build::sample;
use crate::seal::u64_at;

/// One way to lie.
pub struct Attack {
    pub name: &'static str,
    /// What it does to the sample.
    pub change: fn(&mut Victim),
    /// Made right afterwards, so that the check aimed at is the one that fires.
    pub seal: Seal,
    /// The error's variant, as its debug form begins, and the whole message.
    pub variant: &'static str,
    pub message: &'static str,
}

pub enum Seal {
    Nothing,
    Root,
    All,
}

/// The sample while it is changed.
pub struct Victim {
    pub file: Vec<u8>,
    /// Bytes from the start that differ from the sample.
    pub changed: usize,
}

pub const GLOBALS: SectionKey = SectionKey::only(SectionKind::Globals);
pub const SPEC: SectionKey = SectionKey::only(SectionKind::Spec);
pub const TOKENIZER: SectionKey = SectionKey::only(SectionKind::Tokenizer);
pub const LAYER: SectionKey = SectionKey::layer(0);

impl Victim {
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.file[at..at + bytes.len()].copy_from_slice(bytes);
        self.changed = self.changed.max(at + bytes.len());
    }

    pub fn put_u16(&mut self, at: usize, value: u16) {
        self.put(at, &value.to_le_bytes());
    }

    pub fn put_u32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    pub fn put_u64(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    pub fn add_u64(&mut self, at: usize, more: i64) {
        self.put_u64(at, u64_at(&self.file, at).wrapping_add_signed(more));
    }

    /// Offset of a section's record. The sample's own order is used, so ask before changing it.
    pub fn section(&self, key: SectionKey) -> usize {
        let file = sample();
        let at = Blob::open(&file).expect("open").sections().position(|record| record.key == key);
        HEADER_BYTES + at.expect("the section") * SECTION_RECORD_BYTES
    }

    /// Offset of a tensor's record.
    pub fn tensor(&self, key: SectionKey, role: Role) -> usize {
        let file = sample();
        let blob = Blob::open(&file).expect("open");
        let section = blob.section(key).expect("the section");
        let within = blob.tensors(&section).position(|(own, _)| own == role).expect("the tensor");
        let number = section.first_tensor as usize + within;
        HEADER_BYTES + blob.sections().len() * SECTION_RECORD_BYTES + number * TENSOR_RECORD_BYTES
    }

    /// Offset of the spec section's bytes.
    pub fn spec(&self) -> usize {
        u64_at(&self.file, self.section(SPEC) + 24) as usize
    }
}
