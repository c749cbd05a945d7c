//! `hardtack eval tasks` on small models: figures that hang together, and refusals.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::blobs::speaking_blob;
use crate::program::{Argument, INTERRUPTED, Outcome, hardtack, interrupt, run, wait};
use hardtack_testing::checkpoint::Checkpoint;
use safetensors::SafeTensors;
use serde_json::{Value, json};

/// Twenty questions in ARC's layout.
fn questions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/questions.json")
}

/// `--task` for them.
fn asked() -> String {
    format!("arc_easy={}", questions().display())
}

fn tasks(blob: &Path, flags: &[&str]) -> Outcome {
    let mut arguments: Vec<Argument<'_>> = vec![&"eval", &"tasks", &blob, &"--json"];
    arguments.extend(flags.iter().map(|flag| flag as Argument<'_>));
    run(&arguments)
}

fn report(blob: &Path, flags: &[&str]) -> Value {
    serde_json::from_str(&tasks(blob, flags).succeeded().out).unwrap()
}

fn lines(file: &Path) -> Vec<Value> {
    fs::read_to_string(file)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// Log-likelihood of a text's last bytes by the logits that the program writes. A byte is a token
/// of these models.
fn log_likelihood(blob: &Path, folder: &Path, text: &str, asked: usize) -> f64 {
    let (tokens, out) = (folder.join("tokens.json"), folder.join("logits.safetensors"));
    fs::write(&tokens, json!(text.as_bytes()).to_string()).unwrap();
    run(&[&"eval", &"logits", &blob, &"--tokens", &tokens, &"--out", &out]).succeeded();
    let bytes = fs::read(&out).unwrap();
    let view = SafeTensors::deserialize(&bytes).unwrap().tensor("logits").unwrap();
    let numbers: Vec<f64> = view
        .data()
        .chunks(4)
        .map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap())))
        .collect();
    let vocabulary = view.shape()[1];
    let probability = |place: usize| {
        let row = &numbers[(place - 1) * vocabulary..place * vocabulary];
        row[usize::from(text.as_bytes()[place])]
            - row.iter().map(|logit| logit.exp()).sum::<f64>().ln()
    };
    (text.len() - asked..text.len()).map(probability).sum()
}

#[test]
fn a_choice_is_as_likely_as_its_logits_say() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(blob) = speaking_blob(scratch.path()) else { return };
    let items = scratch.path().join("items.jsonl");
    let flags = [
        "--task",
        &asked(),
        "--limit",
        "2",
        "--kv-type",
        "f32",
        "--items",
        items.to_str().unwrap(),
    ];
    report(&blob, &flags);
    let lines = lines(&items);
    let places: Vec<&Value> = lines.iter().map(|line| &line["item"]).collect();
    assert_eq!(places, ["questions.json: item 1", "questions.json: item 11"]);
    let question = "Question: Which of these melts first in a warm kitchen?\nAnswer:";
    let options = ["an iron pan", "a stick of butter", "a glass bottle", "a clay pot"];
    for (index, option) in options.iter().enumerate() {
        let found = number(&lines[0]["log_likelihoods"][index]);
        let expected = log_likelihood(
            &blob,
            scratch.path(),
            &format!("{question} {option}"),
            option.len() + 1,
        );
        assert!(
            (found - expected).abs() < 1e-4 * expected.abs(),
            "{option}: {found}, by the logits {expected}"
        );
    }
}

