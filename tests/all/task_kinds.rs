//! `kadapter train task` for the kinds beside relation classification: each learns a few records, and `kadapter eval` scores its
//! package as training did.

use crate::command::run;
use crate::golden::example;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// A task, and what it is trained with.
struct Case {
    /// Of package and task.
    name: &'static str,
    /// Its files are `DATA.jsonl` and `DATA-test.jsonl`.
    data: &'static str,
    /// `[task]` without the files.
    task: &'static str,
    /// `[training]` without epochs and batch.
    training: &'static str,
    /// The variant's stack, a list.
    stack: &'static str,
    /// The variant without its stack.
    fusion: &'static str,
    /// What `kadapter eval` calls the score that training tells.
    score: &'static str,
}

const CASES: [Case; 6] = [
    Case {
        name: "span",
        data: "span",
        task: "kind = \"span\"\ndev = { share = 0.2 }",
        training: "",
        stack: "[\"factual\"]",
        fusion: "fusion = \"concat\"",
        score: "F1",
    },
    Case {
        name: "span-exact",
        data: "span",
        task: "kind = \"span\"\nmetric = \"accuracy\"\noptions = { max_answer_tokens = 4 }",
        training: "",
        stack: "[]",
        fusion: "",
        score: "exact_match",
    },
    Case {
        name: "choice",
        data: "choice",
        task: "kind = \"multiple-choice\"",
        training: "",
        stack: "[\"factual\", \"linguistic\"]",
        fusion: "fusion = \"blocks\"\ntaps = [0, 3]",
        score: "accuracy",
    },
    Case {
        name: "typing",
        data: "typing",
        task: "kind = \"entity-typing\"\ndev = { share = 0.2 }",
        training: "",
        stack: "[\"linguistic\"]",
        fusion: "fusion = \"gated\"\ntaps = [3]",
        score: "micro_F1",
    },
    Case {
        name: "exclusive",
        data: "exclusive",
        task: "kind = \"entity-typing\"\nmetric = \"accuracy\"\noptions = { exclusive = true, dense = false }",
        training: "solver = \"ridge\"",
        stack: "[\"linguistic\"]",
        fusion: "fusion = \"blocks\"\ntaps = [0, 3, 5]\nless_taps = true",
        score: "strict_accuracy",
    },
    Case {
        name: "sequence",
        data: "sequence",
        task: "kind = \"sequence-classification\"",
        training: "",
        stack: "[\"factual\"]",
        fusion: "fusion = \"add\"",
        score: "accuracy",
    },
];

#[test]
fn every_kind_learns_and_its_package_is_scored_as_training_scored_it() {
    let (folder, manifest) = example("several");
    let folder = folder.path();
    let place = folder.join("kinds");
    fs::create_dir(&place).unwrap();
    for (name, [train, test]) in [
        ("span", spans()),
        ("choice", choices()),
        ("typing", typings()),
        ("exclusive", exclusive_typings()),
        ("sequence", sequences()),
    ] {
        write(&place.join(format!("{name}.jsonl")), &train);
        write(&place.join(format!("{name}-test.jsonl")), &test);
    }

    let text = fs::read_to_string(&manifest).unwrap();
    let (start, _) = text.split_once("[tasks.").unwrap();
    let mut tasks = start.replace("[registries]", "[registries]\nexample = \"mine\"");
    let mut trained = Vec::new();
    for Case { name, data, task, training, stack, fusion, .. } in CASES {
        let recipe = format!(
            "{start}[package]\nname = \"example/{name}\"\nlicense = \"CC0-1.0\"\n\
             [task]\n{task}\ntrain = \"{data}.jsonl\"\ntest = \"{data}-test.jsonl\"\n\
             [training]\nepochs = 30\nbatch = 4\n{training}\n[[variants]]\nstack = {stack}\n{fusion}\n"
        );
        fs::write(place.join(format!("{name}.toml")), recipe).unwrap();
        let package = format!("kinds/{name}.package");
        succeed(folder, &["train", "task", &format!("kinds/{name}.toml"), "--quiet"]);
        succeed(folder, &["publish", &package, "--registry", "mine"]);
        let log = fs::read_to_string(place.join(format!("{name}.log.jsonl"))).unwrap();
        let events = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let heads: Vec<Value> = events.filter(|event| event["event"] == "head").collect();
        assert_eq!(heads.len(), 1, "{name}: one variant, one seed");
        let test = heads[0]["test"].as_f64().unwrap();
        let card = fs::read_to_string(folder.join(&package).join("README.md")).unwrap();
        assert!(card.contains(&format!("| {:.2} |", test * 100.0)), "{name}: {test}\n{card}");
        trained.push(test);
        tasks += &format!("[tasks.{name}]\npackage = \"example/{name}\"\nversion = \"^1\"\nstack = {stack}\n");
    }

    fs::write(&manifest, tasks).unwrap();
    for (Case { name, data, score, .. }, trained) in CASES.into_iter().zip(trained) {
        let scored = |file: &str| {
            let printed = succeed(folder, &["eval", name, "--data", &format!("kinds/{file}.jsonl"), "--json"]);
            let printed: Value = serde_json::from_str(&printed).unwrap();
            printed["scores"][score].as_f64().unwrap_or_else(|| panic!("{name} has no {score}: {printed}"))
        };
        let test = scored(&format!("{data}-test"));
        assert!((test - trained).abs() < 1e-9, "{name}: eval says {test}, training said {trained}");
        // Two records of a test file contradict each other, so no head has them all.
        assert!(0.0 < test && test < 1.0, "{name}: {test}");
        // By chance it is two thirds at most.
        let learned = scored(data);
        assert!(learned > 0.9, "{name}: {learned} on what it was trained on");
    }
}

