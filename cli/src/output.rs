//! What the program says: results on standard output, which may be closed at any time; notes and
//! errors beside it.
//!
//! Tokens, templates, file names and errors are strangers' texts. A terminal gets no control
//! characters of theirs; a pipe or a file gets every byte.

use std::borrow::Cow;
use std::fmt::Arguments;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, ensure};
use serde::Serialize;

use crate::args::ColorArgument;

static QUIET: AtomicBool = AtomicBool::new(false);
static OUT_IS_TERMINAL: LazyLock<bool> = LazyLock::new(|| io::stdout().is_terminal());
static ERR_IS_TERMINAL: LazyLock<bool> = LazyLock::new(|| io::stderr().is_terminal());

static STYLES: AtomicBool = AtomicBool::new(false);

/// Whether asides are shown dim: as the flag says, and with `auto` on a terminal unless NO_COLOR is
/// set (no-color.org).
pub fn set_color(color: ColorArgument) {
    let wanted = || std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let styles = match color {
        ColorArgument::Always => true,
        ColorArgument::Never => false,
        ColorArgument::Auto => *ERR_IS_TERMINAL && wanted(),
    };
    STYLES.store(styles, Ordering::Relaxed);
}

/// From now on there are results, warnings and errors, but no notes and no progress.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether notes and progress are not wanted.
pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Writes text at once, so that a stream of tokens is seen as it comes.
pub fn show(text: &str) -> io::Result<()> {
    if *OUT_IS_TERMINAL { show_raw(&harmless(text)) } else { show_raw(text) }
}

/// Writes text as it is, the program's own control sequences for instance.
pub fn show_raw(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a line to standard error unless the program is to be quiet.
pub fn note(line: Arguments<'_>) {
    if !is_quiet() {
        warn(line);
    }
}

/// Writes a line to standard error. Nobody may be reading there, and no work ends because of that.
pub fn warn(line: Arguments<'_>) {
    let line = line.to_string();
    let line = if *ERR_IS_TERMINAL { harmless(&line) } else { line.into() };
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes a part of a line to standard error, unless the program is to be quiet.
pub fn aside(text: &str) {
    if !is_quiet() {
        let text = if *ERR_IS_TERMINAL { harmless(text) } else { text.into() };
        let [dim, plain] =
            if STYLES.load(Ordering::Relaxed) { ["\x1b[2m", "\x1b[0m"] } else { [""; 2] };
        let _ = write!(io::stderr(), "{dim}{text}{plain}");
    }
}

/// Whether a character can do more to a terminal than be shown: the control characters, DEL and C1
/// among them, and those that turn the direction of a line's rest around. Line breaks and tabs are
/// ordinary.
fn is_hostile(letter: char) -> bool {
    (letter.is_control() && letter != '\n' && letter != '\t') || turns_direction(letter)
}

/// Unicode's embeddings, overrides and isolates of the writing direction (UAX 9, 2.1 to 2.3).
fn turns_direction(letter: char) -> bool {
    matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text that a terminal only shows. A carriage return, which would begin the line anew, is left
/// out: most belong to a line break. The rest becomes U+FFFD.
pub fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hostile) {
        return text.into();
    }
    let shown = text.chars().filter(|&letter| letter != '\r');
    shown.map(|letter| if is_hostile(letter) { '\u{fffd}' } else { letter }).collect()
}

/// A stranger's word, such as a file's name, within a line of ours: line breaks are escaped too.
pub fn escaped(word: &str) -> Cow<'_, str> {
    let strange = |letter: char| letter.is_control() || turns_direction(letter);
    if !word.contains(strange) {
        return word.into();
    }
    let escape = |letter: char| {
        if strange(letter) { letter.escape_default().to_string() } else { letter.into() }
    };
    word.chars().map(escape).collect()
}

/// A path within a line of ours.
pub fn path(path: &Path) -> String {
    escaped(&path.to_string_lossy()).into_owned()
}

/// Writes a report as JSON. What could act on a terminal is spelled as an escape: JSON itself asks
/// for that below U+0020 only.
pub fn show_json(report: &impl Serialize) -> io::Result<()> {
    write_json(report, &mut io::BufWriter::new(io::stdout().lock()))
}

fn write_json(report: &impl Serialize, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut Escaping(out), report).map_err(io::Error::from)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Passes JSON on, with escapes for what could act on a terminal. It is given whole characters, as
/// the serializer writes them.
struct Escaping<'a, W>(&'a mut W);