#[test]
fn figures_are_those_of_the_items() {
    let Some(checkpoint) = Checkpoint::of("llama") else { return };
    checkpoint.save().save_tokenizer();
    let scratch = tempfile::tempdir().unwrap();
    let [blob, other] = ["8", "2"].map(|bits| {
        let blob = scratch.path().join(format!("{bits}.tack"));
        run(&[&"bake", &checkpoint.path(), &"-o", &blob, &"--bits", &bits]).succeeded();
        blob
    });
    let items = scratch.path().join("items.jsonl");
    let against = other.to_str().unwrap();
    let flags = ["--task", &asked(), "--against", against, "--items", items.to_str().unwrap()];
    let whole = report(&blob, &flags);
    assert_eq!(whole["evaluation"], "tasks");
    assert_eq!((&whole["blob"], &whole["against"]), (&json!(blob), &json!(other)));
    assert_eq!(whole["partial"], false);
    let task = &whole["tasks"][0];
    assert_eq!((&task["task"], &task["headline"]), (&json!("arc_easy"), &json!("acc")));
    assert_eq!(
        (&task["items"], &task["items_wanted"], &task["shots"]),
        (&json!(20), &json!(20), &json!(0))
    );

    let lines = lines(&items);
    assert_eq!(lines.len(), 40);
    for (metric, name) in ["acc", "acc_norm"].into_iter().enumerate() {
        let right = |blob: &Path| {
            let of_blob = lines.iter().filter(|line| line["blob"] == json!(blob));
            let right = of_blob.map(|line| f64::from(line["chosen"][metric] == line["gold"]));
            right.collect::<Vec<f64>>()
        };
        let (own, others) = (right(&blob), right(&other));
        assert_eq!((own.len(), others.len()), (20, 20));
        let mean = |values: &[f64]| values.iter().sum::<f64>() / 20.0;
        let found = &task["metrics"][metric];
        assert_eq!(found["name"], name);
        assert!((number(&found["value"]) - mean(&own)).abs() < 1e-12);
        assert!((number(&found["against"]["value"]) - mean(&others)).abs() < 1e-12);
        let share = mean(&own);
        let expected = (share * (1.0 - share) / 19.0).sqrt();
        assert!((number(&found["standard_error"]) - expected).abs() < 1e-12);
        let difference = &found["against"]["difference"];
        assert!((number(&difference["mean"]) - (mean(&own) - mean(&others))).abs() < 1e-12);
        let [low, high] = [0, 1].map(|end| number(&difference["interval"][end]));
        assert!(low <= number(&difference["mean"]) && number(&difference["mean"]) <= high);
        assert_eq!(difference["excludes_zero"], json!(low > 0.0 || high < 0.0));
    }

    let own = report(&blob, &["--task", &asked(), "--against", blob.to_str().unwrap()]);
    let difference = &own["tasks"][0]["metrics"][0]["against"]["difference"];
    assert_eq!(
        difference,
        &json!({ "mean": 0.0, "standard_error": 0.0, "interval": [0.0, 0.0], "excludes_zero": false })
    );
    // What is there already is left as it is.
    tasks(&blob, &flags).refused(&["items.jsonl"]);
    assert_eq!(fs::read_to_string(&items).unwrap().lines().count(), 40);
    // For people.
    let text =
        run(&[&"eval", &"tasks", &blob, &"--task", &asked(), &"--against", &blob]).succeeded().out;
    assert!(text.starts_with("arc_easy: 20 items\n* acc "), "{text}");
    assert!(text.contains("+0.00 (95 %: +0.00 to +0.00): no difference shown"), "{text}");
}

#[test]
fn examples_come_before_the_question_and_are_not_under_test() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(blob) = speaking_blob(scratch.path()) else { return };
    let [test, dev] = ["test", "dev"].map(|name| {
        let folder = scratch.path().join("mmlu").join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    });
    let head = "question,choice0,choice1,choice2,choice3,answer\n";
    fs::write(test.join("art_test.csv"), format!("{head}Is it art?,no,yes,both,none,3\n")).unwrap();
    fs::write(dev.join("art_dev.csv"), format!("{head}Is red a color?,no,yes,both,none,1\n"))
        .unwrap();
    let items = scratch.path().join("items.jsonl");
    let [test, dev] = [&test, &dev].map(|folder| folder.to_str().unwrap());
    let flags = ["--task", test, "--shots-from", dev, "--shots", "1", "--kv-type", "f32"];
    let found = report(&blob, &[&flags[..], &["--items", items.to_str().unwrap()]].concat());
    assert_eq!(
        (&found["tasks"][0]["task"], &found["tasks"][0]["shots"]),
        (&json!("mmlu"), &json!(1))
    );
    let text = "The following are multiple choice questions (with answers) about art.\n\nIs red a \
        color?\nA. no\nB. yes\nC. \
                both\nD. none\nAnswer: B\n\nIs it art?\nA. no\nB. yes\nC. both\nD. none\nAnswer: D";
    let line = &lines(&items)[0];
    let expected = log_likelihood(&blob, scratch.path(), text, 2);
    assert!(
        (number(&line["log_likelihoods"][3]) - expected).abs() < 1e-4 * expected.abs(),
        "{line}, not {expected}"
    );
    assert_eq!(line["gold"], 3);

    let five = ["--task", test, "--shots-from", dev];
    tasks(&blob, &five).refused(&["art_test.csv: item 1", "expected 5 solved examples", "found 1"]);
    tasks(&blob, &["--task", test, "--shots-from", test, "--shots", "1"])
        .refused(&["art_test.csv", "under test"]);
    tasks(&blob, &["--task", &asked(), "--shots-from", dev]).refused(&["mmlu", "no --task"]);
    tasks(&blob, &["--task", &asked(), "--chat"]).refused(&["--chat", "gsm8k"]);
    assert_eq!(
        tasks(&blob, &["--task", &asked(), "--shots", "3"]).code,
        Some(crate::program::USAGE)
    );
    let unknown = tasks(&blob, &["--task", "questions.json"]);
    assert_eq!(unknown.code, Some(crate::program::USAGE));
    assert!(unknown.err.contains("arc_challenge"), "{unknown:#?}");
}

