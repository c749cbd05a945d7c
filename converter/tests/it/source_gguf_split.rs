//! Models split over several GGUF files: any part leads to all, and what does not fit is named by
//! its file. Files cut short or by bytes say so.

use std::fs;
use std::path::{Path, PathBuf};

use crate::gguf_support::{File, U16};
use hardtack_converter::source::{Checkpoint, Form};

const PARTS: usize = 3;

fn model() -> File {
    let mut file =
        File::default().text("general.architecture", "llama").number("llama.block_count", 5);
    for (number, name) in
        ["token_embd.weight", "a", "b", "c", "d", "e", "f"].into_iter().enumerate()
    {
        let values: Vec<f32> = (0..8).map(|place| (100 * number + place) as f32).collect();
        file = file.floats(name, &[2, 4], &values);
    }
    file
}

/// The name of a part, counted from 1.
fn path(folder: &Path, part: usize) -> PathBuf {
    folder.join(format!("small.Q8_0-{part:05}-of-{PARTS:05}.gguf"))
}

fn written() -> (tempfile::TempDir, Vec<File>) {
    let folder = tempfile::tempdir().unwrap();
    let parts = model().split(PARTS);
    for (number, part) in (1..).zip(&parts) {
        part.write(&path(folder.path(), number));
    }
    (folder, parts)
}

fn refusal(path: &Path, words: &[&str]) {
    let line = Checkpoint::open(path).unwrap_err().to_string();
    for word in words {
        assert!(line.contains(word), "{line:?} lacks {word:?}");
    }
}

#[test]
fn any_part_leads_to_all() {
    let (folder, _) = written();
    let whole_path = folder.path().join("whole.gguf");
    model().write(&whole_path);
    let whole = Checkpoint::open(&whole_path).unwrap();
    let paths: Vec<PathBuf> = (1..=PARTS).map(|part| path(folder.path(), part)).collect();
    for given in &paths {
        let split = Checkpoint::open(given).unwrap();
        assert_eq!(split.files(), paths);
        assert_eq!(split.names().collect::<Vec<_>>(), whole.names().collect::<Vec<_>>());
        for name in whole.names() {
            assert_eq!(split.read(name).unwrap(), whole.read(name).unwrap(), "{name}");
        }
        let Form::Gguf(metadata) = split.form() else { panic!("not GGUF") };
        assert_eq!(metadata.get_u32("llama.block_count").unwrap(), 5);
    }
    // One part of one is a whole model, whatever it is called.
    let alone = model().split(1).remove(0);
    alone.write(&whole_path);
    assert_eq!(Checkpoint::open(&whole_path).unwrap().names().count(), 7);
}

#[test]
fn a_first_part_of_metadata_alone() {
    let (folder, parts) = written();
    let keys = File::default().text("general.architecture", "llama");
    let split = |file: File, index: u16| {
        let count = (parts.len() as u16).to_le_bytes();
        file.key("split.no", U16, &index.to_le_bytes()).key("split.count", U16, &count)
    };
    // Older files do not say how many tensors there are.
    split(keys, 0).write(&path(folder.path(), 1));
    split(File::default().floats("a", &[2], &[1.0, 2.0]), 1).write(&path(folder.path(), 2));
    split(File::default().floats("b", &[2], &[3.0, 4.0]), 2).write(&path(folder.path(), 3));
    let split = Checkpoint::open(&path(folder.path(), 2)).unwrap();
    assert_eq!(split.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(split.read("b").unwrap(), [3.0, 4.0]);
}

#[test]
fn parts_that_do_not_fit_are_named() {
    let (folder, parts) = written();
    let [first, second, third] = [1, 2, 3].map(|part| path(folder.path(), part));
    let second_name = second.file_name().unwrap().to_str().unwrap();

    fs::rename(&second, folder.path().join("away")).unwrap();
    refusal(
        &third,
        &[second_name, "missing: it is part 2 of 3 of the model", "put all parts into one folder"],
    );
    parts[2].write(&second);
    refusal(
        &first,
        &[second_name, "expected part 2 of 3 with 7 tensors in all", "found part 3 of 3 with 7"],
    );
    model().write(&second);
    refusal(&first, &[second_name, "found a whole model"]);
    model().split(2)[1].write(&second);
    refusal(&first, &[second_name, "found part 2 of 2 with 7 tensors in all"]);

    let fewer = File::default().floats("a", &[1], &[0.0]).floats("b", &[1], &[0.0]);
    fewer.split(PARTS)[1].write(&second);
    refusal(
        &first,
        &[second_name, "expected part 2 of 3 with 7 tensors in all", "found part 2 of 3 with 2"],
    );
    parts[1].clone().text("general.architecture", "gpt-oss").write(&second);
    refusal(&first, &[second_name, "key general.architecture: expected llama", "found gpt-oss"]);
    parts[1].clone().floats("a", &[1], &[0.0]).write(&second);
    refusal(
        &third,
        &[second_name, "tensor a: expected each name in one part", "00001-of-00003.gguf too"],
    );
    parts[1].clone().floats("g", &[1], &[0.0]).write(&second);
    refusal(
        &third,
        &["key split.tensors.count: expected 8 tensors, as all parts hold together, found 7"],
    );

    parts[1].write(&second);
    let renamed = folder.path().join("renamed.gguf");
    fs::copy(&second, &renamed).unwrap();
    refusal(
        &renamed,
        &["part 2 of 3 of a split model", "ends in -00002-of-00003.gguf", "found renamed.gguf"],
    );
    Checkpoint::open(&first).unwrap();
    // Joined by `cat`: the first part's table says nothing of the rest.
    fs::write(&renamed, [parts[0].bytes(), parts[1].bytes()].concat()).unwrap();
    refusal(
        &renamed,
        &["part 1 of 3 of a split model", "bytes after its last tensor (parts joined by `cat`"],
    );

    let numbers = |index: u16, count: u16| {
        let file = File::default().text("general.architecture", "llama");
        file.key("split.no", U16, &index.to_le_bytes())
            .key("split.count", U16, &count.to_le_bytes())
            .write(&renamed);
    };
    numbers(3, 3);
    refusal(&renamed, &["key split.no: expected less than split.count, found 3"]);
    numbers(0, 1001);
    refusal(&renamed, &["key split.count: expected at most 1000 parts, found 1001"]);
}

#[test]
fn what_is_missing_of_a_file_is_told_in_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short.gguf");
    let bytes = model().bytes();
    // All tensors are whole blocks of the alignment: the file ends with the last one.
    for missing in [1, 32, 100] {
        fs::write(&path, &bytes[..bytes.len() - missing]).unwrap();
        let words =
            format!("at least {missing} bytes are missing, as after a download that did not end");
        refusal(&path, &["short.gguf: tensor f: file ends at byte", &words]);
    }
    for length in [0, 3, 4, 30, 200] {
        fs::write(&path, &bytes[..length]).unwrap();
        assert!(Checkpoint::open(&path).is_err(), "{length}");
    }
}

