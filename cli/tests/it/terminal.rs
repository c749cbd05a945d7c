//! The program on a terminal: a pseudo-terminal types what a person would, and sees what a person
//! would.
#![cfg(unix)]

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::blobs::babbling;
use crate::program::{Argument, ends_within, hardtack, signal};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// Longest time to wait for what should appear.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program on a terminal of its own.
struct Terminal {
    child: Child,
    keyboard: File,
    /// The program's side, which keeps the terminal's modes.
    line: File,
    screen: Arc<Mutex<Vec<u8>>>,
    /// Bytes of the screen that were looked at.
    seen: usize,
}

impl Terminal {
    fn start(arguments: &[Argument<'_>]) -> Self {
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let line = OpenOptions::new().read(true).write(true).open(name).unwrap();
        let size = Winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&line, size).unwrap();
        let side = || line.try_clone().unwrap();
        let mut command = hardtack(arguments);
        command
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .stdin(side())
            .stdout(side())
            .stderr(side());
        let child = command.spawn().unwrap();
        let keyboard = File::from(master);
        let screen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (mut master, shown) = (keyboard.try_clone().unwrap(), screen.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = master.read(&mut bytes) {
                shown.lock().unwrap().extend_from_slice(&bytes[..length]);
            }
        });
        Self { child, keyboard, line, screen, seen: 0 }
    }

    /// A chat that waits for its first line.
    fn chat(flags: &[&str]) -> Self {
        let blob = babbling();
        let mut arguments: Vec<Argument<'_>> = vec![&"chat", &blob];
        arguments.extend(flags.iter().map(|flag| flag as Argument<'_>));
        let mut terminal = Self::start(&arguments);
        terminal.until("> ");
        terminal
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this appears after what was waited for before.
    #[track_caller]
    fn until(&mut self, text: &str) {
        let start = Instant::now();
        loop {
            let screen = self.screen.lock().unwrap();
            let new = &screen[self.seen..];
            if let Some(at) = new.windows(text.len()).position(|window| window == text.as_bytes()) {
                self.seen += at + text.len();
                return;
            }
            let shown = String::from_utf8_lossy(new).into_owned();
            drop(screen);
            assert!(start.elapsed() < PATIENCE, "no {text:?} in {shown:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end, and returns all that was shown.
    #[track_caller]
    fn ends(mut self, code: i32) -> String {
        let ended = ends_within(&mut self.child, PATIENCE);
        let screen = || String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned();
        if !ended {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            panic!("still alive: {:?}", screen());
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(code), "{:?}", screen());
        let modes = tcgetattr(&self.line).unwrap().local_modes;
        assert!(
            modes.contains(LocalModes::ICANON | LocalModes::ECHO),
            "the terminal is as it was before: {modes:?}"
        );
        // What was written last may still be on its way.
        std::thread::sleep(Duration::from_millis(50));
        let screen = self.screen.lock().unwrap();
        String::from_utf8_lossy(&screen).into_owned()
    }
}

#[test]
fn ctrl_c_clears_a_line_and_leaves_an_empty_one() {
    let mut terminal = Terminal::chat(&["-n", "4"]);
    terminal.types("half typed");
    terminal.until("half typed");
    terminal.types("\x03");
    terminal.types("/nonsense\r");
    terminal.until("no command /nonsense;");
    terminal.until("> ");
    terminal.types("\x03");
    terminal.ends(0);
}

#[test]
fn ctrl_d_and_commands_leave() {
    for keys in ["\x04", "/exit\r", "/bye\r", "/quit\r"] {
        let mut terminal = Terminal::chat(&["-n", "4"]);
        terminal.types(keys);
        terminal.ends(0);
    }
}

#[test]
fn lines_that_come_in_one_read_are_all_read() {
    let mut terminal = Terminal::chat(&["-n", "4"]);
    terminal.types("/first\r/second\r/third\r/exit\r");
    for name in ["first", "second", "third"] {
        terminal.until(&format!("no command /{name};"));
    }
    terminal.ends(0);
}

#[test]
fn an_idle_chat_ends_and_gives_the_terminal_back() {
    for (name, code) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let mut terminal = Terminal::chat(&["-n", "4"]);
        terminal.types("half typed");
        terminal.until("half typed");
        signal(&terminal.child, name);
        terminal.ends(code);
    }
}

#[test]
fn a_message_may_have_several_lines() {
    // What the template made of the message is shown.
    let message = "user\r\none\r\ntwo<|im_end|>";
    for keys in [
        "\x1b[200~one\ntwo\x1b[201~\r",
        "one\\\rtwo\r",
        "one\x1b\rtwo\r",
        "\"\"\"\rone\rtwo\r\"\"\"\r",
    ] {
        let mut terminal = Terminal::chat(&["-n", "4", "--show-prompt"]);
        terminal.types(keys);
        terminal.until(message);
        terminal.until("end of prompt");
        terminal.types("/exit\r");
        terminal.ends(0);
    }
}

#[test]
fn a_byte_that_is_no_text_costs_its_line() {
    let mut terminal = Terminal::chat(&["-n", "4"]);
    terminal.keyboard.write_all(b"caf\xe9\r").unwrap();
    terminal.until("no UTF-8");
    terminal.until("> ");
    terminal.types("/exit\r");
    terminal.ends(0);
}

#[test]
fn a_strangers_text_cannot_act_on_the_terminal() {
    let hostile = "a\x1b]52;c;aGk=\x07b\u{9b}2J\u{202e}c";
    let shown = Terminal::start(&[&"run", &babbling(), &"-p", &hostile, &"-n", &"4"]).ends(0);
    assert!(shown.starts_with("a\u{fffd}]52;c;aGk=\u{fffd}b\u{fffd}2J\u{fffd}c"), "{shown:?}");
    let acts = |letter: char| letter.is_control() && !"\r\n\t".contains(letter);
    assert!(!shown.contains(acts), "{shown:?}");
    // An error that names a file.
    let shown = Terminal::start(&[&"run", &"no\x1b[2Jfile.tack", &"-p", &"x"]).ends(1);
    assert!(shown.contains("no\\u{1b}[2Jfile.tack") && !shown.contains(acts), "{shown:?}");
}

#[test]
fn a_terminal_is_not_asked_for_a_prompt() {
    let shown = Terminal::start(&[&"run", &babbling()]).ends(2);
    assert!(shown.contains("--prompt TEXT") && shown.contains("--file FILE"), "{shown:?}");
}