#[test]
fn an_answer_in_words_is_what_the_model_writes() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(blob) = speaking_blob(scratch.path()) else { return };
    let [test, train] =
        ["test", "train"].map(|name| scratch.path().join(format!("gsm8k-{name}.jsonl")));
    let problem = |question: &str, answer: &str| {
        json!({ "question": question, "answer": answer }).to_string() + "\n"
    };
    fs::write(
        &test,
        problem("What is 1 + 2?", "#### 3") + &problem("What is 1 + 3?", "1 + 3 = 4\n#### 4"),
    )
    .unwrap();
    fs::write(&train, problem("What is 1 + 1?", "1 + 1 = 2\n#### 2")).unwrap();
    let items = scratch.path().join("items.jsonl");
    let [test, train] = [&test, &train].map(|file| file.to_str().unwrap());
    let flags = [
        "--task",
        test,
        "--shots-from",
        train,
        "--shots",
        "1",
        "-n",
        "12",
        "--items",
        items.to_str().unwrap(),
    ];
    let found = report(&blob, &flags);
    assert_eq!(found["tasks"][0]["headline"], "strict_match");
    let lines = lines(&items);
    let prompt =
        "Question: What is 1 + 1?\nAnswer: 1 + 1 = 2\n#### 2\n\nQuestion: What is 1 + 3?\nAnswer:";
    let written = run(&[&"run", &blob, &"-p", &prompt, &"-n", &"12"]).succeeded().out;
    let text = lines[1]["text"].as_str().unwrap();
    assert_eq!(written, format!("{prompt}{text}\n"));
    assert!(!text.is_empty());
    assert_eq!(
        (&lines[1]["gold"], &lines[1]["item"]),
        (&json!("4"), &json!("gsm8k-test.jsonl: item 2"))
    );

    fs::remove_file(&items).unwrap();
    report(&blob, &["--task", test, "--chat", "-n", "12", "--items", items.to_str().unwrap()]);
    let question = "Question: What is 1 + 2?\nAnswer:";
    let written = run(&[&"run", &blob, &"--chat", &"-p", &question, &"-n", &"12"]).succeeded().out;
    assert_eq!(written, format!("{}\n", self::lines(&items)[0]["text"].as_str().unwrap()));
    tasks(&blob, &["--task", test, "-n", "0"]).refused(&["an answer of 0 tokens"]);
}

#[test]
fn what_was_measured_before_an_interrupt_is_reported() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(blob) = speaking_blob(scratch.path()) else { return };
    // The same questions so often that nobody waits for the end.
    let few: Vec<Value> = serde_json::from_str(&fs::read_to_string(questions()).unwrap()).unwrap();
    let many: Vec<&Value> = few.iter().cycle().take(20_000).collect();
    let file = scratch.path().join("arc-easy.json");
    fs::write(&file, serde_json::to_string(&many).unwrap()).unwrap();
    let items = scratch.path().join("items.jsonl");
    let mut command =
        hardtack(&[&"eval", &"tasks", &blob, &"--json", &"--task", &file, &"--items", &items]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while fs::metadata(&items).map_or(0, |metadata| metadata.len()) < 1000 {
        if start.elapsed() > Duration::from_secs(120) {
            child.kill().unwrap();
            panic!("no item was measured");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    interrupt(&child);
    let outcome = wait(child);
    assert_eq!(outcome.code, Some(INTERRUPTED), "{outcome:#?}");
    let report: Value = serde_json::from_str(&outcome.out).unwrap();
    let task = &report["tasks"][0];
    assert_eq!((&report["partial"], &task["items_wanted"]), (&json!(true), &json!(20_000)));
    assert_eq!(task["items"], json!(lines(&items).len()));
}
