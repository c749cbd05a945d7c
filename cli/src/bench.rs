//! `hardtack bench`: prompt and decode speed beside the bandwidth that this machine reaches in the
//! same run.

use std::fs;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::thread;
use std::time::Instant;

use anyhow::ensure;
use hardtack::{Engine, KvPrecision, Sampler, SamplerOptions, Session};
use serde::Serialize;

use crate::args::BenchArguments;
use crate::model;
use crate::output::{show, show_json};
use crate::size::show_bytes;

/// Most bytes of a blob that are read to measure the bandwidth, and the fewest in all: a small blob
/// is read again and again, so that starting the threads does not count.
const BANDWIDTH_BYTES: [usize; 2] = [1 << 30, 256 << 20];
/// Seconds of decoding below which its speed is not compared with the bandwidth: a busy machine is
/// most of such a figure.
const COMPARED_SECONDS: f64 = 0.1;
const LINE_BYTES: usize = 64;
/// Places that a thread reads in by turns to measure the bandwidth: memory answers a core faster in
/// several than in one.
const PLACES: usize = 8;
/// Bytes of a GPU that are copied to measure its bandwidth: more than any cache holds.
const COPY_BYTES: u64 = 256 << 20;

#[derive(Serialize)]
struct Report {
    /// The processor's tier of kernels, or `cuda`.
    kernels: &'static str,
    /// The GPU, if that is what the model runs on.
    device: Option<String>,
    threads: usize,
    runs: usize,
    prompt_tokens: usize,
    prompt_tokens_per_second: f64,
    decode_tokens: usize,
    decode_tokens_per_second: f64,
    /// Weights that one decoded token reads.
    token_bytes: u64,
    decode_gigabytes_per_second: f64,
    /// Best of as many readings of the blob itself as runs, so of memory in the same kind of
    /// pages; of a cache where the blob fits in one. Of a GPU, best of as many copies inside its
    /// memory, what is read and what is written added up.
    bandwidth_gigabytes_per_second: f64,
    /// Null where too little was decoded to compare.
    bandwidth_share: Option<f64>,
    /// What the plan says that everything takes, the allowance for the process included.
    planned_bytes: u64,
    /// The largest resident set so far, as the system counts it; absent where it does not tell.
    peak_bytes: Option<u64>,
    /// BLAKE3 of the last logits: equal on every run and for any number of threads.
    logits_blake3: String,
}

/// Measures and reports medians.
pub fn bench(arguments: &BenchArguments) -> anyhow::Result<()> {
    ensure!(
        arguments.runs > 0 && arguments.prompt > 0,
        "at least one run and one prompt token are needed"
    );
    let mut options = model::session_options(&arguments.session);
    // A ring takes the model's own reach; its bytes do not grow with it where `--kv` sets them.
    if options.context.is_none() && !matches!(options.kv, KvPrecision::Ring(_)) {
        options.context = Some(arguments.prompt + arguments.decode);
    }
    let engine = model::open(&arguments.blob, &arguments.engine, &options)?;
    let mut session = engine.session(&options)?;
    let vocabulary = engine.network().spec.vocabulary;
    // Any ids do for speed: a fixed walk over the vocabulary.
    let prompt: Vec<u32> =
        (0..arguments.prompt as u32).map(|index| index.wrapping_mul(7919) % vocabulary).collect();
    let (mut prompt_speeds, mut decode_speeds, mut bandwidth) = (Vec::new(), Vec::new(), 0.0f64);
    let mut hash = String::new();
    // The first run warms caches and threads and does not count.
    for run in 0..=arguments.runs {
        bandwidth = bandwidth.max(memory_speed(&engine)?);
        let (prompt_speed, decode_speed, logits) =
            measure(&mut session, &prompt, arguments.decode)?;
        ensure!(
            run == 0 || hash == logits,
            "run {run}: the logits differ from those of the run before"
        );
        hash = logits;
        if run > 0 {
            prompt_speeds.push(prompt_speed);
            decode_speeds.push(decode_speed);
        }
    }
    let token_bytes = token_bytes(&engine);
    let decode = median(&mut decode_speeds);
    let rate = decode * token_bytes as f64 / 1e9;
    let device = engine.device();
    let report = Report {
        kernels: if device.is_some() { "cuda" } else { engine.kernels().name },
        device,
        threads: engine.threads(),
        runs: arguments.runs,
        prompt_tokens: prompt.len(),
        prompt_tokens_per_second: median(&mut prompt_speeds),
        decode_tokens: arguments.decode,
        decode_tokens_per_second: decode,
        token_bytes,
        decode_gigabytes_per_second: rate,
        bandwidth_gigabytes_per_second: bandwidth,
        bandwidth_share: (arguments.decode as f64 / decode > COMPARED_SECONDS)
            .then(|| rate / bandwidth),
        planned_bytes: engine.plan(&options)?.total_bytes(),
        peak_bytes: peak_bytes(),
        logits_blake3: hash,
    };
    print(arguments, &report)
}

