//! Rules that the tree does not keep everywhere yet: each room may break them as often as
//! `ratchet.txt` says, and that number only shrinks.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;

use crate::tree::root;

const FILE: &str = "cli/tests/tidy/ratchet.txt";
/// Set to anything, it makes the tests write today's numbers instead of comparing them.
const WRITE: &str = "HARDTACK_TIDY_WRITE";

/// Rules share the file and run at once.
static WRITING: Mutex<()> = Mutex::new(());

/// The broken places of a rule: (room, what is said of the place).
pub type Broken = Vec<(String, String)>;

/// The room of a path: its first folder, or the root.
pub fn room(path: &str) -> String {
    path.split_once('/').map_or("root", |(folder, _)| folder).to_owned()
}

/// Holds a rule to its numbers.
pub fn hold(rule: &str, broken: &Broken) {
    if std::env::var_os(WRITE).is_some() {
        let _guard = WRITING.lock().unwrap();
        return write(rule, broken);
    }
    let allowed = read(&fs::read_to_string(root().join(FILE)).unwrap());
    let over = exceeded(rule, broken, &allowed);
    assert!(over.is_empty(), "\n{}", over.join("\n"));
}

/// One line for each place of the rooms that break a rule more often than they may.
fn exceeded(
    rule: &str,
    broken: &Broken,
    allowed: &BTreeMap<(String, String), usize>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (room, count) in counts(broken) {
        let most = allowed.get(&(rule.to_owned(), room.clone())).copied().unwrap_or(0);
        if count > most {
            lines.extend(
                broken.iter().filter(|(own, _)| *own == room).map(|(_, line)| line.clone()),
            );
            lines.push(format!(
                "{room}: {count} places break the rule `{rule}`, the most is {most}"
            ));
        }
    }
    lines
}

fn counts(broken: &Broken) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (room, _) in broken {
        *counts.entry(room.clone()).or_insert(0) += 1;
    }
    counts
}

/// Lines of `rule room count`; `#` begins a comment.
fn read(text: &str) -> BTreeMap<(String, String), usize> {
    let mut allowed = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [rule, room, count] = words[..] else { panic!("{FILE}: {line:?} is no rule") };
        let count = count.parse().unwrap_or_else(|_| panic!("{FILE}: no number in {line:?}"));
        allowed.insert((rule.to_owned(), room.to_owned()), count);
    }
    allowed
}

fn write(rule: &str, broken: &Broken) {
    let text = fs::read_to_string(root().join(FILE)).unwrap();
    let mut allowed = read(&text);
    allowed.retain(|(own, _), _| own != rule);
    for (room, count) in counts(broken) {
        allowed.insert((rule.to_owned(), room), count);
    }
    let mut lines: Vec<String> =
        text.lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect();
    lines.extend(allowed.iter().map(|((rule, room), count)| format!("{rule} {room} {count}")));
    fs::write(root().join(FILE), lines.join("\n") + "\n").unwrap();
}

#[test]
fn a_room_may_break_a_rule_as_often_as_the_file_says() {
    let allowed = read("# comment\nwidth runtime 2\n");
    let place = |room: &str| (room.to_owned(), format!("{room}/a.rs:1"));
    let two = vec![place("runtime"), place("runtime")];
    let three = vec![place("runtime"), place("runtime"), place("runtime")];
    assert!(exceeded("width", &two, &allowed).is_empty());
    assert_eq!(exceeded("width", &three, &allowed).len(), 4);
    assert_eq!(exceeded("words", &two, &allowed).len(), 3);
    assert_eq!(exceeded("width", &vec![place("cli")], &allowed).len(), 2);
}