impl<W: Write> Write for Escaping<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        let mut rest = text;
        while let Some(at) = rest.find(is_hostile) {
            let (before, after) = rest.split_at(at);
            let letter = after.chars().next().expect("a character was found there");
            // All of these are below U+10000: one escape each.
            write!(self.0, "{before}\\u{:04x}", letter as u32)?;
            rest = &after[letter.len_utf8()..];
        }
        self.0.write_all(rest.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes a file whole or not at all: under a name of its own that nobody can guess, then in the
/// place of `path`.
///
/// # Errors
/// There is something else than a file, or it cannot be written; no part of it is left.
pub fn write_file(
    path: &Path,
    write: impl FnOnce(&mut File) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let shown = path.display();
    // A device or a folder is not to be replaced by a file.
    let replaceable = fs::metadata(path).map_or(true, |metadata| metadata.is_file());
    ensure!(replaceable, "{shown}: expected a file or nothing, found something else");
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let start = format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy());
    remove_leftovers(folder, &start);
    let mut name = tempfile::Builder::new();
    name.prefix(&start).suffix(PARTIAL);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any new file's: what the process's mask leaves of it.
        name.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = name.tempfile_in(folder).with_context(|| format!("{shown}"))?;
    // As long as it is locked its program lives.
    let _ = file.as_file().try_lock();
    write(file.as_file_mut()).with_context(|| format!("{shown}"))?;
    file.as_file().sync_all().with_context(|| format!("{shown}"))?;
    file.persist(path).map_err(|error| error.error).with_context(|| format!("{shown}"))?;
    Ok(())
}

/// How names end under which files are written.
const PARTIAL: &str = ".partial";

/// Removes the beginnings of files that programs left which were killed.
fn remove_leftovers(folder: &Path, start: &str) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // `tempfile` puts six letters in between. A link is nobody's beginning.
        let ours =
            name.strip_prefix(start).and_then(|rest| rest.strip_suffix(PARTIAL)).is_some_and(
                |rest| rest.len() == 6 && rest.bytes().all(|letter| letter.is_ascii_alphanumeric()),
            );
        let file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if ours && file && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether an error is that nobody reads any more.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// An error with its causes in one line. Many an error ends with its cause already, which is then
/// not said twice; and a name from outside may not break the line or colour a terminal.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    escaped(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_cause_is_said_once_and_in_one_line() {
        let cause = || io::Error::other("no\nroom");
        let error = Err::<(), _>(cause()).context("a.tack").unwrap_err();
        assert_eq!(one_line(&error), "a.tack: no\\nroom");
        let error = Err::<(), _>(cause()).context("a.tack: no\nroom").unwrap_err();
        assert_eq!(one_line(&error), "a.tack: no\\nroom");
    }

    #[test]
    fn a_terminal_is_only_shown_text() {
        let plain = "two\nlines,\ta tab, caf\u{e9}, \u{5e9}\u{5dc}\u{5d5}\u{5dd}, \u{1f469}\u{200d}\u{1f680}";
        assert!(matches!(harmless(plain), Cow::Borrowed(text) if text == plain));
        // OSC 52 writes the clipboard, U+009B is a CSI of one character, U+202E turns what follows
        // around.
        assert_eq!(harmless("a\x1b]52;c;aGk=\x07b"), "a\u{fffd}]52;c;aGk=\u{fffd}b");
        assert_eq!(harmless("\u{9b}2J\u{7f}\u{0}"), "\u{fffd}2J\u{fffd}\u{fffd}");
        assert_eq!(harmless("pay \u{202e}txt.exe\u{2066}"), "pay \u{fffd}txt.exe\u{fffd}");
        assert_eq!(harmless("one\r\ntwo\rthree"), "one\ntwothree");
        assert_eq!(escaped("a\nb\u{9b}\u{202e}c"), "a\\nb\\u{9b}\\u{202e}c");
    }

    #[test]
    fn json_holds_no_control_character_and_the_same_text() {
        let text = "\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\"quoted\" \\ \n caf\u{e9}";
        let mut json = Vec::new();
        write_json(&serde_json::json!({ text: text }), &mut json).unwrap();
        let json = String::from_utf8(json).unwrap();
        assert!(!json.contains(|letter: char| is_hostile(letter)), "{json:?}");
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read[text], text);
    }

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("report");
        write_file(&path, |file| Ok(file.write_all(b"whole")?)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        let error = write_file(&path, |_| anyhow::bail!("no room")).unwrap_err();
        assert!(one_line(&error).ends_with("report: no room"), "{error:#}");
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert!(
            one_line(&write_file(scratch.path(), |_| Ok(())).unwrap_err())
                .contains("expected a file or nothing")
        );
        // What a killed program left goes away; what one that lives is writing stays, and so does
        // what is not ours.
        let beside = |name: &str| scratch.path().join(name);
        let living = File::create(beside(".report.abcdef.partial")).unwrap();
        living.lock().unwrap();
        fs::write(beside(".report.ABC123.partial"), "half").unwrap();
        fs::write(beside(".report.notes.partial"), "mine").unwrap();
        write_file(&path, |file| Ok(file.write_all(b"new")?)).unwrap();
        let mut names: Vec<String> = fs::read_dir(scratch.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, [".report.abcdef.partial", ".report.notes.partial", "report"]);
    }
}
