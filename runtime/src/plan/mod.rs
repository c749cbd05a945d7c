//! The exact map of bytes for a model in a memory budget, made before the first weight is read.

use std::fmt;

use hardtack_format::network::{BlockTensors, FeedForwardTensors, LayerTensors};
use hardtack_format::spec::AttentionSpec;
use hardtack_format::{Blob, Network, SectionKind};

use crate::cache::{KvPrecision, KvSize, RingOptions};
use crate::cpu::scratch::ScratchSizes;
use crate::error::Error;
use crate::history::History;
use crate::os::Load;
use crate::sample::Sampler;
#[cfg(feature = "text")]
use crate::text::pieces::PIECE_BYTES;

/// Tokens kept if nothing else is asked for and the model was trained for as many.
pub const CONTEXT_DEFAULT: usize = 4096;
/// Tokens processed at once if nothing else is asked for.
pub const BATCH_DEFAULT: usize = 64;
/// Most tokens processed at once.
pub const BATCH_MAX: usize = 1024;

/// Code, stacks, and what the allocator keeps for itself.
const PROCESS_BYTES: u64 = 12 << 20;

/// What a session is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SessionOptions {
    /// Tokens that it can keep; 0 for the trained context, at most [`CONTEXT_DEFAULT`]. A ring
    /// goes on for ever and keeps none further apart than this; 0 is the whole trained context
    /// then.
    pub context: usize,
    /// Tokens of a prompt processed at once.
    pub batch: usize,
    /// How keys and values are kept.
    pub kv: KvPrecision,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { context: 0, batch: BATCH_DEFAULT, kv: KvPrecision::default() }
    }
}

/// What a model takes before any session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// The blob, all of which is read in the course of time.
    pub weights_bytes: u64,
    /// The tokenizer and the byte table; nothing without the feature `text`.
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
        // The routers' numbers stand in memory once more.
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
    // One that is refused takes nothing when it is opened.
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

/// Every byte of a session: what is planned here is what is allocated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Tokens that fit, or over which a ring reaches.
    pub context: usize,
    /// How many keys and values are kept, and how.
    pub kv: KvSize,
    /// What the model takes.
    pub fixed: Fixed,
    /// Keys and values, on the device if there is one; a ring's lists are the host's.
    pub kv_bytes: u64,
    /// Working buffers, a device's among them, and the text's tokens.
    pub scratch_bytes: u64,
    /// Keys and values on a device.
    pub device_kv_bytes: u64,
    /// Working buffers on a device, a ring's tables of chunks among them.
    pub device_scratch_bytes: u64,
    pub(crate) buffers: BufferSizes,
}

/// Sizes of the working buffers.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "a plan is copied, and a session has but one")]
pub(crate) enum BufferSizes {
    /// Of the processor.
    Cpu(ScratchSizes),
    /// Of a device: the sizes follow from the network and the cache.
    #[cfg(feature = "cuda")]
    Cuda {
        /// Tokens that are processed at once.
        batch: usize,
    },
}

impl Plan {
    /// Bytes of everything together, the host's and a device's.
    pub const fn total_bytes(&self) -> u64 {
        self.fixed.total_bytes().saturating_add(self.kv_bytes).saturating_add(self.scratch_bytes)
    }

    /// Bytes that are allocated on a device; 0 on the processor.
    pub const fn device_bytes(&self) -> u64 {
        match self.fixed.device {
            Some(device) => device
                .bytes
                .saturating_add(self.device_kv_bytes)
                .saturating_add(self.device_scratch_bytes),
            None => 0,
        }
    }

    /// Bytes of the host's memory: everything, but for what a device has in memory of its own.
    pub const fn host_bytes(&self) -> u64 {
        match self.fixed.device {
            Some(DeviceWeights { of_host: false, .. }) => self.total_bytes() - self.device_bytes(),
            _ => self.total_bytes(),
        }
    }

    /// Bytes that a session allocates on the host.
    pub(crate) const fn session_host_bytes(&self) -> u64 {
        let all = self.kv_bytes.saturating_add(self.scratch_bytes);
        all.saturating_sub(self.device_kv_bytes).saturating_sub(self.device_scratch_bytes)
    }
}

impl BufferSizes {
    /// Tokens that are processed at once.
    pub const fn batch(&self) -> usize {
        match self {
            Self::Cpu(sizes) => sizes.batch,
            #[cfg(feature = "cuda")]
            Self::Cuda { batch } => *batch,
        }
    }
}

