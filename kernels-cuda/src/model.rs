//! A network's weights on a device: the blob's sections as they are, and a table of the experts of
//! every layer.

use hardtack_format::encoding::Encoding;
use hardtack_format::network::{BlockTensors, FeedForwardTensors};
use hardtack_format::records::SectionRecord;
use hardtack_format::{Blob, Network, TensorRef};

use crate::address::Address;
use crate::device::{Device, HostBytes, INSIDE, Raw};
use crate::error::CudaError;
use crate::params::Params;

/// Weights are copied in pieces of about this many bytes: one huge allocation can fail where many
/// smaller ones do not. A section is never cut.
pub const PIECE_BYTES: u64 = 64 << 20;
/// Bytes that a table has for a block: three matrices and three biases.
const BLOCK_BYTES: u64 = 3 * 16 + 3 * 8;

/// A network on a device.
#[derive(Debug)]
pub struct Model<D: Device> {
    pub(crate) device: D,
    pub(crate) network: Network,
    /// RoPE's angular frequencies.
    pub(crate) frequencies: Vec<f32>,
    /// Whether the device reads the weights where the host has them.
    shared: bool,
    pieces: Vec<Piece>,
    tables: Vec<Tables>,
    owned: Vec<Address>,
}

/// Consecutive bytes of the file, and where they are.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: u64,
    end: u64,
    address: Address,
}

/// Where a layer's experts are.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    /// The routed experts, or the dense block.
    pub experts: Address,
    /// The shared expert.
    pub shared: Option<Address>,
}

impl<D: Device> Model<D> {
    /// Puts all weights of a blob where the device reads them: in place where it shares the host's
    /// memory, or else copied.
    ///
    /// # Errors
    /// The file is no valid blob, or the device has no such room, or fails.
    pub fn new(device: D, file: &HostBytes) -> Result<Self, CudaError> {
        // Called once: who owns the bytes may answer with others the second time.
        let bytes = (**file).as_ref();
        let blob = Blob::open(bytes).map_err(CudaError::Blob)?;
        let network = Network::bind(&blob).map_err(CudaError::Blob)?;
        let mut frequencies = Vec::new();
        if let Some(tensor) = &network.rope_frequencies {
            let floats = blob.tensor_bytes(tensor).chunks_exact(4);
            frequencies.extend(
                floats.map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
            );
        }
        let mut model = Self {
            device,
            network,
            frequencies,
            shared: false,
            pieces: Vec::new(),
            tables: Vec::new(),
            owned: Vec::new(),
        };
        match model.raw().share(file, bytes)? {
            Some(address) => {
                model.shared = true;
                model.pieces.push(Piece { start: 0, end: blob.header().file_bytes, address });
            }
            None => pieces(&blob).iter().try_for_each(|sections| model.copy(&blob, sections))?,
        }
        model.add_tables()?;
        Ok(model)
    }

