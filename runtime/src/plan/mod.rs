//! The exact map of bytes for a model in a memory budget, made before the first weight is read.

mod advice;
pub mod fixed;

use std::fmt;

use hardtack_format::Network;
use hardtack_format::spec::AttentionSpec;

use self::advice::{shorter_context, smaller_ring};
use self::fixed::{DeviceWeights, Fixed};
use crate::cache::size::KvSize;
use crate::cpu::buffer::Room as _;
use crate::cpu::forward::scratch::Scratch;
use crate::error::Error;
use crate::history::History;
use crate::options::{BATCH_MAX, CONTEXT_DEFAULT, KvPrecision, SessionOptions};

/// Every byte of a session: what is planned here is what is allocated.
///
/// ```
/// use hardtack::{Engine, SessionOptions};
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let engine = Engine::open("tests/data/tiny.tack")?;
/// let plan = engine.plan(&SessionOptions::default())?;
/// assert_eq!(plan.context, 4096);
/// println!("{} bytes in all: {plan}", plan.total_bytes());
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Tokens that fit, or over which a ring reaches.
    pub context: usize,
    /// Tokens that are processed at once.
    pub batch: usize,
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
        Some(tokens) => tokens,
        None if ring => trained,
        None => trained.min(CONTEXT_DEFAULT),
    };
    in_range("context", context, trained)?;
    in_range("batch", options.batch, BATCH_MAX)?;
    let layers: Vec<AttentionSpec> = spec.layers.iter().map(|layer| layer.attention).collect();
    let with = |context: usize, precision: KvPrecision| -> Result<Plan, Error> {
        let kv = KvSize::of(precision, network.kv_policy.as_ref(), &layers, context)?;
        let kv_bytes = kv.bytes(&layers);
        let scratch = Parts::of(network, &fixed, kv, options.batch.min(context))?;
        Ok(Plan {
            context,
            batch: scratch.batch,
            kv,
            fixed,
            kv_bytes,
            scratch_bytes: scratch.bytes.saturating_add(History::bytes(kv)),
            device_kv_bytes: scratch.device_kv_bytes,
            device_scratch_bytes: scratch.device_bytes,
        })
    };
    let plan = with(context, options.kv)?;
    let Some(limit) = memory_max.filter(|&limit| plan.total_bytes() > limit) else {
        return Ok(plan);
    };
    let advice = match options.kv {
        KvPrecision::Ring(ring) => {
            smaller_ring(plan.total_bytes() - plan.kv_bytes, limit, |bytes| {
                with(context, KvPrecision::Ring(ring.bytes(bytes))).is_ok()
            })
        }
        _ => shorter_context(plan.context, limit, |context| {
            with(context, options.kv).map_or(u64::MAX, |plan| plan.total_bytes())
        }),
    };
    Err(over_limit(&plan, limit, advice))
}

/// What a session takes beside keys and values.
struct Parts {
    /// Tokens that are processed at once.
    batch: usize,
    /// The scratch, a device's among it.
    bytes: u64,
    /// Of it, on a device.
    device_bytes: u64,
    /// Keys and values on a device.
    device_kv_bytes: u64,
}

impl Parts {
    fn of(network: &Network, fixed: &Fixed, kv: KvSize, batch: usize) -> Result<Self, Error> {
        if fixed.device.is_some() {
            return Self::on_device(network, kv, batch);
        }
        let bytes = Scratch::planned(&network.spec, batch, kv.is_ring()).bytes();
        Ok(Self { batch, bytes, device_bytes: 0, device_kv_bytes: 0 })
    }

    #[cfg(feature = "cuda")]
    fn on_device(network: &Network, kv: KvSize, batch: usize) -> Result<Self, Error> {
        let device = crate::gpu::sizes::session_bytes(network, kv, batch)?;
        Ok(Self {
            batch: device.batch,
            bytes: device.scratch + device.host,
            device_bytes: device.scratch,
            device_kv_bytes: device.kv,
        })
    }

    #[cfg(not(feature = "cuda"))]
    fn on_device(_: &Network, _: KvSize, _: usize) -> Result<Self, Error> {
        unreachable!("no device is opened without the feature `cuda`")
    }
}

fn in_range(setting: &'static str, value: usize, max: usize) -> Result<(), Error> {
    if (1..=max).contains(&value) {
        Ok(())
    } else {
        Err(Error::Setting { setting, expected: format!("1 to {max}"), found: value.to_string() })
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
