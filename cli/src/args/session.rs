//! The flags of engines and sessions, which most commands share.

use clap::{Args, ValueEnum};
use hardtack::RingBits;

use super::memory::{MemoryArgument, parse_memory};
use super::values::{count, parse_ring_bits};
use crate::size::parse_bytes;

#[derive(Debug, Args)]
pub struct EngineArguments {
    /// What the model runs on
    #[arg(long, value_enum, default_value_t = DeviceArgument::Cpu)]
    pub device: DeviceArgument,
    /// Threads; 0 for as many as the processor has. A GPU's work needs but one
    #[arg(short, long, default_value_t = 0, value_parser = count(0), value_name = "COUNT")]
    pub threads: usize,
    /// Tier of kernels (scalar, portable, avx2, avx2+vnni, avx512+vnni, neon, neon+dotprod,
    /// neon+i8mm); without it, the fastest
    #[arg(long, value_name = "NAME")]
    pub kernels: Option<String>,
    /// How the weights come into memory
    #[arg(long, value_enum, default_value_t = LoadArgument::Mmap)]
    pub load: LoadArgument,
    /// Check every hash of the blob first, which reads the whole file
    #[arg(long)]
    pub verify: bool,
    /// Most bytes for weights, tokenizer, keys and values, buffers and the process together, in
    /// the machine's memory and a GPU's: refuses to start if it needs more. Without it, what the
    /// machine and its control group (as a container has one) have left, of mapped weights only
    /// what a token reads; `none` goes on whatever they have
    #[arg(long, value_parser = parse_memory, value_name = "BYTES|none")]
    pub memory: Option<MemoryArgument>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum DeviceArgument {
    /// The processor
    Cpu,
    /// The first NVIDIA GPU
    Cuda,
    /// The first NVIDIA GPU if there is one and the model fits it, else the processor
    Auto,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LoadArgument {
    /// Mapped from the file
    Mmap,
    /// Read into memory before the first token
    Resident,
}

#[derive(Debug, Args)]
pub struct SessionArguments {
    /// Tokens the session can keep; 0 for the trained context, at most 4096. With `--kv` or
    /// `--kv-bits` tokens further apart than this do not see each other; 0 for the trained context
    #[arg(long, default_value_t = 0, value_parser = count(0), value_name = "TOKENS")]
    pub ctx: usize,
    /// Tokens of a prompt that are processed at once
    #[arg(long, default_value_t = hardtack::BATCH_DEFAULT, value_parser = count(0), value_name = "TOKENS")]
    pub batch: usize,
    #[command(flatten)]
    pub kv: KvArguments,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct KvArguments {
    /// How keys and values are kept where neither `--kv` nor `--kv-bits` is given: exactly, until
    /// the context is full
    #[arg(long, value_enum, default_value_t = KvArgument::F16)]
    pub kv_type: KvArgument,
    /// Keep keys and values in a ring of this size, in which a text can go on for ever; without
    /// it, and with `--kv-bits`, what the context takes
    #[arg(long, value_parser = parse_bytes, conflicts_with = "kv_type", value_name = "BYTES")]
    pub kv: Option<u64>,
    /// Bits of the ring's keys and values from new to old, such as 4, or 8,4,2 to lose bits before
    /// anything is forgotten, or 6/4,4/2 for keys and values apart; or `learned` for what the
    /// model's own policy chooses chunk by chunk, `learned:4` for at most 4 bits on average.
    /// Without it a model's own policy is taken, or 4,2 where there is none
    #[arg(long, value_parser = parse_ring_bits, conflicts_with = "kv_type", value_name = "BITS")]
    pub kv_bits: Option<RingBits>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum KvArgument {
    F16,
    F32,
}
