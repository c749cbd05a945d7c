//! `hardtack bake`: a checkpoint into a blob, with progress.

#[cfg(feature = "calibrate")]
mod calibrated;
mod check;
mod memory;
mod warnings;

use check::Check;
use hardtack_converter::{BakeError, BakeOptions, Precision, Review};

use crate::args::BakeArguments;
use crate::interrupt;
use crate::output::{note, show};
use crate::progress::Bar;
use crate::size::show_bytes;

/// Bakes as the flags say.
pub fn bake(arguments: &BakeArguments) -> anyhow::Result<()> {
    interrupt::catch()?;
    #[cfg(feature = "calibrate")]
    if !arguments.calibration.texts.is_empty() {
        return calibrated::bake(arguments);
    }
    let limit = memory::Limit::of(arguments.memory);
    let check = Check::default();
    let review = |text: &mut _| check.review(text);
    let options = BakeOptions {
        choices: arguments.choices.choices(Review(&review)),
        precision: arguments.budget.map_or(Precision::Uniform(arguments.bits), Precision::Budget),
        head: arguments.head_bits,
        calibration: &[],
        memory_max: limit.bytes(),
        stop: interrupt::flag(),
    };
    let style = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left in this stage {msg}";
    let mut bar = Bar::new(style, "baking")?;
    let mut total_bytes = None;
    let result =
        hardtack_converter::bake(&arguments.input, &arguments.output, &options, &mut |progress| {
            // The sources are read once for their hashes, then the blob is written.
            if total_bytes.replace(progress.total_bytes) != Some(progress.total_bytes) {
                bar.begin("baking".to_owned());
            }
            bar.message(progress.part.to_owned());
            bar.set(progress.done_bytes, progress.total_bytes);
        });
    bar.finish();
    let baked = match result {
        // The exit code reports it; a message would be seen as a failure.
        Err(BakeError::Interrupted) => {
            note(format_args!("interrupted: nothing was written"));
            return Ok(());
        }
        result => result.map_err(|error| limit.explain(error))?,
    };
    memory::tell(&baked.plan);
    warnings::show(&baked);
    show(&format!(
        "{}: {} ({} bytes), family {}, layers {}, embeddings and head {}\n",
        arguments.output.display(),
        show_bytes(baked.file_bytes),
        baked.file_bytes,
        baked.family,
        baked.layers,
        baked.head.name()
    ))?;
    show(&format!("{}\n", check.line(&baked)))?;
    Ok(())
}
