//! Reads an answer token by token: what is thinking, what is the answer, and where a stop string
//! ends it.

use hardtack_format::vocabulary::Vocabulary;

use super::form::{Form, HARMONY, Tag, TagKind};
use crate::text::markers::Markers;
use crate::text::{Opening, Stops, TextStream};

/// What may be the end of nested thinking or the answer waits for so many bytes until it is taken
/// for the answer.
const UNDECIDED_BYTES_MAX: usize = 8 << 10;
/// A header of harmony that is longer is no header.
const HEADER_BYTES_MAX: usize = 256;

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text of the answer.
    Text(String),
    /// The name of a token in the answer that steers the model, as `<tool_call>` does.
    Marker(String),
    /// What the model thinks on the way.
    Thinking(String),
}

/// The state of an answer. Its memory is bounded: what it holds back is at most a few KiB.
pub struct Reader<'v> {
    stream: TextStream<'v, Box<[u8]>>,
    vocabulary: &'v Vocabulary<Box<[u8]>>,
    form: &'v Form,
    markers: &'v Markers,
    /// Text that is not sorted yet: its end may be the beginning of a tag.
    unsorted: String,
    place: Place,
    /// Whether anything but space was said where we are.
    said: bool,
    /// Whether more than the answer was said: thinking, or tags.
    has_tags: bool,
    stops: Stops,
    /// Text of the answer that may be the beginning of a stop string.
    held: String,
    stopped: bool,
}

/// Where in the answer we are.
enum Place {
    /// In the answer itself.
    Answer,
    /// In thoughts within thoughts, so many deep.
    Thinking(usize),
    /// After an inner end of thinking, still so deep: what comes is thinking if another end
    /// follows, or else the answer.
    Undecided(usize, String),
    /// In a header of harmony.
    Header(String),
    /// Behind a message of harmony.
    Between,
}

impl<'v> Reader<'v> {
    /// Reads the answer to a prompt; `prompt` is the rendered text.
    pub fn new(
        vocabulary: &'v Vocabulary<Box<[u8]>>,
        (form, markers): (&'v Form, &'v Markers),
        prompt: &str,
        stops: Stops,
    ) -> Self {
        let place = match form {
            Form::Text => Place::Answer,
            Form::Tagged(_) if form.is_opened_by(prompt) => Place::Thinking(1),
            Form::Tagged(_) => Place::Answer,
            // The prompt ends with `<|start|>assistant`.
            Form::Harmony(_) => Place::Header(String::new()),
        };
        let stream = TextStream::new(vocabulary, Opening::Text, Stops::default());
        let (unsorted, held) = (String::new(), String::new());
        let has_tags = matches!(place, Place::Thinking(_));
        Self {
            stream,
            vocabulary,
            form,
            markers,
            unsorted,
            place,
            said: false,
            has_tags,
            stops,
            held,
            stopped: false,
        }
    }

    /// Takes a token; returns whether a stop string ended the answer.
    pub fn push(&mut self, id: u32, pieces: &mut Vec<Piece>) -> bool {
        if let Some(tag) = self.form.tags().iter().find(|tag| tag.id == Some(id)) {
            self.sort(true, pieces);
            if self.is_late(tag) {
                self.release(pieces);
                pieces.push(Piece::Marker(tag.name.clone()));
            } else {
                self.take_tag(tag.kind, pieces);
            }
            return self.stopped;
        }
        let text = self.stream.push(id).text.to_owned();
        if !text.is_empty()
            && self.markers.steer(self.vocabulary, id)
            && matches!(self.place, Place::Answer)
        {
            self.sort(true, pieces);
            self.release(pieces);
            pieces.push(Piece::Marker(text));
            self.said = true;
            return self.stopped;
        }
        self.unsorted.push_str(&text);
        self.sort(false, pieces);
        self.stopped
    }

