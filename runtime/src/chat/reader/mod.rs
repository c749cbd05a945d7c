//! Reads an answer token by token: what is thinking, what is the answer, and where a stop string
//! ends it.

use hardtack_format::vocabulary::Vocabulary;

use crate::chat::form::{Form, HARMONY, Tag, TagKind};
use crate::text::markers::Markers;
use crate::text::{Opening, Stops, TextStream};

/// What may be the end of nested thinking or the answer waits for this many bytes until it is
/// taken for the answer.
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
    /// In thoughts within thoughts, this deep.
    Thinking(usize),
    /// After an inner end of thinking, still so deep: what comes is thinking if another end
    /// follows, or else the answer.
    Undecided(usize, String),
    /// In a header of harmony.
    Header(String),
    /// After a message of harmony.
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

    /// Hands out what was held back, after the last token.
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
mod tests;
