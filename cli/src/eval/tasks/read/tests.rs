//! Every layout read from a small sample, and the items that are not of it; and the public files
//! where they are at hand.

use std::fs;

use super::read;
use crate::eval::tasks::item::{Items, Problem, Question};
use crate::eval::tasks::task::{Task, TaskFile};

/// A file of this content and name in a folder of its own, read as this task.
fn read_text(task: Task, name: &str, content: impl AsRef<[u8]>) -> Result<Items, String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), content).unwrap();
    let path = if task == Task::Mmlu { folder.path().to_owned() } else { folder.path().join(name) };
    read(&TaskFile { task, path }).map(|(items, _)| items).map_err(|error| format!("{error:#}"))
}

/// A file of one item in LLM-Adapters' layout.
fn instruction(task: Task, instruction: &str, answer: &str) -> Result<Question, String> {
    let json = serde_json::json!([{ "instruction": instruction, "input": "", "output": "", "answer": answer }]);
    match read_text(task, "a.json", json.to_string())? {
        Items::Questions(mut questions) => Ok(questions.remove(0)),
        Items::Problems(problems) => panic!("{problems:?}"),
    }
}

#[track_caller]
fn refused(result: Result<impl std::fmt::Debug, String>, words: &[&str]) {
    let error = result.unwrap_err();
    for word in words {
        assert!(error.contains(word), "no {word:?} in {error:?}");
    }
}

fn continuations(question: &Question) -> Vec<&str> {
    question.choices.iter().map(|choice| choice.continuation.as_str()).collect()
}

const ARC: &str = "Please choose the correct answer to the question: Which is wet?\nLook!\n\nAnswer1: a stone Answer2: rain, as in \
                   \"Answer me\" Answer3: dust\n\nAnswer format: answer1/answer2/answer3";

#[test]
fn arc_and_openbookqa() {
    let question = instruction(Task::ArcEasy, ARC, "answer2").unwrap();
    assert_eq!(question.place, "a.json: item 1");
    assert_eq!(question.choices[2].context, "Question: Which is wet?\nLook!\nAnswer:");
    assert_eq!(continuations(&question), [" a stone", " rain, as in \"Answer me\"", " dust"]);
    assert_eq!((question.gold, question.choices[0].bytes), (1, 7));
    let question = instruction(Task::OpenBookQa, ARC, "answer3").unwrap();
    assert_eq!((question.choices[0].context.as_str(), question.gold), ("Which is wet?\nLook!", 2));

    refused(
        instruction(Task::ArcEasy, ARC, "answer4"),
        &["a.json: item 1", "answer1, answer2, answer3", "answer4"],
    );
    refused(
        instruction(Task::ArcEasy, &ARC.replace(" Answer2: ", " "), "answer2"),
        &["item 1", "Answer2"],
    );
    refused(
        instruction(Task::ArcEasy, &ARC.replace("me\"", "me Answer3: \""), "answer2"),
        &["Answer3", "once"],
    );
    refused(
        instruction(Task::ArcEasy, &ARC.replace("a stone", " "), "answer2"),
        &["an option is empty"],
    );
    refused(
        instruction(Task::ArcEasy, &ARC.replace("/answer3", "/answer4"), "answer2"),
        &["answer1/answer2/..."],
    );
    refused(
        instruction(Task::ArcEasy, &ARC.replace("/answer2/answer3", ""), "answer1"),
        &["answer1/answer2/..."],
    );
    refused(instruction(Task::ArcEasy, "Which?", "answer2"), &["Answer format"]);
    refused(read_text(Task::ArcEasy, "a.json", "{}"), &["a.json", "JSON array"]);
    refused(read_text(Task::ArcEasy, "a.json", "[]"), &["a.json", "no items"]);
    refused(read_text(Task::ArcEasy, "a.json", [0xff]), &["a.json", "UTF-8"]);
}

#[test]
fn piqa() {
    let text = "Please choose the correct solution to the question: How do I dry socks?\n\nSolution1: Hang them.\n\nSolution2: \
                Drown them. \n\nAnswer format: solution1/solution2";
    let question = instruction(Task::Piqa, text, "solution1").unwrap();
    assert_eq!(question.choices[0].context, "Question: How do I dry socks?\nAnswer:");
    assert_eq!(
        (continuations(&question), question.gold),
        (vec![" Hang them.", " Drown them. "], 0)
    );
    refused(instruction(Task::Piqa, text, "answer1"), &["solution1, solution2", "answer1"]);
    refused(
        instruction(Task::Piqa, &text.replace("Solution2", "Solution3"), "solution1"),
        &["Solution2"],
    );
}