/// Prompt and decode tokens a second, and the hash of the last logits.
fn measure(
    session: &mut Session,
    prompt: &[u32],
    decode: usize,
) -> anyhow::Result<(f64, f64, String)> {
    session.truncate(0);
    let start = Instant::now();
    session.feed(prompt)?;
    let prompt_speed = prompt.len() as f64 / start.elapsed().as_secs_f64();

    let start = Instant::now();
    if session.engine().device().is_some() {
        decode_likeliest(session, prompt[0], decode)?;
    } else {
        (0..decode)
            .try_for_each(|index| session.feed(&prompt[index % prompt.len()..][..1]).map(|_| ()))?;
    }
    let decode_speed = decode as f64 / start.elapsed().as_secs_f64();

    let bytes: Vec<u8> = session.feed(&[])?.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    Ok((prompt_speed, decode_speed, blake3::hash(&bytes).to_hex().to_string()))
}

/// Decodes as many tokens, from the second on the likeliest: a GPU chooses them itself and returns
/// no logits.
fn decode_likeliest(session: &mut Session, first: u32, count: usize) -> anyhow::Result<()> {
    let mut left = count;
    if left == 0 {
        return Ok(());
    }
    let vocabulary = session.engine().network().spec.vocabulary as usize;
    let mut sampler = Sampler::new(SamplerOptions::default(), vocabulary)?;
    session.generate(&[first], &mut sampler, |_| {
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(())
}

/// Gigabytes a second of the memory that decoding reads.
fn memory_speed(engine: &Engine) -> anyhow::Result<f64> {
    let copied = engine.copy_bandwidth(COPY_BYTES)?;
    Ok(copied.map_or_else(|| read_speed(engine), |bytes| bytes / 1e9))
}

/// Gigabytes a second at which the engine's threads read its blob, each in several places by turns.
fn read_speed(engine: &Engine) -> f64 {
    let lines = engine.bytes().as_chunks().0;
    let [most, least] = BANDWIDTH_BYTES;
    let lines = &lines[..lines.len().min(most / LINE_BYTES)];
    let times = least.div_ceil(size_of_val(lines).max(1));
    let start = Instant::now();
    thread::scope(|scope| {
        for part in lines.chunks(lines.len().div_ceil(engine.threads())) {
            scope
                .spawn(move || (0..times).for_each(|_| _ = black_box(read_lines(black_box(part)))));
        }
    });
    (size_of_val(lines) * times) as f64 / 1e9 / start.elapsed().as_secs_f64()
}

fn read_lines(lines: &[[u8; LINE_BYTES]]) -> u64 {
    let (places, rest) = lines.split_at(lines.len() / PLACES * PLACES);
    let mut sums = [0u64; LINE_BYTES / size_of::<u64>()];
    let mut add = |line: &[u8; LINE_BYTES]| {
        for (sum, word) in sums.iter_mut().zip(line.as_chunks().0) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*word));
        }
    };
    let each = places.len() / PLACES;
    for line in 0..each {
        (0..PLACES).for_each(|place| add(&places[place * each + line]));
    }
    rest.iter().for_each(add);
    sums.iter().fold(0, |all, sum| all.wrapping_add(*sum))
}

/// Bytes of weights that a decoded token reads: all but the unchosen experts and the embedding
/// table, of which it reads a row unless it is the head too.
fn token_bytes(engine: &Engine) -> u64 {
    use hardtack::format::network::{BlockTensors, FeedForwardTensors};
    let network = engine.network();
    let blob = engine.blob();
    let layers =
        blob.sections().filter(|record| record.key.kind == hardtack::format::SectionKind::Layer);
    let block = |block: &BlockTensors| block.gated.bytes + block.up.bytes + block.down.bytes;
    let experts: u64 = network
        .layers
        .iter()
        .zip(&network.spec.layers)
        .filter_map(|(tensors, spec)| match (&tensors.feed_forward, spec.feed_forward.experts()) {
            (FeedForwardTensors::Experts(tensors), Some(spec)) => {
                let all: u64 = tensors.experts.iter().map(block).sum();
                Some(all * u64::from(spec.chosen) / u64::from(spec.count))
            }
            _ => None,
        })
        .sum();
    layers.map(|record| record.bytes).sum::<u64>() + experts + network.head.bytes
}

/// The largest resident set of this process so far.
fn peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

fn print(arguments: &BenchArguments, report: &Report) -> anyhow::Result<()> {
    if arguments.json {
        return Ok(show_json(report)?);
    }
    let (place, how) = match &report.device {
        Some(device) => (format!("device {device}"), "that copies inside its memory reach"),
        None => (
            format!("kernels {}, {} threads", report.kernels, report.threads),
            "at which the blob is read",
        ),
    };
    let bandwidth = report.bandwidth_gigabytes_per_second;
    let compared = match report.bandwidth_share {
        Some(share) => format!(", {:.0} % of the {bandwidth:.1} GB/s {how}", share * 100.0),
        None => "; too short to compare with the bandwidth: more -n TOKENS".to_owned(),
    };
    show(&format!(
        "{place}, median of {} runs\n\
         prompt  {:>9.1} tok/s  ({} tokens)\n\
         decode  {:>9.1} tok/s  ({} tokens, {} of weights each: {:.1} GB/s{compared})\n\
         memory  {} planned{}\n\
         logits  {}\n",
        report.runs,
        report.prompt_tokens_per_second,
        report.prompt_tokens,
        report.decode_tokens_per_second,
        report.decode_tokens,
        show_bytes(report.token_bytes),
        report.decode_gigabytes_per_second,
        show_bytes(report.planned_bytes),
        report
            .peak_bytes
            .map_or(String::new(), |peak| format!(", {} at the peak", show_bytes(peak))),
        report.logits_blake3
    ))?;
    Ok(())
}
