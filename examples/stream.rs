//! An answer on a thread of its own, streamed through a channel, and cancelled from here.

use std::io::Write;
use std::sync::mpsc;
use std::thread;

use hardtack::{Cancel, ChatOptions, Engine, Error, WriteOptions};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(blob), Some(question)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: stream BLOB QUESTION [LETTERS]");
    };
    let most = arguments.next().map_or(Ok(usize::MAX), |letters| letters.parse())?;

    let cancel = Cancel::new();
    let options = ChatOptions::new().write(WriteOptions::new().cancel(cancel.clone()));
    // The channel has room for two pieces: the model waits for a slow reader.
    let (pieces, received) = mpsc::sync_channel(2);
    let worker = thread::spawn(move || -> Result<_, Error> {
        let mut chat = Engine::open(blob)?.chat(options)?;
        for piece in chat.ask(question)? {
            if pieces.send(piece?).is_err() {
                break;
            }
        }
        Ok(*chat.report().expect("there was an answer"))
    });

    let mut letters = 0;
    for piece in received {
        print!("{piece}");
        std::io::stdout().flush()?;
        letters += piece.text().chars().count();
        if letters >= most {
            cancel.cancel();
        }
    }
    let report = worker.join().expect("it does not panic")?;
    println!("\n[{:?} after {} tokens]", report.ended, report.new);
    Ok(())
}
