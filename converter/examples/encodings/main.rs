//! Loss against bytes of ways to keep matrices: all matrices of a model's experts rounded so, and
//! how far its predictions move on text held out. Prints the rows of the lab pages on encodings.
//!
//! `RAYON_NUM_THREADS=1 encodings [--windows N] [--layers | --feedback] [MODEL [TEXT...]]`:
//! processors share out the encodings, not the matrix products, whose threads would wait for each
//! other.

#[path = "../../tests/it/encodings_support/mod.rs"]
mod encodings_support;
mod experts;
mod inputs;
mod schemes;
mod verdict;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hardtack_converter::bake::text_sections;
use hardtack_converter::calibrate::{Domain, Judge, Model, Sampler, Sampling, Settings};

use encodings_support::Scheme;
use experts::{Failure, Matrix, Scope, matrices, replaced};
use inputs::Inputs;
use schemes::name;
use verdict::{Figure, Verdict, apart};

/// Tokens of a window.
const WINDOW: usize = 256;
/// Windows of each text that feedback takes inputs from.
const FIT_WINDOWS: usize = 24;

struct Arguments {
    scope: Scope,
    rounding: Rounding,
    /// Windows of each text.
    windows: usize,
    model: PathBuf,
    texts: Vec<PathBuf>,
}

/// How weights take their levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rounding {
    Plain,
    /// With errors fed back; of a few encodings.
    Feedback,
}

fn main() -> Result<(), Failure> {
    let arguments = arguments()?;
    let model = Model::open(&arguments.model)?;
    let (fit, held_out) = texts(&arguments, &model)?;
    let windows = apart(&held_out);
    let scratch = std::env::temp_dir();
    let stop = AtomicBool::new(false);
    let settings = Settings::new(&scratch, &stop);
    let judge = Judge::new(&model, &windows, &settings, &mut |_| ())?;
    let matrices = matrices(&model, arguments.scope)?;
    let inputs = match arguments.rounding {
        Rounding::Plain => None,
        Rounding::Feedback => Some(Inputs::gather(&model, &fit)?),
    };
    let kept = |scheme: &Scheme, own: &Matrix| match &inputs {
        Some(inputs) => inputs.round(scheme, own),
        None => scheme.round(&own.weights, own.columns),
    };
    let of = |scheme: &Scheme, worker: usize| -> Result<Verdict, Failure> {
        let path = scratch.join(format!("encodings-{}-{worker}.store", std::process::id()));
        let (changed, error) = replaced(&model, &matrices, &path, |own| kept(scheme, own))?;
        Ok(Verdict::new(bits(scheme, &matrices), error, &judge.judge(&changed, &mut |_| ())?))
    };
    println!("{} windows of {WINDOW} tokens, {} matrices\n", windows.len(), matrices.len());
    println!(
        "| | bits a weight | squared error | divergence, nats | perplexity ratio | divergence at equal bytes |"
    );
    println!("|---|---|---|---|---|---|");
    let (shipped, others) = match arguments.rounding {
        Rounding::Plain => (schemes::shipped(), schemes::others()),
        Rounding::Feedback => schemes::fed_back(),
    };
    let mut shipped =
        share_out(&shipped, &of, &|scheme, found| println!("{}", row(scheme, found, None)))?;
    shipped.sort_by(|a, b| a.bits.total_cmp(&b.bits));
    let tell = |scheme: &Scheme, found: &Verdict| {
        println!("{}", row(scheme, found, found.share_of(&shipped)))
    };
    share_out(&others, &of, &tell)?;
    Ok(())
}

type Measure<'a> = dyn Fn(&Scheme, usize) -> Result<Verdict, Failure> + Sync + 'a;

/// Measures all of them, as many at once as there are processors, and reports each as soon as it
/// is done.
fn share_out(
    schemes: &[Scheme],
    of: &Measure<'_>,
    tell: &(dyn Fn(&Scheme, &Verdict) + Sync),
) -> Result<Vec<Verdict>, Failure> {
    let workers = std::thread::available_parallelism()?.get();
    let next = AtomicUsize::new(0);
    let work = |worker: usize| -> Result<Vec<Verdict>, String> {
        let mut done = Vec::new();
        while let Some(scheme) = schemes.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = of(scheme, worker).map_err(|error| error.to_string())?;
            tell(scheme, &found);
            done.push(found);
        }
        Ok(done)
    };
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().expect("a worker ends")?);
        }
        Ok(all)
    })
}

fn arguments() -> Result<Arguments, Failure> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut scope, mut rounding, mut windows, mut paths) =
        (Scope::Experts, Rounding::Plain, 6, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--feedback" => rounding = Rounding::Feedback,
            "--layers" => scope = Scope::Layers,
            "--windows" => windows = words.next().ok_or("--windows wants a number")?.parse()?,
            _ => paths.push(PathBuf::from(word)),
        }
    }
    let model = if paths.is_empty() { repository.join("models/crumb") } else { paths.remove(0) };
    if paths.is_empty() {
        let texts = repository.join("models/crumb/texts");
        paths = ["wikipedia-en.txt", "novels-en.txt"].map(|name| texts.join(name)).to_vec();
    }
    Ok(Arguments { scope, rounding, windows, model, texts: paths })
}

/// Windows to fit on, only where something is fitted, and windows from the last fifth of each text.
fn texts(arguments: &Arguments, model: &Model) -> Result<(Vec<Domain>, Vec<Domain>), Failure> {
    let sampler = Sampler::new(&text_sections(model.checkpoint(), model.spec().vocabulary)?)?;
    let tokens = if arguments.rounding == Rounding::Feedback { FIT_WINDOWS * WINDOW } else { 0 };
    let sampling = Sampling { window: WINDOW, tokens, held_out_tokens: arguments.windows * WINDOW };
    let (mut fit, mut held_out) = (Vec::new(), Vec::new());
    for path in &arguments.texts {
        let name = path.file_stem().ok_or("a text is a file")?.to_string_lossy();
        let sample = sampler.sample(&name, path, sampling)?;
        fit.push(sample.fit);
        held_out.push(sample.held_out);
    }
    Ok((fit, held_out))
}

/// Bits a weight over all matrices.
fn bits(scheme: &Scheme, matrices: &[Matrix]) -> f64 {
    let weights: usize = matrices.iter().map(|own| own.weights.len()).sum();
    let of =
        |own: &Matrix| scheme.bits_per_weight(own.rows, own.columns) * own.weights.len() as f64;
    matrices.iter().map(of).sum::<f64>() / weights as f64
}

fn row(scheme: &Scheme, found: &Verdict, share: Option<Figure>) -> String {
    let (divergence, perplexity) = (found.divergence(), found.perplexity());
    let share = share.map_or(String::new(), |own| format!("{:.3} ± {:.3}", own.value, own.error));
    format!(
        "| {} | {:.3} | {:.5} | {:.5} ± {:.5} | {:.4} ± {:.4} | {share} |",
        name(scheme),
        found.bits,
        found.error,
        divergence.value,
        divergence.error,
        perplexity.value,
        perplexity.error,
    )
}