#[test]
fn pieces_cut_by_bytes_are_known_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = model().bytes();
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    for (ending, bytes) in [("part1of2", head), ("part2of2", tail)] {
        let path = folder.path().join(format!("big.Q6_K.gguf.{ending}"));
        fs::write(&path, bytes).unwrap();
        refusal(
            &path,
            &[&format!("a piece of a GGUF file, by its ending .{ending}"), "into big.Q6_K.gguf"],
        );
    }
    let path = folder.path().join("big.gguf-split-a");
    fs::write(&path, head).unwrap();
    refusal(&path, &["by its ending -split-a"]);
    // A download under way is no piece.
    let path = folder.path().join("big.gguf.part");
    fs::write(&path, head).unwrap();
    refusal(&path, &["bytes are missing"]);
}

/// Files of NVFP4 keep what a whole tensor, or each of its matrices, is multiplied by as a tensor.
#[test]
fn factors_of_tensors_are_multiplied_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scaled.gguf");
    let values: Vec<f32> = (0..12).map(|value| value as f32).collect();
    File::default()
        .floats("blk.0.attn_q.weight", &[3, 4], &values)
        .floats("blk.0.attn_q.scale", &[1], &[0.5])
        .floats("blk.0.attn_q.input_scale", &[1], &[7.0])
        .floats("blk.0.ffn_up_exps.weight", &[3, 2, 2], &values)
        .floats("blk.0.ffn_up_exps.scale", &[3], &[1.0, 10.0, 100.0])
        .write(&path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let names: Vec<&str> = checkpoint.names().collect();
    assert_eq!(names, ["blk.0.attn_q.weight", "blk.0.ffn_up_exps.weight"]);
    let halves: Vec<f32> = values.iter().map(|value| value / 2.0).collect();
    assert_eq!(checkpoint.read(names[0]).unwrap(), halves);
    assert_eq!(checkpoint.read_rows(names[0], 1, 1).unwrap(), halves[4..8]);
    let scaled = [0.0, 1.0, 2.0, 3.0, 40.0, 50.0, 60.0, 70.0, 800.0, 900.0, 1000.0, 1100.0];
    assert_eq!(checkpoint.read(names[1]).unwrap(), scaled);
    assert_eq!(checkpoint.read_rows(names[1], 3, 2).unwrap(), scaled[6..10]);
}

#[test]
fn files_of_other_things_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.gguf");
    for (key, value, words) in [
        ("general.type", "adapter", "found a LoRA adapter"),
        ("general.type", "mmproj", "(mmproj): give the file of the language model"),
        ("general.architecture", "clip", "(mmproj): give the file of the language model"),
        ("general.architecture", "imatrix", "found an importance matrix"),
    ] {
        File::default().text(key, value).write(&path);
        refusal(&path, &["other.gguf: not a model: expected a whole language model", words]);
    }
}
