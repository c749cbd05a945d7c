//! The writer's half: where every byte of a blob will be, before the first weight is read.
//!
//! A [`Layout`] is made from the shapes alone, so a bake knows its file's exact length up front.
//! The sections' bytes are then written at their offsets in any order, and [`Layout::head`] returns
//! the header and the index once their hashes are known.

use alloc::vec::Vec;

use crate::blob::{TensorRef, root_hash};
use crate::encoding::Encoding;
use crate::error::FormatError;
use crate::limits::*;
use crate::records::{Hash, Header, SectionRecord, TensorRecord, section_offset};
use crate::role::{Role, SectionKey};

/// A tensor to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorPlan {
    /// What it is for.
    pub role: Role,
    /// How its bytes will mean numbers.
    pub encoding: Encoding,
    /// Equal matrices one after another.
    pub stack: u32,
    /// Rows of each (outputs).
    pub rows: u32,
    /// Columns of each (inputs).
    pub columns: u32,
}

/// A section to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionPlan {
    /// Bytes of a known length.
    Plain {
        /// What it is.
        key: SectionKey,
        /// Its length.
        bytes: u64,
    },
    /// Weights.
    Tensors {
        /// What it is.
        key: SectionKey,
        /// Its tensors in ascending order of role.
        tensors: Vec<TensorPlan>,
    },
}

/// Where everything is in a blob that is about to be written.
#[derive(Clone, Debug)]
pub struct Layout {
    sections: Vec<SectionRecord>,
    tensors: Vec<TensorRecord>,
    file_bytes: u64,
}

impl Layout {
    /// Lays out sections that are in ascending order of their keys.
    ///
    /// # Errors
    /// Whatever a reader would refuse: a number over its limit or zero, sections or tensors out of
    /// order, a section with tensors that may have none or the other way round.
    pub fn new(plans: &[SectionPlan]) -> Result<Self, FormatError> {
        let section_count = positive("section_count", plans.len() as u64, SECTIONS_MAX.into())?;
        let tensor_count = plans.iter().map(|plan| plan.tensors().len() as u64).sum();
        positive("tensor_count", tensor_count, TENSORS_MAX.into())?;
        let index_bytes =
            section_count * SECTION_RECORD_BYTES as u64 + tensor_count * TENSOR_RECORD_BYTES as u64;

        let mut layout = Self {
            sections: Vec::new(),
            tensors: Vec::new(),
            file_bytes: HEADER_BYTES as u64 + index_bytes,
        };
        for plan in plans {
            layout.push(plan)?;
        }
        Ok(layout)
    }

    /// Length of the whole file.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Places of all sections, hashes still zero.
    pub fn sections(&self) -> &[SectionRecord] {
        &self.sections
    }

    /// Places of a section's tensors.
    pub fn tensors(
        &self,
        section: &SectionRecord,
    ) -> impl ExactSizeIterator<Item = (Role, TensorRef)> + '_ {
        let first = section.first_tensor as usize;
        self.tensors[first..first + section.tensor_count as usize].iter().map(|tensor| {
            let TensorRecord { role, encoding, stack, rows, columns, offset, bytes, .. } = *tensor;
            (role, TensorRef { encoding, stack, rows, columns, offset, bytes })
        })
    }

    /// Header and index, to be written at offset 0, with the hash of every section in their order.
    pub fn head(&self, hashes: &[Hash]) -> Vec<u8> {
        assert_eq!(hashes.len(), self.sections.len(), "one hash for each section");
        let mut index = Vec::new();
        for (section, &hash) in self.sections.iter().zip(hashes) {
            SectionRecord { hash, ..*section }.put(&mut index);
        }
        for tensor in &self.tensors {
            tensor.put(&mut index);
        }
        let mut header = Header {
            file_bytes: self.file_bytes,
            section_count: self.sections.len() as u32,
            tensor_count: self.tensors.len() as u32,
            root: [0; 32],
        };
        header.root = root_hash(&header.to_bytes()[..HEADER_HASHED_BYTES], &index);
        let mut head = header.to_bytes();
        head.extend_from_slice(&index);
        head
    }

    fn push(&mut self, plan: &SectionPlan) -> Result<(), FormatError> {
        let section = self.sections.len() as u32;
        let key = plan.key();
        if self.sections.last().is_some_and(|last| last.key >= key) {
            return Err(FormatError::Order { table: "section", index: section });
        }
        within("section layer", key.layer.into(), (LAYERS_MAX - 1).into())?;
        within("section expert", key.expert.into(), (EXPERTS_MAX - 1).into())?;
        if key.kind.has_tensors() == plan.tensors().is_empty() {
            return Err(FormatError::Mismatch {
                field: "section tensor_count",
                offset: 0,
                expected: key.kind.has_tensors().into(),
                found: plan.tensors().len() as u64,
            });
        }
        let first_tensor = self.tensors.len() as u32;
        // Counted from the section's start, which is aligned as tensors are at least.
        let mut end = 0u64;
        let mut last = None;
        for tensor in plan.tensors() {
            if last.is_some_and(|role| role >= tensor.role) {
                return Err(FormatError::Order {
                    table: "tensor",
                    index: self.tensors.len() as u32,
                });
            }
            last = Some(tensor.role);
            let TensorPlan { role, encoding, stack, rows, columns } = *tensor;
            positive("tensor stack", stack.into(), STACK_MAX.into())?;
            positive("tensor rows", rows.into(), DIMENSION_MAX.into())?;
            positive("tensor columns", columns.into(), DIMENSION_MAX.into())?;
            let bytes = encoding.tensor_bytes(stack, rows, columns).unwrap_or(u64::MAX);
            let offset = end.next_multiple_of(TENSOR_ALIGNMENT);
            end = within("file_bytes", offset.saturating_add(bytes), FILE_BYTES_MAX)?;
            self.tensors.push(TensorRecord {
                section,
                role,
                encoding,
                stack,
                rows,
                columns,
                offset,
                bytes,
            });
        }
        if let SectionPlan::Plain { bytes, .. } = plan {
            end = within("section bytes", *bytes, PLAIN_SECTION_BYTES_MAX)?;
        }
        let offset = section_offset(self.file_bytes, end);
        self.tensors[first_tensor as usize..].iter_mut().for_each(|tensor| tensor.offset += offset);
        self.file_bytes = within("file_bytes", offset + end, FILE_BYTES_MAX)?;
        self.sections.push(SectionRecord {
            key,
            first_tensor,
            tensor_count: plan.tensors().len() as u32,
            offset,
            bytes: end,
            hash: [0; 32],
        });
        Ok(())
    }
}

impl SectionPlan {
    /// What the section is.
    pub fn key(&self) -> SectionKey {
        match self {
            Self::Plain { key, .. } | Self::Tensors { key, .. } => *key,
        }
    }

    fn tensors(&self) -> &[TensorPlan] {
        match self {
            Self::Plain { .. } => &[],
            Self::Tensors { tensors, .. } => tensors,
        }
    }
}

fn within(field: &'static str, value: u64, limit: u64) -> Result<u64, FormatError> {
    if value <= limit {
        Ok(value)
    } else {
        Err(FormatError::OverLimit { field, offset: 0, value, limit })
    }
}

fn positive(field: &'static str, value: u64, limit: u64) -> Result<u64, FormatError> {
    match within(field, value, limit)? {
        0 => Err(FormatError::Mismatch { field, offset: 0, expected: 1, found: 0 }),
        value => Ok(value),
    }
}