#[test]
fn texts_that_are_cut_are_counted() {
    let (folder, manifest) = example("several");
    let folder = folder.path();
    let text = fs::read_to_string(&manifest).unwrap();
    let (start, _) = text.split_once("[tasks.").unwrap();
    let [train, _] = sequences();
    write(&folder.join("train.jsonl"), &train);
    let recipe = format!(
        "{start}[package]\nname = \"example/cut\"\nlicense = \"CC0-1.0\"\n[task]\nkind = \"sequence-classification\"\n\
         truncate = true\nmax_length = 4\ntrain = \"train.jsonl\"\n[training]\nepochs = 1\n[[variants]]\nstack = []\n"
    );
    fs::write(folder.join("cut.toml"), recipe).unwrap();
    let printed = succeed(folder, &["train", "task", "cut.toml", "--quiet"]);
    // Four tokens are two of a text's: all texts have more.
    let line = format!("{} cut: longer than the task takes", train.len());
    assert!(printed.contains(&line), "{printed}");
    assert!(fs::read_to_string(folder.join("cut.package/README.md")).unwrap().contains(&line));
    let log = fs::read_to_string(folder.join("cut.log.jsonl")).unwrap();
    let event: Value = serde_json::from_str(log.lines().find(|line| line.contains("\"data\"")).unwrap()).unwrap();
    assert_eq!((&event["records"], &event["cut"]), (&json!(train.len()), &json!(train.len())), "{event}");
}

/// What a command prints that ends well.
fn succeed(folder: &Path, words: &[&str]) -> String {
    let ran = run(folder, words);
    assert!(ran.success, "{words:?}: {}", ran.stderr);
    ran.stdout
}

fn write(path: &Path, records: &[Value]) {
    fs::write(path, records.iter().map(|record| format!("{record}\n")).collect::<String>()).unwrap();
}

/// Records to learn from, and records to judge by.
type Data = [Vec<Value>; 2];

/// Which animal something is told of. Each word is one token and stands once in its context, and none is an article: so the F1 of
/// tokens, which training tells, is that of words.
fn spans() -> Data {
    let ask = |before: &str, answer: &str, behind: &str, has_start: bool| {
        let context = format!("{before} {answer} {behind}");
        let answers = if has_start {
            json!([{ "text": answer, "answer_start": context.find(answer).unwrap() }])
        } else {
            json!([answer])
        };
        json!({ "question": "which animal", "context": context, "answers": answers })
    };
    let (colors, animals) =
        (["red", "black", "small", "white"], ["fox", "horse", "cat", "wolf", "bear", "goat", "cow", "dog"]);
    let before = ["yesterday one", "we saw", "near town", "at last"];
    let behind = ["slept under trees", "crossed our road", "drank cold water", "ran home"];
    let train = (0..16).map(|place: usize| {
        let answer = format!("{} {}", colors[(place + place / 4) % 4], animals[place % 8]);
        ask(before[place % 4], &answer, behind[(place * 3 + place / 8) % 4], place % 2 == 1)
    });
    let mut test = vec![
        ask("every night", "young lion", "came back", false),
        ask("that", "red bear", "ran home", true),
        ask("then", "tall horse", "slept under trees", false),
        ask("here", "black goat", "drank milk", true),
    ];
    // The same context with half of the answer and another word.
    test.push(ask("here black", "goat drank", "milk", true));
    [train.collect(), test]
}

