//! `hardtack bake --calib`: bits chosen by what they cost on the user's texts.

use anyhow::ensure;
use hardtack_converter::allocation::{Method, Target};
use hardtack_converter::bake::{HeldOut, Refined, Stage, Step};
use hardtack_converter::calibrate::{Sampling, TuneSettings};
use hardtack_converter::{BakeError, CalibrateOptions, CalibratedBake, Review, bake_calibrated};

use super::check::Check;
use super::memory::{Limit, tell};
use super::warnings;
use crate::args::{AllocationArgument, BakeArguments};
use crate::interrupt;
use crate::output::{note, show, warn};
use crate::progress::Bar;
use crate::provenance;
use crate::size::show_bytes;

/// Experts that are named when few tokens reached them.
const STARVED_SHOWN: usize = 8;

/// Bakes as the flags say.
pub fn bake(arguments: &BakeArguments) -> anyhow::Result<()> {
    let own = &arguments.calibration;
    let target = match (arguments.budget, own.bits_per_expert) {
        (Some(bytes), _) => Target::Bytes(bytes),
        (None, Some(bits)) => Target::ExpertBits(bits),
        (None, None) => anyhow::bail!(
            "--calib chooses bits within --budget BYTES or --bits-per-expert BITS: give one"
        ),
    };
    ensure!(own.calib_window >= 2, "a window of {} tokens predicts nothing", own.calib_window);
    for (what, tokens) in
        [("--calib-tokens", own.calib_tokens), ("--judge-tokens", own.judge_tokens)]
    {
        ensure!(
            tokens >= own.calib_window,
            "{what} {tokens}: one window takes {} tokens",
            own.calib_window
        );
    }
    let limit = Limit::of(arguments.memory);
    let check = Check::default();
    let review = |text: &mut _| check.review(text);
    let options = CalibrateOptions {
        choices: arguments.choices.choices(Review(&review)),
        target,
        method: own.allocation.map(|allocation| match allocation {
            AllocationArgument::Global => Method::Global,
            AllocationArgument::PerLayer => Method::PerLayer,
            AllocationArgument::Uniform => Method::Uniform,
        }),
        head: arguments.head_bits,
        texts: &own.texts,
        sampling: Sampling {
            window: own.calib_window,
            tokens: own.calib_tokens,
            held_out_tokens: own.judge_tokens,
        },
        refinements: own.refine.unwrap_or(0),
        tune: (own.tune > 0).then(|| TuneSettings { epochs: own.tune, ..TuneSettings::default() }),
        kv_tokens: own.kv_tokens,
        boundary_bytes_max: own.calib_memory,
        memory_max: limit.bytes(),
        stop: interrupt::flag(),
    };
    let stages = stages(&options);
    let mut bar = Bar::new("{prefix} {bar:30} {pos}/{len} {eta} left in this stage", "reading")?;
    let mut last = None;
    let result =
        bake_calibrated(&arguments.input, &arguments.output, &options, &mut |step: Step| {
            if last.is_none() {
                note(format_args!("stages: {stages}; time left is that of the current stage"));
            }
            if last.replace(step.stage) != Some(step.stage) {
                bar.begin(stage_name(step.stage).to_owned());
            }
            bar.set(step.done, step.total);
        });
    bar.finish();
    let baked = match result {
        // The exit code reports it; a message would be seen as a failure.
        Err(BakeError::Interrupted) => {
            note(format_args!(
                "interrupted: no blob was written; the same command goes on where it was"
            ));
            return Ok(());
        }
        result => result.map_err(|error| limit.explain(error))?,
    };
    tell(&baked.baked.plan);
    warnings::show(&baked.baked);
    warn_starved(&baked);
    show(&report(&arguments.output.display().to_string(), &baked))?;
    show(&format!("{}\n", check.line(&baked.baked)))?;
    Ok(())
}

/// What a bake goes through, in order.
fn stages(options: &CalibrateOptions<'_>) -> String {
    let names = |stages: &[Stage]| {
        stages.iter().map(|stage| stage_name(*stage)).collect::<Vec<_>>().join(", ")
    };
    let mut list = vec![
        names(&[Stage::Read, Stage::Judge]),
        names(&[Stage::Calibrate, Stage::Quantize, Stage::Judge]),
    ];
    if options.refinements > 0 {
        let refine = names(&[Stage::Refine, Stage::Quantize, Stage::Judge]);
        list.push(format!("at most {} times ({refine})", options.refinements));
    }
    if options.tune.is_some() {
        list.push(format!("with experts {}", names(&[Stage::Tune, Stage::Judge])));
    }
    if options.kv_tokens > 0 {
        list.push(names(&[Stage::Kv]));
    }
    list.push(names(&[Stage::Write]));
    list.join(", ")
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Read => "reading",
        Stage::Calibrate => "taking costs",
        Stage::Quantize => "quantizing",
        Stage::Refine => "measuring layers",
        Stage::Tune => "tuning routers",
        Stage::Judge => "judging",
        Stage::Kv => "learning KV bits",
        Stage::Write => "writing",
        _ => "working",
    }
}

