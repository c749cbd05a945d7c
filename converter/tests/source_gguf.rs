//! GGUF files that lie, one lie each: the reader refuses and names the place. Limits are tried from both sides.

use hardtack_converter::source::{Gguf, SourceError, parse_gguf};

/// A GGUF file in the making; the counts in its head are those of what was added.
struct Builder {
    version: u32,
    keys: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    data_bytes: usize,
}

impl Builder {
    fn new(data_bytes: usize) -> Self {
        Self { version: 3, keys: Vec::new(), tensors: Vec::new(), data_bytes }
    }

    fn key(mut self, key: &[u8], kind: u32, value: &[u8]) -> Self {
        self.keys.push([&text(key), kind.to_le_bytes().as_slice(), value].concat());
        self
    }

    fn tensor(mut self, name: &[u8], dimensions: &[u64], kind: u32, offset: u64) -> Self {
        let mut entry = [text(name), (dimensions.len() as u32).to_le_bytes().to_vec()].concat();
        entry.extend(dimensions.iter().flat_map(|dimension| dimension.to_le_bytes()));
        entry.extend(kind.to_le_bytes());
        entry.extend(offset.to_le_bytes());
        self.tensors.push(entry);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = [b"GGUF".as_slice(), &self.version.to_le_bytes()].concat();
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.keys.len() as u64).to_le_bytes());
        bytes.extend(self.keys.concat());
        bytes.extend(self.tensors.concat());
        bytes.resize(bytes.len().next_multiple_of(32) + self.data_bytes, 0);
        bytes
    }

    fn parse(&self) -> Result<Gguf, SourceError> {
        parse_gguf(&self.bytes())
    }

    fn assert_refused(&self, parts: &[&str]) {
        let line = self.parse().unwrap_err().to_string();
        assert!(!line.contains(char::is_control), "{line}");
        for part in parts {
            assert!(line.contains(part), "{line:?} lacks {part:?}");
        }
    }
}