/// Decides every byte of a session.
///
/// # Errors
/// An option outside its range, or a total over the limit; the message says what would fit.
pub fn plan(
    network: &Network,
    fixed: Fixed,
    options: &SessionOptions,
    memory_max: Option<u64>,
) -> Result<Plan, Error> {
    let spec = &network.spec;
    let trained = spec.context_max as usize;
    let ring = matches!(options.kv, KvPrecision::Ring(_));
    let context = match options.context {
        0 if ring => trained,
        0 => trained.min(CONTEXT_DEFAULT),
        asked => asked,
    };
    in_range("context", context, trained)?;
    in_range("batch", options.batch, BATCH_MAX)?;
    let layers: Vec<AttentionSpec> = spec.layers.iter().map(|layer| layer.attention).collect();
    let with = |context: usize, options: &SessionOptions| -> Result<Plan, Error> {
        let batch = options.batch.min(context);
        let kv = KvSize::of(options.kv, network.kv_policy.as_ref(), &layers, context)?;
        let kv_bytes = kv.bytes(&layers);
        let parts = if fixed.device.is_some() {
            device_parts(network, kv, batch, kv_bytes)?
        } else {
            let exact = ScratchSizes::of(spec, batch);
            let scratch = if ring { exact.with_ring(&layers) } else { exact };
            Parts {
                scratch_bytes: scratch.bytes(),
                on_device: [0; 2],
                buffers: BufferSizes::Cpu(scratch),
            }
        };
        let Parts { scratch_bytes, on_device: [device_kv_bytes, device_scratch_bytes], buffers } =
            parts;
        let scratch_bytes = scratch_bytes.saturating_add(History::bytes(kv));
        Ok(Plan {
            context,
            kv,
            fixed,
            kv_bytes,
            scratch_bytes,
            device_kv_bytes,
            device_scratch_bytes,
            buffers,
        })
    };
    let plan = with(context, options)?;
    let Some(limit) = memory_max.filter(|&limit| plan.total_bytes() > limit) else {
        return Ok(plan);
    };
    let advice = match options.kv {
        KvPrecision::Ring(ring) => smaller_ring(&plan, limit, |bytes| {
            with(
                context,
                &SessionOptions {
                    kv: KvPrecision::Ring(RingOptions { bytes, ..ring }),
                    ..*options
                },
            )
            .is_ok()
        }),
        _ => shorter_context(&plan, limit, |context| {
            with(context, options).map_or(u64::MAX, |plan| plan.total_bytes())
        }),
    };
    Err(over_limit(&plan, limit, advice))
}

/// What a session takes beside keys and values.
struct Parts {
    scratch_bytes: u64,
    /// Keys and values, and working buffers.
    on_device: [u64; 2],
    buffers: BufferSizes,
}

#[cfg(feature = "cuda")]
fn device_parts(
    network: &Network,
    kv: KvSize,
    batch: usize,
    kv_bytes: u64,
) -> Result<Parts, Error> {
    let sizes = crate::gpu::session_sizes(network, kv, batch)?;
    let device_kv =
        kv_bytes - kv.list_bytes(network.spec.layers.iter().map(|layer| &layer.attention));
    let scratch = sizes.scratch_bytes() + sizes.kv_bytes() - device_kv;
    let scratch_bytes = scratch + crate::gpu::host_bytes(network, kv, &sizes);
    Ok(Parts {
        scratch_bytes,
        on_device: [device_kv, scratch],
        buffers: BufferSizes::Cuda { batch: sizes.batch },
    })
}

#[cfg(not(feature = "cuda"))]
fn device_parts(_: &Network, _: KvSize, _: usize, _: u64) -> Result<Parts, Error> {
    unreachable!("no device is opened without the feature `cuda`")
}

fn in_range(setting: &'static str, value: usize, max: usize) -> Result<(), Error> {
    if (1..=max).contains(&value) {
        Ok(())
    } else {
        Err(Error::Setting { setting, expected: format!("1 to {max}"), found: value.to_string() })
    }
}

/// The largest context that fits, by bisection: more tokens never take less.
fn shorter_context(plan: &Plan, limit: u64, total_bytes: impl Fn(usize) -> u64) -> String {
    let (mut fits, mut too_many) = (0, plan.context);
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        if total_bytes(middle) <= limit { fits = middle } else { too_many = middle }
    }
    match fits {
        0 => format!("no context fits: the model needs at least {} bytes", total_bytes(1)),
        tokens => format!("a context of {tokens} tokens would fit"),
    }
}

/// What the rest leaves for a ring.
fn smaller_ring(plan: &Plan, limit: u64, possible: impl Fn(u64) -> bool) -> String {
    match limit.checked_sub(plan.total_bytes() - plan.kv_bytes) {
        Some(left) if left > 0 && possible(left) => format!("a ring of {left} bytes would fit"),
        _ => "no ring fits".to_owned(),
    }
}

fn over_limit(plan: &Plan, limit: u64, advice: String) -> Error {
    Error::Memory { needed: plan.total_bytes(), parts: plan.to_string(), limit, advice }
}

/// The parts in bytes, the host's first where a device has some.
impl fmt::Display for Plan {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fixed { weights_bytes, text_bytes, process_bytes, device, .. } = self.fixed;
        write!(to, "weights {weights_bytes}, text {text_bytes}, process {process_bytes}")?;
        let Some(device) = device else {
            return write!(to, ", KV {}, scratch {}", self.kv_bytes, self.scratch_bytes);
        };
        let (copied, kv, scratch) = (device.bytes, self.device_kv_bytes, self.device_scratch_bytes);
        write!(
            to,
            ", scratch {}; on the device weights {copied}, KV {kv}, scratch {scratch}",
            self.scratch_bytes - scratch
        )
    }
}
