//! What a model takes before any session.

use hardtack_format::network::{BlockTensors, FeedForwardTensors, LayerTensors};
use hardtack_format::{Blob, Network, SectionKind};

use crate::os::Load;
use crate::sample::Sampler;
#[cfg(feature = "text")]
use crate::text::pieces::PIECE_BYTES;

/// Code, stacks, and what the allocator keeps for itself.
const PROCESS_BYTES: u64 = 12 << 20;

/// What a model takes before any session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// The blob, all of which is read in the course of time.
    pub weights_bytes: u64,
    /// The tokenizer and the byte table; 0 without the feature `text`.
    pub text_bytes: u64,
    /// The list of tensors, a sampler, and an allowance of 12 MiB for code, stacks and the
    /// allocator.
    pub process_bytes: u64,
    /// Bytes of the weights that a decoded token reads: all but the experts that are not chosen,
    /// and the embeddings, of which it reads one row unless they are the head too.
    pub token_bytes: u64,
    /// What the model takes on a device besides, if it runs on one.
    pub device: Option<DeviceWeights>,
}

/// What a model takes on a device. What the driver takes for itself is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceWeights {
    /// Tables of experts, and the weights, unless the device reads them where the host has them.
    pub bytes: u64,
    /// Whether the device's memory is the host's.
    pub of_host: bool,
}

impl Fixed {
    /// What an open blob takes.
    pub fn of(blob: &Blob<'_>, network: &Network) -> Self {
        let section = |kind| blob.plain(kind).map_or(0, |bytes| bytes.len() as u64);
        let text = tokenizer_bytes(blob) + section(SectionKind::Vocabulary);
        let blocks: usize = network
            .layers
            .iter()
            .map(|layer| match &layer.feed_forward {
                FeedForwardTensors::Dense(_) => 0,
                FeedForwardTensors::Experts(experts) => experts.experts.len(),
            })
            .sum();
        let tensors =
            network.layers.len() * size_of::<LayerTensors>() + blocks * size_of::<BlockTensors>();
        // The kv_routers' numbers are in memory once more.
        let policy = section(SectionKind::KvPolicy);
        let index = blob.header().index_bytes() as u64;
        Self {
            weights_bytes: blob.header().file_bytes,
            text_bytes: if cfg!(feature = "text") { text } else { 0 },
            process_bytes: PROCESS_BYTES
                + index
                + tensors as u64
                + policy
                + Sampler::bytes(network.spec.vocabulary),
            token_bytes: token_bytes(blob, network),
            device: None,
        }
    }

    /// Bytes of everything together, a device's among them.
    pub const fn total_bytes(&self) -> u64 {
        let device = match self.device {
            Some(device) => device.bytes,
            None => 0,
        };
        self.weights_bytes + self.text_bytes + self.process_bytes + device
    }

    /// Bytes that must stay in the host's memory for a model to run at all well: everything, but of
    /// mapped weights only what every token reads.
    pub const fn resident_bytes(&self, load: Load) -> u64 {
        match load {
            Load::Resident => self.total_bytes(),
            Load::Mmap => self.total_bytes() - self.weights_bytes + self.token_bytes,
        }
    }
}

fn token_bytes(blob: &Blob<'_>, network: &Network) -> u64 {
    let layers = blob.sections().filter(|record| record.key.kind == SectionKind::Layer);
    let block = |block: &BlockTensors| block.gated.bytes + block.up.bytes + block.down.bytes;
    let mixtures = network.layers.iter().zip(&network.spec.layers);
    let experts = mixtures.filter_map(|(tensors, spec)| {
        match (&tensors.feed_forward, spec.feed_forward.experts()) {
            (FeedForwardTensors::Experts(tensors), Some(spec)) => {
                let all: u64 = tensors.experts.iter().map(block).sum();
                Some(all / u64::from(spec.count) * u64::from(spec.chosen))
            }
            _ => None,
        }
    });
    layers.map(|record| record.bytes).sum::<u64>() + experts.sum::<u64>() + network.head.bytes
}

/// Bytes that encoding takes for each byte of the piece that is encoded at once, and what a long
/// prompt and its tokens take.
#[cfg(feature = "text")]
const ENCODE_FACTOR: u64 = 224;
#[cfg(feature = "text")]
const PROMPT_BYTES: u64 = 1 << 20;

/// What the tokenizer takes at its peak: while its file is parsed, or with what is left of that,
/// while a text is encoded.
#[cfg(feature = "text")]
fn tokenizer_bytes(blob: &Blob<'_>) -> u64 {
    let json = blob.plain(SectionKind::Tokenizer).unwrap_or_default();
    // One that is refused takes no memory when it is opened.
    hardtack_tokenizer::survey(json).map_or(0, |survey| {
        let parsing = survey.memory_bytes();
        parsing.max(parsing / 2 + PIECE_BYTES as u64 * ENCODE_FACTOR + PROMPT_BYTES)
    })
}

/// Without the feature `text` no tokenizer is read.
#[cfg(not(feature = "text"))]
fn tokenizer_bytes(_: &Blob<'_>) -> u64 {
    0
}