#[test]
fn winogrande() {
    let text = "Please choose the correct answer to fill in the blank to complete the given sentence: The cup did not fit the \
                box, since the _ was too big.\n\nOption1: cup Option2: box Answer format: option1/option2";
    let question = instruction(Task::WinoGrande, text, "option1").unwrap();
    let contexts: Vec<&str> =
        question.choices.iter().map(|choice| choice.context.as_str()).collect();
    assert_eq!(
        contexts,
        [
            "The cup did not fit the box, since the cup",
            "The cup did not fit the box, since the box"
        ]
    );
    assert_eq!((continuations(&question), question.gold), (vec![" was too big."; 2], 0));
    refused(
        instruction(Task::WinoGrande, &text.replace('_', "it"), "option1"),
        &["one blank", "found 0"],
    );
    refused(
        instruction(Task::WinoGrande, &text.replace("cup did", "_ did"), "option1"),
        &["found 2"],
    );
    refused(
        instruction(Task::WinoGrande, &text.replace(" was too big.", ""), "option1"),
        &["after the blank"],
    );
}

#[test]
fn boolq() {
    let text = "Please answer the following question with true or false, question: is ice cold?\n\nAnswer format: true/false";
    let question = instruction(Task::BoolQ, text, "true").unwrap();
    assert_eq!(question.choices[0].context, "Question: is ice cold?\nAnswer:");
    assert_eq!((continuations(&question), question.gold), (vec![" no", " yes"], 1));
    assert_eq!(instruction(Task::BoolQ, text, "false").unwrap().gold, 0);
    refused(instruction(Task::BoolQ, text, "yes"), &["false, true"]);
}

#[test]
fn mathqa_in_both_forms() {
    let plain = "how much is 1 + 1 ? The options: A ) 1 , 5 , B ) 2 mEtErs , C ) 3 , D ) 4 , E ) nonE oF thEsE";
    let question = instruction(Task::MathQa, plain, "B").unwrap();
    assert_eq!(question.choices[0].context, "Question: how much is 1 + 1 ?\nAnswer:");
    assert_eq!(continuations(&question), [" 1 , 5", " 2 meters", " 3", " 4", " none of these"]);
    assert_eq!(question.gold, 1);
    let listed = "how much is 1 + 1 ? The options: ['A ) 1', 'B ) 2', 'C ) 3', 'D ) 4', 'E ) 5']";
    assert_eq!(
        continuations(&instruction(Task::MathQa, listed, "E").unwrap()),
        [" 1", " 2", " 3", " 4", " 5"]
    );
    refused(instruction(Task::MathQa, &plain.replace("C )", "F )"), "B"), &["item 1", "C )"]);
    refused(instruction(Task::MathQa, &listed.replace("5'", "5"), "B"), &["quote"]);
    refused(instruction(Task::MathQa, plain, "F"), &["A, B, C, D, E"]);
}

const HELLASWAG: &str = "Cooking: A man cuts an onion. he\n2\nflies.\nsings.\nweeps.\nreads.\nRain: It falls. it\n0\nwets\na\nb\nc\n";

#[test]
fn hellaswag_packed_or_not() {
    let items = read_text(Task::HellaSwag, "a.txt", HELLASWAG).unwrap();
    let Items::Questions(questions) = &items else { panic!("{items:?}") };
    assert_eq!(questions.len(), 2);
    assert_eq!(questions[0].choices[2].context, "Cooking: A man cuts an onion. he");
    assert_eq!(
        (continuations(&questions[0]), questions[0].gold),
        (vec![" flies.", " sings.", " weeps.", " reads."], 2)
    );
    assert_eq!((questions[1].place.as_str(), questions[1].gold), ("a.txt: item 2", 0));

    let mut packed = Vec::new();
    std::io::Read::read_to_end(
        &mut bzip2::read::BzEncoder::new(HELLASWAG.as_bytes(), Default::default()),
        &mut packed,
    )
    .unwrap();
    let Items::Questions(unpacked) = read_text(Task::HellaSwag, "a.txt.bz2", &packed).unwrap()
    else {
        panic!()
    };
    assert_eq!(unpacked[1].choices, questions[1].choices);
    refused(
        read_text(Task::HellaSwag, "a.txt.bz2", &packed[..packed.len() - 9]),
        &["a.txt.bz2", "bzip2"],
    );

    refused(
        read_text(Task::HellaSwag, "a.txt", &HELLASWAG[..HELLASWAG.len() - 2]),
        &["6 lines", "found 11"],
    );
    refused(
        read_text(Task::HellaSwag, "a.txt", HELLASWAG.replace("\n0\n", "\n4\n")),
        &["item 2", "0 to 3", "\"4\""],
    );
    refused(
        read_text(Task::HellaSwag, "a.txt", HELLASWAG.replace("sings.", "")),
        &["item 1", "empty"],
    );
}