    /// A network whose weights lie one after another, without a blob.
    #[cfg(test)]
    pub(crate) fn of_weights(
        device: D,
        network: Network,
        frequencies: Vec<f32>,
        weights: &[u8],
    ) -> Result<Self, CudaError> {
        let address = device.raw(INSIDE).allocate("weights", weights.len() as u64)?;
        device.raw(INSIDE).write(address, weights)?;
        let pieces = vec![Piece { start: 0, end: weights.len() as u64, address }];
        let mut model = Self {
            device,
            network,
            frequencies,
            pieces,
            shared: false,
            tables: Vec::new(),
            owned: vec![address],
        };
        model.add_tables()?;
        Ok(model)
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Its memory and kernels.
    pub(crate) fn raw(&self) -> &dyn Raw {
        self.device.raw(INSIDE)
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Whether the device reads the weights where the host has them; else they were copied.
    pub const fn is_shared(&self) -> bool {
        self.shared
    }

    /// Bytes that [`Model::new`] allocates on the device: the tables of experts, and the weights
    /// unless it reads them where the host has them.
    pub fn bytes(blob: &Blob<'_>, network: &Network, shared: bool) -> u64 {
        let weights: u64 = pieces(blob)
            .iter()
            .filter_map(|sections| span(sections))
            .map(|(start, end)| end - start)
            .sum();
        let blocks: usize = network
            .layers
            .iter()
            .map(|layer| match &layer.feed_forward {
                FeedForwardTensors::Dense(_) => 1,
                FeedForwardTensors::Experts(experts) => {
                    experts.experts.len() + usize::from(experts.shared.is_some())
                }
            })
            .sum();
        blocks as u64 * BLOCK_BYTES + if shared { 0 } else { weights }
    }

    fn copy(&mut self, blob: &Blob<'_>, sections: &[SectionRecord]) -> Result<(), CudaError> {
        let Some((start, end)) = span(sections) else { return Ok(()) };
        let address = self.raw().allocate("weights", end - start)?;
        self.owned.push(address);
        self.pieces.push(Piece { start, end, address });
        for section in sections {
            self.raw().write(address.plus(section.offset - start), blob.section_bytes(section))?;
        }
        Ok(())
    }

    fn add_tables(&mut self) -> Result<(), CudaError> {
        for index in 0..self.network.layers.len() {
            let (experts, shared) = match &self.network.layers[index].feed_forward {
                FeedForwardTensors::Dense(block) => (vec![*block], None),
                FeedForwardTensors::Experts(experts) => (experts.experts.clone(), experts.shared),
            };
            let experts = self.add_table(&experts)?;
            let shared = shared.map(|block| self.add_table(&[block])).transpose()?;
            self.tables.push(Tables { experts, shared });
        }
        Ok(())
    }

    fn add_table(&mut self, blocks: &[BlockTensors]) -> Result<Address, CudaError> {
        let mut table = Params::new();
        for block in blocks {
            table = table
                .inner(self.matrix(&block.gated))
                .inner(self.matrix(&block.up))
                .inner(self.matrix(&block.down))
                .optional(self.vector(block.gated_bias.as_ref()))
                .optional(self.vector(block.up_bias.as_ref()))
                .optional(self.vector(block.down_bias.as_ref()));
        }
        let bytes = table.into_bytes();
        assert_eq!(bytes.len() as u64, blocks.len() as u64 * BLOCK_BYTES, "the table");
        let address = self.raw().allocate("the table of experts", bytes.len() as u64)?;
        self.owned.push(address);
        self.raw().write(address, &bytes)?;
        Ok(address)
    }

    /// A layer's experts.
    pub(crate) fn tables(&self, layer: usize) -> Tables {
        self.tables[layer]
    }

    /// Where a tensor is.
    pub(crate) fn address(&self, tensor: &TensorRef) -> Address {
        let inside = |piece: &&Piece| piece.start <= tensor.offset && tensor.offset < piece.end;
        let piece = self.pieces.iter().find(inside).expect("every section with tensors was copied");
        piece.address.plus(tensor.offset - piece.start)
    }

    /// Where a vector is, if there is one.
    pub(crate) fn vector(&self, tensor: Option<&TensorRef>) -> Option<Address> {
        tensor.map(|tensor| self.address(tensor))
    }

    /// A matrix as the kernels see it.
    pub(crate) fn matrix(&self, tensor: &TensorRef) -> Params {
        assert_ne!(tensor.encoding, Encoding::Plain, "a matrix");
        Params::new().address(self.address(tensor)).u32(u32::from(tensor.encoding as u16)).u32(0)
    }
}

/// The sections with tensors, in pieces that are copied at once.
fn pieces(blob: &Blob<'_>) -> Vec<Vec<SectionRecord>> {
    let mut pieces: Vec<Vec<SectionRecord>> = Vec::new();
    for section in blob.sections().filter(|section| section.tensor_count > 0) {
        let fits =
            |first: &SectionRecord| section.offset + section.bytes - first.offset <= PIECE_BYTES;
        match pieces.last_mut() {
            Some(piece) if piece.first().is_some_and(fits) => piece.push(section),
            _ => pieces.push(vec![section]),
        }
    }
    pieces
}

/// The bytes of the file from the first section to the end of the last.
fn span(sections: &[SectionRecord]) -> Option<(u64, u64)> {
    Some((sections.first()?.offset, sections.last().map(|last| last.offset + last.bytes)?))
}

impl<D: Device> Drop for Model<D> {
    fn drop(&mut self) {
        self.owned.iter().for_each(|address| self.raw().free(*address));
    }
}