    /// Gives out what was held back, after the last token.
    pub fn finish(&mut self, pieces: &mut Vec<Piece>) {
        if self.stopped {
            return;
        }
        let text = self.stream.finish().text.to_owned();
        self.unsorted.push_str(&text);
        self.sort(true, pieces);
        // What could not be decided is the answer: nothing that a person waits for may be lost.
        match std::mem::replace(&mut self.place, Place::Answer) {
            Place::Undecided(_, text) => self.say_rest(&text, pieces),
            // A model of harmony that does not keep to its form.
            Place::Header(text) if !self.has_tags => self.say_rest(&text, pieces),
            _ => {}
        }
        self.release(pieces);
    }

    fn say_rest(&mut self, text: &str, pieces: &mut Vec<Piece>) {
        self.said = false;
        self.say(text, pieces);
    }

    /// Whether the tokens say just what the pieces of text do.
    pub fn is_plain(&self) -> bool {
        !self.has_tags && !self.stopped
    }

    /// Sorts text into thinking and answer, up to what may be the beginning of a tag, or all of it.
    fn sort(&mut self, all: bool, pieces: &mut Vec<Piece>) {
        loop {
            // Names of harmony's marks in an answer are no marks.
            let tags = match self.form {
                Form::Tagged(tags) => tags.as_slice(),
                Form::Text | Form::Harmony(_) => &[],
            };
            let first = tags.iter().filter_map(|tag| Some((self.unsorted.find(&tag.name)?, tag)));
            let Some((at, tag)) = first.min_by_key(|(at, _)| *at) else {
                let kept = if all {
                    0
                } else {
                    tags.iter().map(|tag| partial(&self.unsorted, tag)).max().unwrap_or(0)
                };
                let text: String = self.unsorted.drain(..self.unsorted.len() - kept).collect();
                self.say(&text, pieces);
                return;
            };
            let text = self.unsorted[..at].to_owned();
            self.unsorted.drain(..at + tag.name.len());
            self.say(&text, pieces);
            if self.is_late(tag) {
                self.say(&tag.name, pieces);
            } else {
                self.take_tag(tag.kind, pieces);
            }
        }
    }

    /// An opening tag in the middle of an answer is what the answer is about.
    fn is_late(&self, tag: &Tag) -> bool {
        tag.kind == TagKind::Open && self.said && matches!(self.place, Place::Answer)
    }

    fn take_tag(&mut self, kind: TagKind, pieces: &mut Vec<Piece>) {
        self.has_tags = true;
        match kind {
            TagKind::Open => self.open(pieces),
            TagKind::Close => self.close(pieces),
            // The marks around the answer are not shown; within thinking they are thoughts.
            TagKind::Answer => {}
            TagKind::Harmony(mark) => self.harmony(mark, pieces),
        }
    }

    fn open(&mut self, pieces: &mut Vec<Piece>) {
        self.place = match std::mem::replace(&mut self.place, Place::Answer) {
            // Where the template has begun the thinking, many a model says so once more.
            Place::Thinking(depth) if !self.said => Place::Thinking(depth),
            Place::Thinking(depth) => Place::Thinking(depth + 1),
            Place::Undecided(depth, text) => {
                pieces.push(Piece::Thinking(text));
                Place::Thinking(depth + 1)
            }
            _ => {
                self.release(pieces);
                self.said = false;
                Place::Thinking(1)
            }
        };
    }

    fn close(&mut self, pieces: &mut Vec<Piece>) {
        self.place = match std::mem::replace(&mut self.place, Place::Answer) {
            Place::Thinking(depth) if depth > 1 => Place::Undecided(depth - 1, String::new()),
            Place::Undecided(depth, text) => {
                pieces.push(Piece::Thinking(text));
                if depth > 1 { Place::Undecided(depth - 1, String::new()) } else { Place::Answer }
            }
            _ => Place::Answer,
        };
        self.said = false;
    }