#[test]
fn mmlu() {
    let csv = "question,choice0,choice1,choice2,choice3,answer\n\"What is 1, 2, ...?\",\"a \"\"b\"\"\",\"0,1\",5,6,3\nWhy?,a,b,c,d,B\n";
    let items = read_text(Task::Mmlu, "high_school_art_test.csv", csv).unwrap();
    let Items::Questions(questions) = items else { panic!("{items:?}") };
    assert_eq!(questions.len(), 2);
    let about =
        "The following are multiple choice questions (with answers) about high school art.\n\n";
    assert_eq!(questions[0].preamble, about);
    assert_eq!(
        questions[0].choices[3].context,
        "What is 1, 2, ...?\nA. a \"b\"\nB. 0,1\nC. 5\nD. 6\nAnswer:"
    );
    assert_eq!(
        (continuations(&questions[1]), questions[1].gold),
        (vec![" A", " B", " C", " D"], 1)
    );
    refused(
        read_text(Task::Mmlu, "a_test.csv", csv.replace(",6,3", ",6")),
        &["a_test.csv: item 1", "6 columns, found 5"],
    );
    refused(
        read_text(Task::Mmlu, "a_test.csv", csv.replace("d,B", "d,4")),
        &["a_test.csv: item 2", "0 to 3"],
    );
    refused(read_text(Task::Mmlu, "a_test.txt", csv), &["expected .csv files"]);
}

#[test]
fn gsm8k() {
    let line = r#"{"question": "How many?", "answer": "1 + 1 = <<1+1=2>>2\n#### 1,002"}"#;
    let items = read_text(Task::Gsm8k, "a.jsonl", format!("{line}\n{line}\n")).unwrap();
    let Items::Problems(problems) = items else { panic!("{items:?}") };
    let solution = "1 + 1 = <<1+1=2>>2\n#### 1,002".to_owned();
    assert_eq!(
        problems[1],
        Problem { place: "a.jsonl: item 2".into(), question: "How many?".into(), solution }
    );
    refused(
        read_text(Task::Gsm8k, "a.jsonl", format!("{line}\n{{}}\n")),
        &["a.jsonl: item 2", "`question`"],
    );
    refused(read_text(Task::Gsm8k, "a.jsonl", line.replace("#### ", "")), &["item 1", "####"]);
    refused(
        read_text(Task::Gsm8k, "a.jsonl", line.replace("1,002", "two")),
        &["item 1", "a number"],
    );
}

#[test]
#[ignore = "reads public files from the folder HARDTACK_DATA"]
fn the_public_files_have_as_many_items_as_their_makers_say() {
    let folder = hardtack_testing::data("eval");
    let counts = [
        ("multiple-choice/ARC-Easy.test.json", 2376),
        ("multiple-choice/ARC-Challenge.test.json", 1172),
        ("multiple-choice/openbookqa.test.json", 500),
        ("multiple-choice/piqa.test.json", 1838),
        ("multiple-choice/winogrande.test.json", 1267),
        ("multiple-choice/boolq.test.json", 3270),
        ("multiple-choice/mathqa.test.json", 2985),
        ("hellaswag/hellaswag_val_full.txt.bz2", 10042),
        ("mmlu/test", 14042),
        ("mmlu/dev", 285),
        ("gsm8k/test.jsonl", 1319),
        ("gsm8k/train.jsonl", 7473),
    ];
    for (name, count) in counts {
        let path = folder.join(name);
        let file = TaskFile::parse(path.to_str().unwrap()).unwrap();
        let (items, _) = read(&file).unwrap_or_else(|error| panic!("{error:#}"));
        assert_eq!(items.count(), count, "{name}");
    }
}
