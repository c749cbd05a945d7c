//! Truncations and flipped bytes of both formats: never a panic, never much memory. The only test
//! of its process, because it watches how far the process's memory grows.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use hardtack_converter::source::{Checkpoint, SourceError, parse_gguf, parse_safetensors_header};

const GROWTH_BYTES_MAX: u64 = 64 << 20;

#[test]
fn hostile_files_cost_an_error_line() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let gguf = fs::read(data.join("tiny.gguf")).unwrap();
    let safetensors = fs::read(data.join("dequantize.safetensors")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trial = Trial { folder: folder.path().to_owned() };
    trial.gguf(&gguf);
    trial.safetensors(&safetensors);
    let before = address_space_peak();

    // After the last tensor there may be padding, and its absence does no harm.
    let tensors = parse_gguf(&gguf).unwrap().tensors;
    let end = tensors.last().map(|tensor| tensor.offset + tensor.bytes).unwrap() as usize;
    for length in 0..end {
        parse_gguf(&gguf[..length]).expect_err("a part is not a whole");
        trial.gguf(&gguf[..length]);
    }
    flips(&gguf, |bytes| trial.gguf(bytes));

    let header = 8 + u64::from_le_bytes(safetensors[..8].try_into().unwrap()) as usize;
    for length in 0..safetensors.len() {
        let part = &safetensors[..length];
        parse_safetensors_header(part, length as u64).expect_err("a part is not a whole");
    }
    // After the header any byte is a number: opening them again for each would show nothing new.
    flips(&safetensors[..header], |bytes| {
        trial.safetensors(&[bytes, &safetensors[header..]].concat());
    });
    claims(&trial);

    if let (Some(before), Some(after)) = (before, address_space_peak()) {
        assert!(after - before < GROWTH_BYTES_MAX, "grew by {} bytes", after - before);
    }
}

fn flips(bytes: &[u8], mut attempt: impl FnMut(&[u8])) {
    let mut bytes = bytes.to_vec();
    for place in 0..bytes.len() {
        for mask in [0xff, 1, 0x80] {
            bytes[place] ^= mask;
            attempt(&bytes);
            bytes[place] ^= mask;
        }
    }
}

/// Counts and lengths that promise far more than the file holds.
fn claims(trial: &Trial) {
    let head = |version: u32, tensors: u64, keys: u64| {
        let counts = [tensors.to_le_bytes(), keys.to_le_bytes()].concat();
        [b"GGUF".as_slice(), &version.to_le_bytes(), &counts].concat()
    };
    let key = |kind: u32| [&1u64.to_le_bytes(), b"k".as_slice(), &kind.to_le_bytes()].concat();
    for count in [1, 1 << 16, 1 << 24, u64::MAX / 8, u64::MAX] {
        trial.gguf(&head(3, count, 0));
        trial.gguf(&head(3, 0, count));
        trial.gguf(&[head(3, 0, 1), count.to_le_bytes().to_vec()].concat());
        trial.gguf(&[head(3, 0, 1), key(8), count.to_le_bytes().to_vec()].concat());
        for kind in 0..14u32 {
            let array = [&kind.to_le_bytes(), count.to_le_bytes().as_slice()].concat();
            trial.gguf(&[head(3, 0, 1), key(9), array].concat());
        }
        trial.safetensors(&count.to_le_bytes());
    }
    let nested = [9u32.to_le_bytes().as_slice(), &1u64.to_le_bytes()].concat().repeat(10_000);
    let line = parse_gguf(&[head(3, 0, 1), key(9), nested].concat()).unwrap_err().to_string();
    assert!(line.contains("key k at byte 85: expected arrays at most 4 deep"), "{line}");
    let line = parse_gguf(&head(3u32.swap_bytes(), 0, 0)).unwrap_err().to_string();
    assert!(line.starts_with("gguf: version at byte 4: expected a little-endian file: "), "{line}");
    parse_gguf(&head(2, 0, 0)).unwrap();
}

struct Trial {
    folder: PathBuf,
}

impl Trial {
    fn gguf(&self, bytes: &[u8]) {
        let path = self.folder.join("trial.gguf");
        write(&path, bytes);
        let opened = Checkpoint::open(&path);
        assert_eq!(opened.is_ok(), parse_gguf(bytes).is_ok());
        read_all(opened);
    }

    fn safetensors(&self, bytes: &[u8]) {
        let folder = self.folder.join("trial");
        fs::create_dir_all(&folder).unwrap();
        write(&folder.join("config.json"), b"{}");
        write(&folder.join("model.safetensors"), bytes);
        let opened = Checkpoint::open(&folder);
        assert_eq!(opened.is_ok(), parse_safetensors_header(bytes, bytes.len() as u64).is_ok());
        read_all(opened);
    }
}

/// Overwrites a file in place: emptying it first makes some file systems flush each of the many
/// trials to the disk.
fn write(path: &Path, bytes: &[u8]) {
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap();
    file.write_all(bytes).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
}

fn read_all(opened: Result<Checkpoint, SourceError>) {
    let checkpoint = match opened {
        Ok(checkpoint) => checkpoint,
        Err(error) => return assert_one_line(&error),
    };
    for name in checkpoint.names() {
        let count = checkpoint.tensor(name).unwrap().elements();
        match checkpoint.read(name) {
            Ok(numbers) => {
                assert_eq!(numbers.len(), count);
                assert!(numbers.iter().all(|number| number.is_finite()));
            }
            Err(error) => assert_one_line(&error),
        }
    }
}

fn assert_one_line(error: &SourceError) {
    let line = error.to_string();
    assert!(!line.contains(char::is_control), "{line:?}");
}

/// The most address space this process has had; only Linux says.
fn address_space_peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}
