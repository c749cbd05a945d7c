//! Conversations in files: written after every answer, locked, private, and read anew where the
//! model's memory does not fit.

use std::fs;
use std::path::Path;

use crate::scripted::{CHATML_TOKENS, Script};
use hardtack::chat::Turn;
use hardtack::{
    Chat, ChatOptions, Engine, Error, KvPrecision, Ladder, RingBits, RingOptions, SamplerOptions,
    SessionOptions, WriteOptions,
};
use hardtack_format::vocabulary::TokenKind;

const WORDS: [&str; 3] = ["one ", "two ", "three "];

fn engine(folder: &Path) -> Engine {
    let words = WORDS.map(|word| (word, TokenKind::Normal));
    let tokens = [&CHATML_TOKENS[..], &words].concat();
    Script::chatml(&tokens, &["one ", "two ", "three ", "<|im_end|>"]).open(folder)
}

fn say(chat: &mut Chat, text: &str) -> String {
    chat.ask(text).unwrap().text().unwrap()
}

fn with(session: SessionOptions) -> ChatOptions {
    ChatOptions::new().write(WriteOptions::new().session(session))
}

fn ring() -> KvPrecision {
    KvPrecision::Ring(
        RingOptions::new().bits(RingBits::Ladder(Ladder::new(&[[8, 8], [4, 2]]).unwrap())),
    )
}

#[test]
fn a_conversation_is_there_after_every_answer() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    let file = folder.path().join("talk");
    for kv in [KvPrecision::F16, ring()] {
        let options = with(SessionOptions::new().kv(kv)).file(&file);
        let mut chat = engine.chat(options.clone().system("Be brief.")).unwrap();
        assert!(chat.resumed().is_none());
        say(&mut chat, "first");
        let (turns, position) = (chat.turns().to_vec(), chat.session().position());
        // As after a kill: nothing is closed in order.
        std::mem::forget(chat);
        let other = folder.path().join("copy");
        fs::copy(&file, &other).unwrap();
        let mut chat = engine.chat(options.clone().file(&other)).unwrap();
        let resumed = chat.resumed().unwrap().clone();
        assert_eq!(
            (resumed.turns, resumed.tokens, resumed.reread, resumed.other_system),
            (3, position, None, false)
        );
        assert_eq!(chat.turns(), turns);
        say(&mut chat, "second");
        assert_eq!(chat.report().unwrap().reused, position);
        chat.close().unwrap();
        fs::remove_file(&file).unwrap();
        fs::remove_file(&other).unwrap();
    }
}

#[test]
fn a_session_of_another_model_or_cache_is_read_anew_from_its_turns() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    let file = folder.path().join("talk");
    let long = SessionOptions::new().context(512);
    let mut chat = engine.chat(with(long).file(&file).system("Be brief.")).unwrap();
    let saved: Vec<Turn> = {
        (0..4).for_each(|number| drop(say(&mut chat, &format!("message {number}"))));
        chat.turns().to_vec()
    };
    chat.close().unwrap();
    let good = fs::read(&file).unwrap();

    let words = WORDS.map(|word| (word, TokenKind::Normal));
    let other = [&CHATML_TOKENS[..], &[("more", TokenKind::Normal)], &words].concat();
    let other_folder = tempfile::tempdir().unwrap();
    let other =
        Script::chatml(&other, &["one ", "two ", "three ", "<|im_end|>"]).open(other_folder.path());
    let short = SessionOptions::new().context(100);
    let f32 = long.kv(KvPrecision::F32);
    let in_ring = SessionOptions::new().kv(ring());
    for (model, session, why) in [
        (&other, long, "model"),
        (&engine, f32, "kind of cache"),
        (&engine, in_ring, "kind of cache"),
        (&engine, short, "tokens"),
    ] {
        fs::write(&file, &good).unwrap();
        let mut chat = model.chat(with(session).file(&file).system("Other.")).unwrap();
        let resumed = chat.resumed().unwrap().clone();
        assert_eq!((resumed.turns, resumed.tokens), (saved.len(), 0));
        assert!(
            resumed.reread.as_ref().unwrap().starts_with(why) && resumed.other_system,
            "{resumed:?}"
        );
        assert_eq!(chat.turns(), saved);
        assert_eq!(say(&mut chat, "and now?"), "one two three ");
        // A context that is too short has forgotten the oldest exchanges, as in any conversation.
        assert_eq!(chat.report().unwrap().forgotten > 0, session.context == Some(100));
        assert_eq!(chat.turns()[0], Turn::system("Be brief."));
    }
}

