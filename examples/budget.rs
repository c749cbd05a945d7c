//! A budget asked before anything is opened: what the system has, what the model takes of it, and
//! the longest context that fits.

use hardtack::{Engine, Error, Options, SessionOptions, memory};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(blob) = arguments.next() else {
        anyhow::bail!("usage: budget BLOB [BYTES]");
    };
    let budget = match arguments.next() {
        Some(bytes) => bytes.parse()?,
        // Half of what the system would give: the app around the model wants to live, too.
        None => memory::available().map_or(1 << 30, |room| room.bytes / 2),
    };
    println!("budget {budget} bytes");

    // A model that cannot fit is refused here, before its weights are read.
    let options = Options::new().memory_max(budget);
    let engine = match Engine::open_with(&blob, &options) {
        Err(error @ Error::Memory { .. }) => {
            println!("{error}");
            return Ok(());
        }
        opened => opened?,
    };
    let trained = engine.network().spec.context_max as usize;
    let contexts = std::iter::successors(Some(trained), |context| Some(context / 2));
    for context in contexts.take_while(|&context| context > 0) {
        match engine.plan(&SessionOptions::new().context(context)) {
            Ok(plan) => {
                println!("context {context} takes {} bytes: {plan}", plan.total_bytes());
                break;
            }
            Err(error) => println!("context {context}: {error}"),
        }
    }
    Ok(())
}
