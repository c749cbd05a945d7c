//! A network's weights on a device: the blob's sections as they are, and a table of the experts of every layer.

use hardtack_format::encoding::Encoding;
use hardtack_format::network::{BlockTensors, FeedForwardTensors};
use hardtack_format::records::SectionRecord;
use hardtack_format::{Blob, Network, TensorRef};

use crate::device::{Address, Device, HostBytes};
use crate::error::CudaError;
use crate::params::Params;

/// Weights are copied in pieces of about this many bytes: one huge allocation can fail where many smaller ones do not.
/// A section is never cut.
pub const PIECE_BYTES: u64 = 64 << 20;

/// A network on a device.
#[derive(Debug)]
pub struct Model<D: Device> {
    pub(crate) device: D,
    pub(crate) network: Network,
    /// RoPE's angular frequencies.
    pub(crate) frequencies: Vec<f32>,
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

/// Where a layer's experts stand.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    /// The routed experts, or the dense block.
    pub experts: Address,
    /// The shared expert.
    pub shared: Option<Address>,
}

impl<D: Device> Model<D> {
    /// Puts all weights of a blob where the device reads them: in place where it shares the host's memory, or else copied.
    ///
    /// # Errors
    /// The file is no valid blob, or the device has no such room, or fails.
    pub fn new(device: D, file: &HostBytes) -> Result<Self, CudaError> {
        let blob = Blob::open((**file).as_ref()).map_err(CudaError::Blob)?;
        let network = Network::bind(&blob).map_err(CudaError::Blob)?;
        let mut frequencies = Vec::new();
        if let Some(tensor) = &network.rope_frequencies {
            let floats = blob.tensor_bytes(tensor).chunks_exact(4);
            frequencies.extend(floats.map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])));
        }
        let mut model =
            Self { device, network, frequencies, pieces: Vec::new(), tables: Vec::new(), owned: Vec::new() };
        match model.device.share(file)? {
            Some(address) => model.pieces.push(Piece { start: 0, end: blob.header().file_bytes, address }),
            None => model.copy_all(&blob)?,
        }
        model.add_tables()?;
        Ok(model)
    }

    /// A network whose weights stand one after another, without a blob.
    #[cfg(test)]
    pub(crate) fn of_weights(
        device: D,
        network: Network,
        frequencies: Vec<f32>,
        weights: &[u8],
    ) -> Result<Self, CudaError> {
        let address = device.allocate("weights", weights.len() as u64)?;
        device.write(address, weights)?;
        let pieces = vec![Piece { start: 0, end: weights.len() as u64, address }];
        let mut model = Self { device, network, frequencies, pieces, tables: Vec::new(), owned: vec![address] };
        model.add_tables()?;
        Ok(model)
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Copies every section with tensors.
    fn copy_all(&mut self, blob: &Blob<'_>) -> Result<(), CudaError> {
        let mut waiting: Vec<SectionRecord> = Vec::new();
        for section in blob.sections().filter(|section| section.tensor_count > 0) {
            let full = waiting.first().is_some_and(|first| section.offset + section.bytes - first.offset > PIECE_BYTES);
            if full {
                self.copy(blob, &waiting)?;
                waiting.clear();
            }
            waiting.push(section);
        }
        self.copy(blob, &waiting)
    }

    /// Bytes of the device that the weights take.
    pub fn weights_bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.end - piece.start).sum()
    }

    fn copy(&mut self, blob: &Blob<'_>, sections: &[SectionRecord]) -> Result<(), CudaError> {
        let (Some(first), Some(last)) = (sections.first(), sections.last()) else { return Ok(()) };
        let (start, end) = (first.offset, last.offset + last.bytes);
        let address = self.device.allocate("weights", end - start)?;
        self.owned.push(address);
        self.pieces.push(Piece { start, end, address });
        for section in sections {
            self.device.write(address.plus(section.offset - start), blob.section_bytes(section))?;
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
        let address = self.device.allocate("the table of experts", bytes.len() as u64)?;
        self.owned.push(address);
        self.device.write(address, &bytes)?;
        Ok(address)
    }

    /// A layer's experts.
    pub(crate) fn tables(&self, layer: usize) -> Tables {
        self.tables[layer]
    }

    /// Where a tensor stands.
    pub(crate) fn address(&self, tensor: &TensorRef) -> Address {
        let inside = |piece: &&Piece| piece.start <= tensor.offset && tensor.offset < piece.end;
        let piece = self.pieces.iter().find(inside).expect("every section with tensors was copied");
        piece.address.plus(tensor.offset - piece.start)
    }

    /// Where a vector stands, if there is one.
    pub(crate) fn vector(&self, tensor: Option<&TensorRef>) -> Option<Address> {
        tensor.map(|tensor| self.address(tensor))
    }

    /// A matrix as the kernels see it.
    pub(crate) fn matrix(&self, tensor: &TensorRef) -> Params {
        assert_ne!(tensor.encoding, Encoding::Plain, "a matrix");
        Params::new().address(self.address(tensor)).u32(u32::from(tensor.encoding as u16)).u32(0)
    }
}

impl<D: Device> Drop for Model<D> {
    fn drop(&mut self) {
        self.owned.iter().for_each(|address| self.device.free(*address));
    }
}
