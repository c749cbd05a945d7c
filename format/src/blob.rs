//! The reader: takes the bytes of a whole file and returns sections and tensors that are known to
//! lie inside it.
//!
//! Everything is checked in [`Blob::open`]; after it no [`TensorRef`] can be out of range. The
//! content of weights is not read until [`Blob::verify`].

use alloc::boxed::Box;

use crate::cursor::expect_equal;
use crate::encoding::Encoding;
use crate::error::FormatError;
use crate::kv_policy::KvPolicy;
use crate::limits::*;
use crate::records::{Header, SectionRecord, TensorRecord, section_offset};
use crate::role::{Role, SectionKey, SectionKind};
use crate::spec::ModelSpec;

/// A valid blob over the bytes of its file.
#[derive(Clone, Copy, Debug)]
pub struct Blob<'a> {
    file: &'a [u8],
    index: &'a [u8],
    header: Header,
}

/// Header and index of a valid blob, in memory of their own: a blob is made of them and its bytes
/// without looking at anything again. Where somebody changes a mapped file meanwhile, sections and
/// tensors stay where they were found.
#[derive(Clone, Debug)]
pub struct Index {
    header: Header,
    bytes: Box<[u8]>,
}

impl Index {
    /// Checks a file as [`Blob::open`] does. What is checked is what is kept.
    ///
    /// # Errors
    /// The first rule of `SPEC.md` that the file breaks.
    pub fn read(file: &[u8]) -> Result<Self, FormatError> {
        let (head, header) = read_header(file)?;
        let bytes: Box<[u8]> = take(file, HEADER_BYTES as u64, header.index_bytes() as u64)?.into();
        Blob { file, index: &bytes, header }.check(&head)?;
        Ok(Self { header, bytes })
    }

    /// The blob over the bytes of its file; none if they are not as many as they were.
    pub fn blob<'a>(&'a self, file: &'a [u8]) -> Option<Blob<'a>> {
        let whole = self.header.file_bytes == file.len() as u64;
        whole.then_some(Blob { file, index: &self.bytes, header: self.header })
    }
}

/// A tensor that lies inside its file: shape, encoding and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorRef {
    /// How its bytes mean numbers.
    pub encoding: Encoding,
    /// Equal matrices one after another.
    pub stack: u32,
    /// Rows of each (outputs).
    pub rows: u32,
    /// Columns of each (inputs).
    pub columns: u32,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
}

impl<'a> Blob<'a> {
    /// Checks header, index, every record and every relation between them.
    ///
    /// # Errors
    /// The first rule of `SPEC.md` that the file breaks.
    pub fn open(file: &'a [u8]) -> Result<Self, FormatError> {
        let (head, header) = read_header(file)?;
        let index = take(file, HEADER_BYTES as u64, header.index_bytes() as u64)?;
        let blob = Self { file, index, header };
        blob.check(&head)?;
        Ok(blob)
    }

    fn check(&self, head: &[u8; HEADER_BYTES]) -> Result<(), FormatError> {
        if root_hash(&head[..HEADER_HASHED_BYTES], self.index) != self.header.root {
            return Err(FormatError::Hash { section: None });
        }
        self.check_sections()
    }

    /// The fixed header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The network's numbers, from the spec section, whose hash is checked first.
    ///
    /// # Errors
    /// The section is missing, changed, or breaks a limit.
    pub fn spec(&self) -> Result<ModelSpec, FormatError> {
        let key = SectionKey::only(SectionKind::Spec);
        let record =
            self.section(key).ok_or(FormatError::Section { section: key, problem: "missing" })?;
        self.verify_section(&record)?;
        ModelSpec::from_bytes(self.section_bytes(&record), record.offset)
    }

    /// Reads the KV policy of a network, if there is one, after checking its hash.
    ///
    /// # Errors
    /// Damaged, or with a field outside its limits.
    pub fn kv_policy(&self, spec: &ModelSpec) -> Result<Option<KvPolicy>, FormatError> {
        let Some(record) = self.section(SectionKey::only(SectionKind::KvPolicy)) else {
            return Ok(None);
        };
        self.verify_section(&record)?;
        let layers = spec.layers.iter().map(|layer| &layer.attention);
        KvPolicy::from_bytes(self.section_bytes(&record), record.offset, layers).map(Some)
    }