fn text(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

const U32: u32 = 4;
const F32: u32 = 6;
const BOOL: u32 = 7;
const STRING: u32 = 8;
const KIND_F32: u32 = 0;
const KIND_Q4_0: u32 = 2;

#[test]
fn versions() {
    for (version, found) in [(1, "found 1"), (4, "found 4"), (3 << 24, "a big-endian file")] {
        let file = Builder { version, ..Builder::new(0) };
        file.assert_refused(&["gguf: version at byte 4: expected 2 or 3", found]);
    }
    for version in [2, 3] {
        Builder { version, ..Builder::new(0) }.parse().unwrap();
    }
}

#[test]
fn keys() {
    let one = 1u32.to_le_bytes();
    Builder::new(0).key(b"a", U32, &one).key(b"b", U32, &one).parse().unwrap();
    let twice = Builder::new(0).key(b"a", U32, &one).key(b"a", U32, &one);
    twice.assert_refused(&["key a at byte 41: expected each key once"]);
    Builder::new(0).key(b"", U32, &one).assert_refused(&["key at byte 24", "a name"]);
    Builder::new(0).key(b"a\n", U32, &one).assert_refused(&["key at byte 24", r#""a\n""#]);
    Builder::new(0).key(b"a\xff", U32, &one).assert_refused(&["expected UTF-8, found byte 0xff at 1"]);
    Builder::new(0).key(b"a", 13, &one).assert_refused(&["key a at byte 33", "found 13"]);
    Builder::new(0).key(b"a", BOOL, &[2]).assert_refused(&["key a at byte 37", "bool", "found 2"]);
    Builder::new(0).key(b"a", STRING, &text(b"\xc0")).assert_refused(&["key a", "UTF-8"]);
    Builder::new(0).key(&[b'k'; 1 << 16], U32, &one).parse().unwrap();
    let long = Builder::new(0).key(&[b'k'; (1 << 16) + 1], U32, &one);
    long.assert_refused(&["key at byte 24: expected at most 65536, found 65537"]);

    let infinite = Builder::new(0).key(b"a", F32, &f32::INFINITY.to_le_bytes()).parse().unwrap();
    let line = infinite.metadata.get_f32("a").unwrap_err().to_string();
    assert_eq!(line, "gguf: key a: expected a finite f32, found inf");
}

#[test]
fn arrays_nest_four_deep() {
    let nested = |depth: usize| {
        let outer = [9u32.to_le_bytes().as_slice(), &1u64.to_le_bytes()].concat();
        let inner = [U32.to_le_bytes().as_slice(), &0u64.to_le_bytes()].concat();
        Builder::new(0).key(b"a", 9, &[outer.repeat(depth - 1), inner].concat())
    };
    nested(4).parse().unwrap();
    nested(5).assert_refused(&["key a", "arrays at most 4 deep"]);
}

#[test]
fn alignment() {
    let with = |alignment: u32| Builder::new(64).key(b"general.alignment", U32, &alignment.to_le_bytes());
    for good in [1, 8, 32, 1 << 20] {
        with(good).parse().unwrap();
    }
    for bad in [0, 3, 48, 1 << 21] {
        let found = format!("key general.alignment: expected a power of two up to 1048576, found {bad}");
        with(bad).assert_refused(&[&found]);
    }
    let far = with(64).tensor(b"a", &[1], KIND_F32, 32);
    far.assert_refused(&["tensor a at byte", "an offset divisible by 64, found 32"]);
}

#[test]
fn tensors() {
    let good = Builder::new(64).tensor(b"b", &[8], KIND_F32, 32).tensor(b"a", &[2, 3], KIND_F32, 0);
    let tensors = good.parse().unwrap().tensors;
    assert_eq!(tensors[0].name, "a");
    assert_eq!(tensors[0].shape, [3, 2]);
    assert_eq!(tensors[1].offset - tensors[0].offset, 32);

    let new = || Builder::new(64);
    let same = new().tensor(b"a", &[1], KIND_F32, 0).tensor(b"a", &[1], KIND_F32, 32);
    same.assert_refused(&["tensor a at byte 57: expected each name once"]);
    let overlap = new().tensor(b"a", &[9], KIND_F32, 0).tensor(b"b", &[1], KIND_F32, 32);
    overlap.assert_refused(&["tensor b at byte 128: expected to begin at 132 or later"]);
    let beyond = new().tensor(b"a", &[17], KIND_F32, 0);
    beyond.assert_refused(&["tensor a: file ends at byte 128, expected 132"]);
    new().tensor(b"a", &[16], KIND_F32, 0).parse().unwrap();
    let far = new().tensor(b"a", &[1], KIND_F32, u64::MAX - 31);
    far.assert_refused(&["tensor a: file ends at byte 128"]);

    new().tensor(b"a", &[], KIND_F32, 0).assert_refused(&["tensor a", "1 to 4 dimensions, found 0"]);
    new().tensor(b"a", &[1; 5], KIND_F32, 0).assert_refused(&["1 to 4 dimensions, found 5"]);
    new().tensor(b"a", &[1; 4], KIND_F32, 0).parse().unwrap();
    new().tensor(b"a", &[1 << 40; 2], KIND_F32, 0).assert_refused(&["tensor a", "fits in memory"]);
    new().tensor(b"a", &[u64::MAX], KIND_F32, 0).assert_refused(&["tensor a", "fits in memory"]);
    new().tensor(b"a", &[1], 99, 0).assert_refused(&["a known element type, found type 99"]);
    new().tensor(b"a", &[48], KIND_Q4_0, 0).assert_refused(&["divisible by 32, the Q4_0 block", "[48]"]);
    new().tensor(b"a", &[16, 2], KIND_Q4_0, 0).assert_refused(&["divisible by 32", "[2, 16]"]);
    new().tensor(&[b'n'; 1024], &[1], KIND_F32, 0).parse().unwrap();
    new().tensor(&[b'n'; 1025], &[1], KIND_F32, 0).assert_refused(&["tensor name", "at most 1024"]);
}
