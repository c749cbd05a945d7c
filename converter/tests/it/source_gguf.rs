//! GGUF files that lie, one lie each: the reader refuses and names the place. Limits are tried from
//! both sides.

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
    for (version, expected, found) in [
        (1, "2 or 3: convert the model again", "found 1"),
        (4, "2 or 3", "found 4"),
        (1 << 24, "a little-endian file", "a big-endian file"),
        (
            3 << 24,
            "a little-endian file: convert it with gguf-py's gguf_convert_endian",
            "a big-endian file",
        ),
    ] {
        let file = Builder { version, ..Builder::new(0) };
        file.assert_refused(&["gguf: version at byte 4: expected ", expected, found]);
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
    Builder::new(0)
        .key(b"a\xff", U32, &one)
        .assert_refused(&["expected UTF-8, found byte 0xff at 1"]);
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
    let with =
        |alignment: u32| Builder::new(64).key(b"general.alignment", U32, &alignment.to_le_bytes());
    for good in [1, 8, 32, 1 << 20] {
        with(good).parse().unwrap();
    }
    for bad in [0, 3, 48, 1 << 21] {
        let found =
            format!("key general.alignment: expected a power of two up to 1048576, found {bad}");
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
    beyond.assert_refused(&[
        "tensor a: file ends at byte 128, expected 132: at least 4 bytes are missing",
    ]);
    let both = new().tensor(b"a", &[17], KIND_F32, 0).tensor(b"z", &[100], KIND_F32, 1024);
    both.assert_refused(&[
        "tensor z: file ends at byte 160, expected 1520: at least 1360 bytes are missing",
    ]);
    new().tensor(b"a", &[16], KIND_F32, 0).parse().unwrap();
    let far = new().tensor(b"a", &[1], KIND_F32, u64::MAX - 31);
    far.assert_refused(&["tensor a: file ends at byte 128"]);

    new()
        .tensor(b"a", &[], KIND_F32, 0)
        .assert_refused(&["tensor a", "1 to 4 dimensions, found 0"]);
    new().tensor(b"a", &[1; 5], KIND_F32, 0).assert_refused(&["1 to 4 dimensions, found 5"]);
    new().tensor(b"a", &[1; 4], KIND_F32, 0).parse().unwrap();
    new().tensor(b"a", &[1 << 40; 2], KIND_F32, 0).assert_refused(&["tensor a", "fits in memory"]);
    new().tensor(b"a", &[u64::MAX], KIND_F32, 0).assert_refused(&["tensor a", "fits in memory"]);
    new()
        .tensor(b"a", &[48], KIND_Q4_0, 0)
        .assert_refused(&["divisible by 32, the Q4_0 block", "[48]"]);
    new().tensor(b"a", &[16, 2], KIND_Q4_0, 0).assert_refused(&["divisible by 32", "[2, 16]"]);
    new().tensor(&[b'n'; 1024], &[1], KIND_F32, 0).parse().unwrap();
    new().tensor(&[b'n'; 1025], &[1], KIND_F32, 0).assert_refused(&["tensor name", "at most 1024"]);
}

#[test]
fn types_that_cannot_be_read_are_all_named_at_once() {
    let file = Builder::new(64)
        .tensor(b"a", &[1], KIND_F32, 0)
        .tensor(b"b", &[64], 31, 0)
        .tensor(b"c", &[64], 144, 0)
        .tensor(b"d", &[64], 31, 32)
        .tensor(b"e", &[64], 60, 32);
    file.assert_refused(&[
        "gguf: 4 of 5 tensors are of types that cannot be read: ",
        "type 144 (perhaps of the fork ik_llama.cpp) (tensors: 1, the first c), ",
        "type 31 (Q4_0_4_4, which is Q4_0 in other order, dropped from llama.cpp in 2024) (tensors: 2, the first b), ",
        "type 60 (tensors: 1, the first e); take a file of types that llama.cpp has",
    ]);
    // A hostile table does not fill the screen.
    let many = (100..1000).fold(Builder::new(0), |file, kind| {
        file.tensor(format!("t{kind}").as_bytes(), &[1], kind, 0)
    });
    many.assert_refused(&["900 of 900 tensors", ", 892 more; take"]);
    assert!(many.parse().unwrap_err().to_string().len() < 1000);
}

/// Two block layouts go by the name Q8_1, and two by Q2_0; the next tensor shows which it is.
#[test]
fn a_layout_of_two_meanings_is_not_guessed() {
    let two = |kind, first, second| {
        Builder::new(2048).tensor(b"a", &[first], kind, 0).tensor(b"b", &[8], KIND_F32, second)
    };
    // Q8_1: 128 elements take 144 bytes, padded to 160, or 160; 256 take 288, or 320.
    two(9, 128, 160).parse().unwrap();
    two(9, 256, 288).parse().unwrap();
    two(9, 256, 320).assert_refused(&[
        "tensor a: Q8_1 at byte 96: expected to end at 384",
        "blocks of 40 bytes",
    ]);
    // Q2_0: 4096 elements take 1152 bytes, or 1088.
    two(42, 4096, 1152).parse().unwrap();
    two(42, 4096, 1088).assert_refused(&[
        "tensor b",
        "after tensor a of type Q2_0 (which has other blocks in a fork",
    ]);
}

#[test]
fn files_from_before_gguf_are_named() {
    for magic in [b"lmgg", b"fmgg", b"tjgg"] {
        let line = parse_gguf(&[magic.as_slice(), &[0; 60]].concat()).unwrap_err().to_string();
        assert!(line.contains("a GGML file from before GGUF: convert the model again"), "{line}");
    }
}
