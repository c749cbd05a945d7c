//! A checkpoint of either form through one door: names, shapes, and rows of numbers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::dequantize::{self, Decoder};
use super::error::one_line;
use super::file::SourceFile;
use super::gguf::Scales;
use super::quantized::Quantized;
use super::recognize;
use super::unreadable::Unreadable;
use super::{ElementKind, GgufMetadata, SourceError, TensorInfo, gguf, hugging_face};

/// Stored bytes are read in pieces of about this size, so that only the numbers wanted take
/// memory.
const PIECE_BYTES: u64 = 1 << 20;

/// What surrounds the weights.
#[derive(Debug)]
pub enum Form {
    /// A folder with config.json and safetensors files.
    HuggingFace {
        /// The parsed config.json.
        config: serde_json::Value,
        /// The folder, for the tokenizer's files.
        folder: PathBuf,
    },
    /// A GGUF file, or the parts of a split one.
    Gguf(GgufMetadata),
}

/// A checkpoint on disk, read tensor by tensor. Threads may read from it at once.
#[derive(Debug)]
pub struct Checkpoint {
    form: Form,
    path: PathBuf,
    label: String,
    files: Vec<PathBuf>,
    sources: Vec<SourceFile>,
    tensors: Vec<TensorInfo>,
    /// From name to place in `tensors`.
    places: HashMap<String, usize>,
    /// What some tensors are multiplied by.
    scales: Scales,
    /// Weights that stand for several stored tensors.
    quantized: BTreeMap<String, Quantized>,
    /// Tensors that are there to be read, and are not listed: nothing is missing without them.
    idle: HashSet<String>,
}