    /// All sections in file order.
    pub fn sections(&self) -> impl ExactSizeIterator<Item = SectionRecord> + use<'a> {
        let blob = *self;
        (0..self.header.section_count)
            .map(move |index| blob.section_at(index).expect("checked by open"))
    }

    /// The section with this key, found by bisection.
    pub fn section(&self, key: SectionKey) -> Option<SectionRecord> {
        let (mut low, mut high) = (0, self.header.section_count);
        while low < high {
            let middle = low + (high - low) / 2;
            let record = self.section_at(middle).ok()?;
            match record.key.cmp(&key) {
                core::cmp::Ordering::Equal => return Some(record),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The bytes of a section.
    pub fn section_bytes(&self, record: &SectionRecord) -> &'a [u8] {
        &self.file[record.offset as usize..(record.offset + record.bytes) as usize]
    }

    /// The bytes of the one section of this kind, if there is one.
    pub fn plain(&self, kind: SectionKind) -> Option<&'a [u8]> {
        self.section(SectionKey::only(kind)).map(|record| self.section_bytes(&record))
    }

    /// The tensors of a section, with their roles, in ascending order of role.
    pub fn tensors(
        &self,
        record: &SectionRecord,
    ) -> impl ExactSizeIterator<Item = (Role, TensorRef)> + use<'a> {
        let blob = *self;
        (record.first_tensor..record.first_tensor + record.tensor_count).map(move |index| {
            let tensor = blob.tensor_at(index).expect("checked by open");
            let TensorRecord { encoding, stack, rows, columns, offset, bytes, .. } = tensor;
            (tensor.role, TensorRef { encoding, stack, rows, columns, offset, bytes })
        })
    }

    /// The bytes of a tensor.
    pub fn tensor_bytes(&self, tensor: &TensorRef) -> &'a [u8] {
        &self.file[tensor.offset as usize..(tensor.offset + tensor.bytes) as usize]
    }

    /// Reads the whole file: every section's hash, and that all padding before sections and tensors
    /// is zero.
    ///
    /// # Errors
    /// The first section whose bytes differ from its hash, or the first padding byte that is not
    /// zero.
    pub fn verify(&self) -> Result<(), FormatError> {
        let mut end = (HEADER_BYTES + self.header.index_bytes()) as u64;
        for record in self.sections() {
            self.verify_padding(end, record.offset)?;
            self.verify_section(&record)?;
            end = record.offset;
            for (_, tensor) in self.tensors(&record) {
                self.verify_padding(end, tensor.offset)?;
                end = tensor.offset + tensor.bytes;
            }
            end = record.offset + record.bytes;
        }
        Ok(())
    }

    /// Reads one section and compares its hash.
    ///
    /// # Errors
    /// [`FormatError::Hash`] if the bytes differ.
    pub fn verify_section(&self, record: &SectionRecord) -> Result<(), FormatError> {
        if *blake3::hash(self.section_bytes(record)).as_bytes() == record.hash {
            Ok(())
        } else {
            Err(FormatError::Hash { section: Some(record.key) })
        }
    }

    fn verify_padding(&self, from: u64, to: u64) -> Result<(), FormatError> {
        let padding = &self.file[from as usize..to as usize];
        match padding.iter().position(|&byte| byte != 0) {
            None => Ok(()),
            Some(at) => Err(FormatError::Mismatch {
                field: "padding",
                offset: from + at as u64,
                expected: 0,
                found: padding[at].into(),
            }),
        }
    }

    fn section_at(&self, index: u32) -> Result<SectionRecord, FormatError> {
        let at = index as usize * SECTION_RECORD_BYTES;
        SectionRecord::from_bytes(
            &self.index[at..at + SECTION_RECORD_BYTES],
            (HEADER_BYTES + at) as u64,
        )
    }

    fn tensor_at(&self, index: u32) -> Result<TensorRecord, FormatError> {
        let at = self.header.section_count as usize * SECTION_RECORD_BYTES
            + index as usize * TENSOR_RECORD_BYTES;
        TensorRecord::from_bytes(
            &self.index[at..at + TENSOR_RECORD_BYTES],
            (HEADER_BYTES + at) as u64,
        )
    }

    /// Sections in ascending order, each at the first aligned byte after the one before it,
    /// tensors shared out without gaps, and the file ending where the last one does.
    fn check_sections(&self) -> Result<(), FormatError> {
        let mut end = (HEADER_BYTES + self.header.index_bytes()) as u64;
        let mut tensors = 0;
        let mut last = None;
        for index in 0..self.header.section_count {
            let record = self.section_at(index)?;
            let at = (HEADER_BYTES + index as usize * SECTION_RECORD_BYTES) as u64;
            if last.is_some_and(|key| key >= record.key) {
                return Err(FormatError::Order { table: "section", index });
            }
            last = Some(record.key);
            expect_equal(
                "section offset",
                at + 24,
                section_offset(end, record.bytes),
                record.offset,
            )?;
            end = record.offset + record.bytes;
            if end > self.header.file_bytes {
                return Err(FormatError::Truncated {
                    offset: record.offset,
                    needed: record.bytes,
                    found: self.header.file_bytes.saturating_sub(record.offset),
                });
            }
            expect_equal("section first_tensor", at + 12, tensors, record.first_tensor.into())?;
            let (field, offset, value) =
                ("section tensor_count", at + 16, u64::from(record.tensor_count));
            let expected = record.key.kind.has_tensors().into();
            if (value > 0) != record.key.kind.has_tensors() {
                return Err(FormatError::Mismatch { field, offset, expected, found: value });
            }
            let limit = u64::from(self.header.tensor_count) - tensors;
            if value > limit {
                return Err(FormatError::OverLimit { field, offset, value, limit });
            }
            tensors += value;
            self.check_tensors(index, &record)?;
        }
        expect_equal("tensor_count", 28, tensors, self.header.tensor_count.into())?;
        expect_equal("file_bytes", 16, end, self.header.file_bytes)
    }

    /// Tensors of one section in ascending order of role, each at the first aligned byte after the
    /// one before it.
    fn check_tensors(&self, section: u32, record: &SectionRecord) -> Result<(), FormatError> {
        let mut end = record.offset;
        let mut last = None;
        for index in record.first_tensor..record.first_tensor + record.tensor_count {
            let tensor = self.tensor_at(index)?;
            let at = (HEADER_BYTES
                + self.header.section_count as usize * SECTION_RECORD_BYTES
                + index as usize * TENSOR_RECORD_BYTES) as u64;
            expect_equal("tensor section", at, section.into(), tensor.section.into())?;
            if last.is_some_and(|role| role >= tensor.role) {
                return Err(FormatError::Order { table: "tensor", index });
            }
            last = Some(tensor.role);
            expect_equal(
                "tensor offset",
                at + 24,
                end.next_multiple_of(TENSOR_ALIGNMENT),
                tensor.offset,
            )?;
            end = tensor.offset.saturating_add(tensor.bytes);
            if end > record.offset + record.bytes {
                return Err(FormatError::Truncated {
                    offset: tensor.offset,
                    needed: tensor.bytes,
                    found: (record.offset + record.bytes).saturating_sub(tensor.offset),
                });
            }
        }
        if record.tensor_count > 0 {
            let at = (HEADER_BYTES + section as usize * SECTION_RECORD_BYTES) as u64;
            expect_equal("section bytes", at + 32, end - record.offset, record.bytes)?;
        }
        Ok(())
    }
}

/// The hash that names a blob: of the header's first fields and of the index.
pub(crate) fn root_hash(header: &[u8], index: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(header);
    hasher.update(index);
    *hasher.finalize().as_bytes()
}

/// The header's bytes, copied, and what they say.
fn read_header(file: &[u8]) -> Result<([u8; HEADER_BYTES], Header), FormatError> {
    let mut head = [0; HEADER_BYTES];
    head.copy_from_slice(take(file, 0, HEADER_BYTES as u64)?);
    let header = Header::from_bytes(&head)?;
    expect_equal("file_bytes", 16, header.file_bytes, file.len() as u64)?;
    Ok((head, header))
}

fn take(file: &[u8], offset: u64, bytes: u64) -> Result<&[u8], FormatError> {
    let found = (file.len() as u64).saturating_sub(offset);
    if found < bytes {
        return Err(FormatError::Truncated { offset, needed: bytes, found });
    }
    Ok(&file[offset as usize..(offset + bytes) as usize])
}