#[test]
fn what_cannot_be_kept_is_found_out_first() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    let refused = |path: &Path| engine.chat(ChatOptions::new().file(path)).expect_err("refused");
    assert!(matches!(refused(&folder.path().join("no/such/folder")), Error::File { .. }));
    assert!(matches!(refused(folder.path()), Error::File { .. }));

    // An empty place for a conversation goes away if nothing is said.
    let file = folder.path().join("talk");
    drop(engine.chat(ChatOptions::new().file(&file)).unwrap());
    assert!(!file.exists());
    engine.chat(ChatOptions::new().file(&file)).unwrap().close().unwrap();
    assert!(!file.exists());

    // A program that was killed while it wrote has left this.
    let dead = folder.path().join(".talk.0123456789abcdef.partial");
    fs::write(&dead, "half a conversation").unwrap();
    let mut chat = engine.chat(ChatOptions::new().file(&file)).unwrap();
    assert!(!dead.exists());
    assert!(matches!(refused(&file), Error::SavedInUse { .. }));
    say(&mut chat, "x");
    // The lock is on the file that is there now.
    assert!(matches!(refused(&file), Error::SavedInUse { .. }));
    chat.close().unwrap();
    let good = fs::read(&file).unwrap();
    for bad in [b"no session".to_vec(), good[..good.len() - 1].to_vec(), [&good[..], b"x"].concat()]
    {
        fs::write(&file, &bad).unwrap();
        assert!(matches!(refused(&file), Error::Saved { .. }));
        assert_eq!(fs::read(&file).unwrap(), bad, "what cannot be read is not written over");
    }
    for at in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&file, &bad).unwrap();
        assert!(matches!(refused(&file), Error::Saved { .. }), "byte {at}");
    }
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing is left behind: {names:?}");
}

#[cfg(unix)]
#[test]
fn a_conversation_is_private_and_a_link_stays_one() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    let (file, link) = (folder.path().join("talk"), folder.path().join("link"));
    symlink("talk", &link).unwrap();
    let talk = |path: &Path| {
        let mut chat = engine.chat(ChatOptions::new().file(path)).unwrap();
        say(&mut chat, "x");
        chat.save(folder.path().join("other")).unwrap();
        chat.close().unwrap();
    };
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    talk(&link);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!((mode(&file), mode(&folder.path().join("other"))), (0o600, 0o600));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    talk(&file);
    assert_eq!(mode(&file), 0o640);
    assert!(
        matches!(engine.chat(ChatOptions::new().file(&link)), Ok(chat) if chat.turns().len() == 4)
    );
    symlink("circle", folder.path().join("circle")).unwrap();
    assert!(engine.chat(ChatOptions::new().file(folder.path().join("circle"))).is_err());
}

#[test]
fn the_sampler_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    let file = folder.path().join("talk");
    // So hot that any token may follow.
    let sampling = SamplerOptions::new().temperature(100.0).top_k(None).top_p(1.0).min_p(0.0);
    let write = |seed| WriteOptions::new().tokens_max(Some(20)).sampling(sampling.seed(seed));
    let mut whole = engine.chat(ChatOptions::new().write(write(7))).unwrap();
    let expected = ["a", "b", "c"].map(|text| say(&mut whole, text));
    assert_ne!(expected[0], expected[1]);

    let mut answers = Vec::new();
    for (text, seed, keep) in [("a", 7, false), ("b", 7, false), ("c", 1, true)] {
        let options = ChatOptions::new().write(write(seed)).file(&file).keep_seed(keep);
        let mut chat = engine.chat(options).unwrap();
        answers.push(say(&mut chat, text));
        assert_eq!(chat.seed(), 7);
        chat.close().unwrap();
    }
    assert_eq!(answers, expected);
    let other = engine.chat(ChatOptions::new().write(write(1)).file(&file)).unwrap();
    assert_eq!(other.seed(), 1);
}

/// Over a ring a conversation of more than any limit goes on, and each turn costs what is new in
/// it.
#[test]
fn over_a_ring_a_conversation_goes_on_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    let file = folder.path().join("talk");
    let session = SessionOptions::new().context(256).kv(ring());
    let mut chat = engine.chat(with(session).file(&file)).unwrap();
    let message = "x".repeat(500);
    let mut said = 0;
    for turn in 0..130 {
        assert_eq!(say(&mut chat, &message), "one two three ");
        said += message.len();
        let report = *chat.report().unwrap();
        assert!(report.prompt - report.reused < 600, "turn {turn}: {report:?}");
        let kept: usize = chat.turns().iter().map(|turn| turn.content.len()).sum();
        assert!(kept < 40 << 10, "turn {turn}: {kept} bytes of text");
        assert!(chat.session().tokens().len() < 4096);
    }
    assert!(said > 64_000 && chat.session().position() > said);
    let position = chat.session().position();
    chat.close().unwrap();
    // From its file too.
    let mut chat = engine.chat(with(session).file(&file)).unwrap();
    assert_eq!(chat.resumed().unwrap().tokens, position);
    say(&mut chat, &message);
    assert!(chat.report().unwrap().reused >= position);
    assert!(fs::metadata(&file).unwrap().len() < 1 << 20);
}