    /// `<|channel|>final<|message|>Paris.<|return|>`, and `<|start|>assistant` before the next
    /// message.
    fn harmony(&mut self, mark: usize, pieces: &mut Vec<Piece>) {
        let place = std::mem::replace(&mut self.place, Place::Between);
        self.place = match (HARMONY[mark], place) {
            ("<|message|>", Place::Header(header)) => {
                self.said = false;
                if is_answer(&header) { Place::Answer } else { Place::Thinking(1) }
            }
            ("<|start|>", _) => Place::Header(String::new()),
            ("<|channel|>" | "<|constrain|>", Place::Header(header)) => {
                Place::Header(header + HARMONY[mark])
            }
            ("<|channel|>", _) => Place::Header(HARMONY[mark].to_owned()),
            ("<|message|>" | "<|constrain|>", place) => place,
            _ => Place::Between,
        };
        self.release(pieces);
    }

    /// Text at the place where we are.
    fn say(&mut self, text: &str, pieces: &mut Vec<Piece>) {
        if text.is_empty() {
            return;
        }
        // Line breaks between thinking and answer belong to neither.
        let tagged = matches!(self.form, Form::Tagged(_));
        let text = if tagged && !self.said { text.trim_start_matches(['\n', '\r']) } else { text };
        match &mut self.place {
            Place::Answer => {
                self.said |= !text.trim().is_empty();
                self.held.push_str(text);
                self.look_for_stops(pieces);
            }
            Place::Thinking(_) => {
                self.said |= !text.trim().is_empty();
                pieces.push(Piece::Thinking(text.to_owned()));
            }
            Place::Undecided(_, undecided) => {
                undecided.push_str(text);
                if undecided.len() > UNDECIDED_BYTES_MAX {
                    self.decide(pieces);
                }
            }
            Place::Header(header) => {
                header.push_str(text);
                if header.len() > HEADER_BYTES_MAX {
                    self.decide(pieces);
                }
            }
            Place::Between => {}
        }
    }

    /// Takes what waited for the answer.
    fn decide(&mut self, pieces: &mut Vec<Piece>) {
        if let Place::Undecided(_, text) | Place::Header(text) =
            std::mem::replace(&mut self.place, Place::Answer)
        {
            self.say(&text, pieces);
        }
    }

    fn look_for_stops(&mut self, pieces: &mut Vec<Piece>) {
        if let Some((start, _)) = self.stops.find(&self.held) {
            self.held.truncate(start);
            self.stopped = true;
        }
        let kept = if self.stopped { 0 } else { self.stops.held_back(&self.held) };
        let text: String = self.held.drain(..self.held.len() - kept).collect();
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
    }

    fn release(&mut self, pieces: &mut Vec<Piece>) {
        let text = std::mem::take(&mut self.held);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
    }
}

/// `final` is the answer, and so is a word to the user before a call: `commentary` without a
/// recipient.
fn is_answer(header: &str) -> bool {
    let channel = header.split("<|channel|>").nth(1).unwrap_or("final");
    let mut words = channel.split(|letter: char| letter.is_whitespace() || letter == '<');
    let name = words.next().unwrap_or_default();
    let is_call = header.contains("to=");
    !is_call && matches!(name, "final" | "commentary" | "")
}