impl Checkpoint {
    /// Opens a Hugging Face folder (config.json with model.safetensors, or with
    /// model.safetensors.index.json and its shards) or a GGUF file; of a split model, any part.
    ///
    /// # Errors
    /// Where the path is no model, or a header breaks its format; the weights themselves are not
    /// looked at.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let (form, sources, mut tensors, quantized, idle) = if path.is_dir() {
            let folder = hugging_face::open(path)?;
            let form = Form::HuggingFace { config: folder.config, folder: path.to_owned() };
            (form, folder.sources, folder.tensors, folder.quantized, folder.idle)
        } else {
            let source = SourceFile::open(path)?;
            recognize::check_gguf(&source)?;
            let model = gguf::open(source)?;
            (Form::Gguf(model.metadata), model.sources, model.tensors, Vec::new(), HashSet::new())
        };
        let scales = match form {
            Form::HuggingFace { .. } => Scales::new(),
            Form::Gguf(_) => gguf::take_scales(&mut tensors),
        };
        let quantized = quantized.into_iter().map(|weight| (weight.name.clone(), weight)).collect();
        let files = sources.iter().map(|source| source.path.clone()).collect();
        let places =
            tensors.iter().enumerate().map(|(i, tensor)| (tensor.name.clone(), i)).collect();
        let label = one_line(&path.display().to_string());
        Ok(Self {
            form,
            path: path.to_owned(),
            label,
            files,
            sources,
            tensors,
            places,
            scales,
            quantized,
            idle,
        })
    }

    /// The folder or the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What surrounds the weights.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// The names of all tensors: those that are stored as they are, in the order of their bytes,
    /// then the weights that are put together from several (see [`shape`](Self::shape)). Biases of
    /// zeros that quantizers add are left out.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let stored = self
            .tensors
            .iter()
            .map(|tensor| tensor.name.as_str())
            .filter(|name| !self.idle.contains(*name));
        stored.chain(self.quantized.keys().map(String::as_str))
    }

    /// The shape of a tensor, row-major; of a quantized weight that of the weight it stands for.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        let stored = self.tensor(name).map(|tensor| tensor.shape.as_slice());
        stored.or_else(|| self.quantized.get(name).map(|weight| weight.shape.as_slice()))
    }

    /// What a weight is quantized as, and how many bits its codes have; `None` for tensors that are
    /// stored as they are.
    pub fn quantized_as(&self, name: &str) -> Option<(&str, f64)> {
        self.quantized.get(name).map(|weight| (weight.label.as_str(), weight.code_bits()))
    }

    /// Shape, kind and place of a tensor that is stored as it is.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.places.get(name).map(|&place| &self.tensors[place])
    }

    /// All files that hold weights or configuration.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Refuses tensors that [`read_rows`](Self::read_rows) or, where they are wanted as bytes,
    /// [`read_byte_rows`](Self::read_byte_rows) could not read, all in one message. `wanted` lists
    /// names, and whether each is wanted as bytes.
    ///
    /// # Errors
    /// There is no such tensor, or it cannot be read so.
    pub fn check_kinds<'a>(
        &self,
        wanted: impl Iterator<Item = (&'a str, bool)>,
    ) -> Result<(), SourceError> {
        const ADVICE: &str = "bake from the weights before they were quantized so";
        let (mut unreadable, mut count) = (Unreadable::default(), 0);
        for (name, as_bytes) in wanted {
            count += 1;
            if !as_bytes && self.quantized.contains_key(name) {
                continue;
            }
            let tensor = self.known(name)?;
            let is_readable =
                if as_bytes { is_bytes(tensor.kind) } else { self.decoder(tensor).is_some() };
            if !is_readable {
                unreadable.add(tensor.kind.name(), name);
            }
        }
        unreadable.refuse(&self.label, count, ADVICE)
    }

    /// The whole tensor as f32, row-major.
    ///
    /// # Errors
    /// As [`read_rows`](Self::read_rows).
    pub fn read(&self, name: &str) -> Result<Vec<f32>, SourceError> {
        let rows = match self.quantized.get(name) {
            Some(weight) => weight.rows(),
            None => self.known(name)?.rows(),
        };
        self.read_rows(name, 0, rows)
    }

    /// Rows `first..first + count` of a tensor seen as a matrix [product of the leading dimensions,
    /// last dimension]; only the bytes of these rows are read.
    ///
    /// # Errors
    /// Where there is no such tensor or row, the kind is not one of numbers we know, a number is
    /// not finite, or the file cannot be read.
    pub fn read_rows(
        &self,
        name: &str,
        first: usize,
        count: usize,
    ) -> Result<Vec<f32>, SourceError> {
        if let Some(weight) = self.quantized.get(name) {
            return self.read_quantized(weight, first, count);
        }
        let tensor = self.known(name)?;
        self.check_rows(tensor, tensor.rows(), first, count)?;
        let Some(decode) = self.decoder(tensor) else {
            return Err(self.not_supported(tensor, ""));
        };
        let columns = tensor.columns();
        let mut numbers = self.decode_rows(tensor, decode, first, count)?;
        if let Some(scales) = self.scales.get(name) {
            let decode = self.decoder(scales).ok_or_else(|| self.not_supported(scales, ""))?;
            let scales = self.decode_rows(scales, decode, 0, scales.rows())?;
            let each = tensor.rows() / scales.len();
            for (row, numbers) in (first..).zip(numbers.chunks_exact_mut(columns)) {
                numbers.iter_mut().for_each(|number| *number *= scales[row / each]);
            }
        }
        self.check_finite(tensor, first * columns, &numbers)?;
        Ok(numbers)
    }

    fn decode_rows(
        &self,
        tensor: &TensorInfo,
        decode: Decoder,
        first: usize,
        count: usize,
    ) -> Result<Vec<f32>, SourceError> {
        let mut numbers = vec![0.0; count * tensor.columns()];
        let block_bytes = tensor.kind.block_bytes();
        let piece_blocks = PIECE_BYTES as usize / block_bytes;
        let mut piece =
            vec![0; (piece_blocks * block_bytes).min(self.range(tensor, first, count).1)];
        let mut offset = self.range(tensor, first, count).0;
        for target in numbers.chunks_mut(piece_blocks * tensor.kind.block_length()) {
            let stored = &mut piece[..target.len() / tensor.kind.block_length() * block_bytes];
            self.read_stored(tensor, offset, stored)?;
            decode(stored, target);
            offset += stored.len() as u64;
        }
        Ok(numbers)
    }

    /// The whole of a tensor of bytes (U8, or F8_E8M0 scales).
    ///
    /// # Errors
    /// As [`read_byte_rows`](Self::read_byte_rows).
    pub fn read_bytes(&self, name: &str) -> Result<Vec<u8>, SourceError> {
        self.read_byte_rows(name, 0, self.known(name)?.rows())
    }

    /// Rows `first..first + count` of a tensor of bytes, seen as a matrix as in
    /// [`read_rows`](Self::read_rows).
    ///
    /// # Errors
    /// Where there is no such tensor or row, its elements are not bytes, or the file cannot be
    /// read.
    pub fn read_byte_rows(
        &self,
        name: &str,
        first: usize,
        count: usize,
    ) -> Result<Vec<u8>, SourceError> {
        let tensor = self.known(name)?;
        self.check_rows(tensor, tensor.rows(), first, count)?;
        if !is_bytes(tensor.kind) {
            return Err(self.not_supported(tensor, " as bytes, expected U8"));
        }
        let (offset, length) = self.range(tensor, first, count);
        let mut bytes = vec![0; length];
        self.read_stored(tensor, offset, &mut bytes)?;
        Ok(bytes)
    }

    fn read_quantized(
        &self,
        weight: &Quantized,
        first: usize,
        count: usize,
    ) -> Result<Vec<f32>, SourceError> {
        self.check_rows(&weight.codes, weight.rows(), first, count)?;
        let numbers = weight.read_rows(&self.sources, first, count)?;
        self.check_finite(&weight.codes, first * weight.columns(), &numbers)?;
        Ok(numbers)
    }

    fn known(&self, name: &str) -> Result<&TensorInfo, SourceError> {
        self.tensor(name).ok_or_else(|| SourceError::UnknownTensor {
            file: self.label.clone(),
            tensor: one_line(name),
        })
    }

    /// What turns a tensor's bytes into numbers, if anything does. Integers are numbers in GGUF
    /// files; in a folder they are the codes of a quantization and mean nothing by themselves.
    fn decoder(&self, tensor: &TensorInfo) -> Option<Decoder> {
        match (&self.form, tensor.kind) {
            (
                Form::HuggingFace { .. },
                ElementKind::I8 | ElementKind::I16 | ElementKind::I32 | ElementKind::I64,
            ) => None,
            (_, kind) => dequantize::decoder(kind),
        }
    }

    fn check_rows(
        &self,
        tensor: &TensorInfo,
        rows: usize,
        first: usize,
        count: usize,
    ) -> Result<(), SourceError> {
        if first.checked_add(count).is_some_and(|end| end <= rows) {
            return Ok(());
        }
        let file = self.sources[tensor.file].label.clone();
        Err(SourceError::Rows { file, tensor: tensor.name.clone(), first, count, rows })
    }

    /// Offset and length of the bytes of some rows, which `check_rows` has found to exist.
    fn range(&self, tensor: &TensorInfo, first: usize, count: usize) -> (u64, usize) {
        let row_bytes = tensor.row_bytes();
        (tensor.offset + first as u64 * row_bytes, (count as u64 * row_bytes) as usize)
    }

    fn read_stored(
        &self,
        tensor: &TensorInfo,
        offset: u64,
        target: &mut [u8],
    ) -> Result<(), SourceError> {
        let what = format!("tensor {}", tensor.name);
        self.sources[tensor.file].read_at(offset, target, &what)
    }

    fn check_finite(
        &self,
        tensor: &TensorInfo,
        first: usize,
        numbers: &[f32],
    ) -> Result<(), SourceError> {
        let Some(place) = numbers.iter().position(|number| !number.is_finite()) else {
            return Ok(());
        };
        Err(SourceError::NotFinite {
            file: self.sources[tensor.file].label.clone(),
            tensor: tensor.name.clone(),
            row: (first + place) / tensor.columns(),
            index: first + place,
            value: numbers[place],
        })
    }

    fn not_supported(&self, tensor: &TensorInfo, hint: &'static str) -> SourceError {
        SourceError::NotSupported {
            file: self.sources[tensor.file].label.clone(),
            tensor: tensor.name.clone(),
            kind: tensor.kind.name(),
            hint,
        }
    }
}

fn is_bytes(kind: ElementKind) -> bool {
    matches!(kind, ElementKind::U8 | ElementKind::F8E8M0)
}