/// Which of two to four things is eaten.
fn choices() -> Data {
    let ask = |answers: &[&str], right: usize| {
        let answers: Vec<String> = answers.iter().map(|answer| format!("The {answer} .")).collect();
        let (context, question) = ("A basket stood on the table .", "What did she eat ?");
        json!({ "context": context, "question": question, "answers": answers, "label": right })
    };
    let fruits = ["apple", "pear", "plum", "cherry", "peach", "lemon", "grape", "melon"];
    let things = ["hammer", "window", "river", "engine", "blanket", "ladder", "mirror", "candle"];
    let train = (0..16).map(|place: usize| {
        let mut answers: Vec<&str> = (0..=place % 3).map(|more| things[(place * 3 + more) % 8]).collect();
        let right = place % (answers.len() + 1);
        answers.insert(right, fruits[place % 8]);
        ask(&answers, right)
    });
    let test = vec![
        ask(&["orange", "chair"], 0),
        ask(&["carpet", "banana"], 1),
        ask(&["mango", "brick"], 0),
        ask(&["bottle", "berry"], 1),
        ask(&["stone", "door"], 0),
        ask(&["stone", "door"], 1),
    ];
    [train.collect(), test]
}

fn mention(sentence: &str, mention: &str, labels: &[&str]) -> Value {
    let text = sentence.replace("{}", mention);
    let start = text.find(mention).unwrap();
    json!({ "text": text, "start": start, "end": start + mention.len(), "labels": labels })
}

/// Person or animal, and perhaps young.
fn typings() -> Data {
    let mentions: [(&str, &[&str]); 8] = [
        ("boy", &["person", "young"]),
        ("farmer", &["person"]),
        ("puppy", &["animal", "young"]),
        ("horse", &["animal"]),
        ("girl", &["person", "young"]),
        ("teacher", &["person"]),
        ("kitten", &["animal", "young"]),
        ("wolf", &["animal"]),
    ];
    let each = |sentence: &'static str| mentions.iter().map(move |&(name, labels)| mention(sentence, name, labels));
    let train = each("The {} slept .").chain(each("We saw the {} again ."));
    let mut test: Vec<Value> = each("Yesterday a {} came .").collect();
    test.extend(["animal", "person"].map(|label| mention("A {} fell .", "thing", &[label])));
    [train.collect(), test]
}

/// Person, animal or tool.
fn exclusive_typings() -> Data {
    let mentions = [
        ("boy", "person"),
        ("farmer", "person"),
        ("teacher", "person"),
        ("horse", "animal"),
        ("wolf", "animal"),
        ("kitten", "animal"),
        ("hammer", "tool"),
        ("saw", "tool"),
        ("shovel", "tool"),
    ];
    let each = |sentence: &'static str| mentions.iter().map(move |&(name, label)| mention(sentence, name, &[label]));
    let train = each("The {} was old .").chain(each("They found the {} there ."));
    let test = [
        ("girl", "person"),
        ("cow", "animal"),
        ("axe", "tool"),
        ("farmer", "person"),
        ("stone", "animal"),
        ("stone", "tool"),
    ];
    [train.collect(), test.map(|(name, label)| mention("Near the door a {} lay .", name, &[label])).to_vec()]
}

/// Weather or food.
fn sequences() -> Data {
    let of = |label: &str, texts: &[&str]| -> Vec<Value> {
        texts.iter().map(|text| json!({ "text": text, "label": label })).collect()
    };
    let weather = [
        "Heavy rain fell all night .",
        "The storm brought cold wind .",
        "Snow covered the hills .",
        "A warm sun shone this morning .",
        "Fog hid the valley .",
        "The frost came early .",
        "Hail and thunder followed .",
        "The sky cleared by noon .",
    ];
    let food = [
        "We ate bread and cheese .",
        "The soup needed more salt .",
        "She baked an apple pie .",
        "They ordered rice and fish .",
        "He fried two eggs .",
        "The cake was too sweet .",
        "Lunch was a bowl of noodles .",
        "I like butter on toast .",
    ];
    let test = [
        of("weather", &["A cold wind blew .", "Rain is expected .", "Dinner was late ."]),
        of("food", &["He ate the soup .", "She made pasta .", "Dinner was late ."]),
    ];
    [[of("weather", &weather), of("food", &food)].concat(), test.concat()]
}