/// How many bytes at the end of a text may be the beginning of a tag.
fn partial(text: &str, tag: &Tag) -> usize {
    let lengths = tag.name.char_indices().map(|(at, _)| at).skip(1);
    lengths.filter(|&length| text.ends_with(&tag.name[..length])).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardtack_format::vocabulary::{TextRules, TokenKind, write};

    /// Reads tokens by their names; `"<x>"` is a token of that name where the vocabulary has one,
    /// and else its letters.
    struct Bench {
        vocabulary: Vocabulary<Box<[u8]>>,
        form: Form,
        markers: Markers,
        names: Vec<String>,
    }

    impl Bench {
        fn new(template: &str, tokens: &[(&str, TokenKind)]) -> Self {
            let letters: Vec<[u8; 1]> = (0..=255).map(|byte| [byte]).collect();
            let letters = letters.iter().map(|byte| (TokenKind::Normal, byte.as_slice()));
            let added = tokens.iter().map(|(name, kind)| (*kind, name.as_bytes()));
            let table =
                write(&TextRules::default(), &letters.chain(added).collect::<Vec<_>>()).unwrap();
            let vocabulary = Vocabulary::read(table.into_boxed_slice()).unwrap();
            let (form, markers) =
                (Form::of(template, &vocabulary), Markers::new(&vocabulary, template).unwrap());
            let names = tokens.iter().map(|(name, _)| (*name).to_owned()).collect();
            Self { vocabulary, form, markers, names }
        }

        fn ids(&self, pieces: &[&str]) -> Vec<u32> {
            let ids = |piece: &&str| match self.names.iter().position(|name| name == piece) {
                Some(place) => vec![256 + place as u32],
                None => piece.bytes().map(u32::from).collect(),
            };
            pieces.iter().flat_map(ids).collect()
        }

        /// Answer and thinking, the same by single pieces and together.
        fn read(&self, prompt: &str, pieces: &[&str]) -> (String, String) {
            self.read_with(prompt, pieces, &[])
        }

        fn read_with(&self, prompt: &str, pieces: &[&str], stops: &[&str]) -> (String, String) {
            let stops = Stops::new(stops).unwrap();
            let mut reader =
                Reader::new(&self.vocabulary, (&self.form, &self.markers), prompt, stops);
            let mut read = Vec::new();
            for id in self.ids(pieces) {
                if reader.push(id, &mut read) {
                    break;
                }
            }
            reader.finish(&mut read);
            let (mut answer, mut thinking) = (String::new(), String::new());
            for piece in read {
                match piece {
                    Piece::Text(text) | Piece::Marker(text) => answer.push_str(&text),
                    Piece::Thinking(text) => thinking.push_str(&text),
                }
            }
            (answer, thinking)
        }
    }

    fn both(answer: &str, thinking: &str) -> (String, String) {
        (answer.to_owned(), thinking.to_owned())
    }

    #[test]
    fn thinking_between_tags_in_every_spelling() {
        let marker = [("<think>", TokenKind::Marker), ("</think>", TokenKind::Marker)];
        let text = [("<thi", TokenKind::Normal), ("nk>", TokenKind::Normal)];
        for tokens in [&marker[..], &text, &[]] {
            let bench = Bench::new("</think>", tokens);
            let cases: [(&str, &[&str], (&str, &str)); 14] = [
                ("", &["<think>", "why", "</think>", "\n\nDone"], ("Done", "why")),
                ("", &["\n<think>\n", "why\n", "</think>", "Done"], ("Done", "why\n")),
                ("", &["Done"], ("Done", "")),
                ("", &["<think>", "\n\n", "</think>", "\n\n", "Done"], ("Done", "")),
                ("<|a|><think>\n", &["why", "</think>", "Done"], ("Done", "why")),
                // The model says once more what the template has said.
                ("<think>\n", &["<think>", "\nwhy", "</think>", "Done"], ("Done", "why")),
                // Several thoughts one after another.
                (
                    "",
                    &["<think>", "a", "</think>", "\n", "<think>", "b", "</think>", "Done"],
                    ("Done", "ab"),
                ),
                ("", &["<th", "ink>", "a<", "/thi", "nk", ">Done"], ("Done", "a")),
                // Never closed.
                ("<think>\n", &["why"], ("", "why")),
                ("", &["<think>", "why"], ("", "why")),
                // Thoughts within thoughts, and a thought about a tag.
                (
                    "",
                    &["<think>", "a", "<think>", "b", "</think>", "c", "</think>", "Done"],
                    ("Done", "abc"),
                ),
                ("", &["<think>", "a", "<think>", "b", "</think>", "Done"], ("Done", "ab")),
                // An answer about a tag, and one that is cut in the middle of something like it.
                ("", &["Use ", "<thi"], ("Use <thi", "")),
                ("", &["1 < 2", " <", "b>"], ("1 < 2 <b>", "")),
            ];
            for (prompt, pieces, (answer, thinking)) in cases {
                assert_eq!(
                    bench.read(prompt, pieces),
                    both(answer, thinking),
                    "{prompt:?} {pieces:?}"
                );
            }
        }
        let bench = Bench::new("</think>", &[]);
        assert_eq!(bench.read("", &["Use <think> and </think>."]), both("Use <think> and .", ""));
    }

    #[test]
    fn other_forms_have_other_tags() {
        let control = |name| (name, TokenKind::Control);
        type Case<'a> = (&'a str, &'a [(&'a str, TokenKind)], &'a [&'a str]);
        let cases: [Case<'_>; 6] = [
            (
                "[THINK]",
                &[control("[THINK]"), control("[/THINK]")],
                &["[THINK]", "why", "[/THINK]", "Done"],
            ),
            ("<seed:think>", &[], &["<seed:think>why</seed:think>Done"]),
            (
                "Here is my thought process:",
                &[],
                &["Here is my thought process:\nwhy", "Here is my response:\n", "Done"],
            ),
            ("<think> <answer>", &[], &["<think>\nwhy</think>\n<answer>\nDone</answer>"]),
            ("<think><response>", &[], &["<think>why</think><response>Done</response>"]),
            (
                "<|START_THINKING|>",
                &[
                    control("<|START_THINKING|>"),
                    control("<|END_THINKING|>"),
                    control("<|START_RESPONSE|>"),
                ],
                &["<|START_THINKING|>", "why", "<|END_THINKING|>", "<|START_RESPONSE|>", "Done"],
            ),
        ];
        for (template, tokens, pieces) in cases {
            assert_eq!(
                Bench::new(template, tokens).read("", pieces),
                both("Done", "why"),
                "{template}"
            );
        }
    }

    /// As gpt-oss answers (openai/harmony, docs/format.md).
    #[test]
    fn harmony_in_channels() {
        let tokens: Vec<_> = HARMONY.iter().map(|name| (*name, TokenKind::Control)).collect();
        let bench = Bench::new("<|channel|><|message|>", &tokens);
        let [start, channel, message, constrain, end, back, call] = HARMONY;
        let analysis =
            [channel, "analysis", message, "They ask for a capital.", end, start, "assistant"];
        let with = |rest: &[&'static str]| [&analysis[..], rest].concat();
        let thought = "They ask for a capital.";
        let read = |pieces: &[&str]| bench.read("<|start|>assistant", pieces);
        assert_eq!(
            read(&with(&[channel, "final", message, "Paris.", back])),
            both("Paris.", thought)
        );
        assert_eq!(read(&[channel, "final", message, "Paris."]), both("Paris.", ""));
        // A word to the user before a call is shown, the call is not.
        let words = [channel, "commentary", message, "I look.", end, start, "assistant"];
        let json =
            [channel, "commentary to=functions.look ", constrain, "json", message, "{}", call];
        assert_eq!(read(&[&words[..], &json].concat()), both("I look.", "{}"));
        assert_eq!(
            read(&[" to=functions.look", channel, "commentary", message, "{}", call]),
            both("", "{}")
        );
        // A model that does not keep to the form is heard all the same.
        assert_eq!(read(&["Paris."]), both("Paris.", ""));
        assert_eq!(read(&[message, "Paris.", end]), both("Paris.", ""));
        assert_eq!(read(&with(&[])), both("", thought));
    }

    #[test]
    fn stop_strings_end_the_answer_and_not_the_thinking() {
        let bench = Bench::new("</think>", &[]);
        let pieces = ["<think>", "stop", "</think>", "go on, st", "op here"];
        assert_eq!(bench.read_with("", &pieces, &["stop"]), both("go on, ", "stop"));
    }

    #[test]
    fn tokens_that_steer_are_part_of_the_answer() {
        let tokens = [("<tool_call>", TokenKind::Marker), ("</tool_call>", TokenKind::UserDefined)];
        let bench = Bench::new("{{ messages }}", &tokens);
        assert_eq!(
            bench.read("", &["<tool_call>", "{}", "</tool_call>"]),
            both("<tool_call>{}</tool_call>", "")
        );
    }
}