fn warn_starved(baked: &CalibratedBake) {
    if baked.starved.is_empty() {
        return;
    }
    let shown: Vec<String> = baked
        .starved
        .iter()
        .take(STARVED_SHOWN)
        .map(|(layer, expert, tokens)| format!("layer {layer} expert {expert} ({tokens})"))
        .collect();
    let more = baked.starved.len().saturating_sub(STARVED_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    warn(format_args!(
        "warning: few tokens reached some experts: {}{more}; they were given part of their layer's mean cost and inputs: \
         more --calib-tokens or another text helps",
        shown.join(", ")
    ));
}

/// What was baked, a line each: bytes by part, and the verdict on text held out.
fn report(path: &str, baked: &CalibratedBake) -> String {
    let CalibratedBake { baked: blob, allocated, parts, untuned, refined, .. } = baked;
    let mut lines = vec![format!(
        "{path}: {} ({} bytes), family {}",
        show_bytes(blob.file_bytes),
        blob.file_bytes,
        blob.family
    )];
    let bits =
        allocated.expert_bits.map_or(String::new(), |bits| format!(", {bits:.2} bits per expert"));
    lines.push(format!(
        "allocation {}{bits}: estimated rise of loss {:.4} nats a token (no allocation below {:.4}); \
         routers {}",
        allocated.method,
        allocated.cost,
        allocated.bound,
        provenance::routers(&allocated.routers)
    ));
    lines.extend((1..).zip(refined).map(|(pass, own)| refinement(pass, *own)));
    lines.push(format!("{:<44} {:>12} {:>12}", "part", "bytes", "bits/weight"));
    for part in parts {
        let bits = part.bits.map_or("-".to_owned(), |bits| format!("{bits:.2}"));
        lines.push(format!("{:<44} {:>12} {:>12}", part.name, part.bytes, bits));
    }
    lines.push(format!(
        "{:<24} {:>10} {:>12} {:>12} {:>12}",
        "text held out", "tokens", "perplexity", "baked", "divergence"
    ));
    let line = |own: &HeldOut, name: &str| {
        format!(
            "{:<24} {:>10} {:>12.3} {:>12.3} {:>12.5}",
            name,
            own.tokens,
            own.exact.exp(),
            own.baked.exp(),
            own.divergence
        )
    };
    for (index, own) in allocated.held_out.iter().enumerate() {
        if let Some(untuned) = untuned {
            lines.push(line(&untuned[index], &format!("{} (routers untuned)", own.domain)));
        }
        lines.push(line(own, &own.domain));
    }
    lines.push(match &allocated.kv {
        None => {
            "no policy for the bits of keys and values: texts, context or --kv-tokens are too short"
                .to_owned()
        }
        Some(kv) => format!(
            "keys and values: {} bits on average; kv_routers in {} of {} layers",
            kv.averages.iter().map(|bits| format!("{bits:.2}")).collect::<Vec<_>>().join(", "),
            kv.kept.len(),
            kv.routers.len()
        ),
    });
    lines.join("\n") + "\n"
}

fn refinement(pass: usize, own: Refined) -> String {
    let after = if own.stays() { "" } else { "; left as it was" };
    format!(
        "  refinement {pass}: mean divergence on text held out {:.5} to {:.5}{after}",
        own.before, own.after
    )
}

#[cfg(test)]
mod tests {
    use hardtack_converter::Choices;

    use super::*;

    #[test]
    fn stages_are_told_in_their_order() {
        let options = |refinements, kv_tokens, tune| CalibrateOptions {
            target: Target::Bytes(1),
            method: None,
            head: None,
            texts: &[],
            sampling: Sampling { window: 2, tokens: 2, held_out_tokens: 2 },
            refinements,
            tune,
            kv_tokens,
            boundary_bytes_max: 0,
            memory_max: None,
            choices: Choices::default(),
            stop: interrupt::flag(),
        };
        assert_eq!(
            stages(&options(0, 0, None)),
            "reading, judging, taking costs, quantizing, judging, writing"
        );
        assert_eq!(
            stages(&options(2, 64, Some(TuneSettings::default()))),
            "reading, judging, taking costs, quantizing, judging, \
             at most 2 times (measuring layers, quantizing, judging), \
             with experts tuning routers, judging, learning KV bits, writing"
        );
    }
}
