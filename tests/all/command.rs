//! The `kadapter` command end to end: what it answers, and one clear sentence for everything that is wrong.

use crate::golden::example;
use kadapter_tests::paths;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What became of a command.
pub(crate) struct Ran {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { success: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// The `kadapter` command in a folder, with `home` there as its user's.
pub(crate) fn command(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(paths::kadapter());
    command.args(words).current_dir(folder).env("KADAPTER_HOME", folder.join("home")).env("RUST_BACKTRACE", "0");
    command
}

pub(crate) fn run(folder: &Path, words: &[&str]) -> Ran {
    command(folder, words).stdin(Stdio::null()).output().unwrap().into()
}

fn run_with_input(folder: &Path, words: &[&str], input: &[u8]) -> Ran {
    let mut command = command(folder, words);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that refuses its arguments does not read.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().unwrap().into()
}

/// What stderr says, with the temporary folder taken out.
pub(crate) fn said(folder: &Path, ran: &Ran) -> String {
    assert!(!ran.success, "stdout: {}\nstderr: {}", ran.stdout, ran.stderr);
    let stderr = ran.stderr.replace(paths::workspace("").to_str().unwrap(), "WORKSPACE/");
    stderr.replace(folder.canonicalize().unwrap().to_str().unwrap(), "DIR").replace(folder.to_str().unwrap(), "DIR")
}

/// A text for the examples' relation tasks.
pub(crate) const TEXT: &str = "The <e1>handle</e1> of the old <e2>kettle</e2> broke off this morning .";

#[test]
fn a_text_gets_an_answer() {
    let (folder, _) = example("relation");
    let ran = run(folder.path(), &["run", "relation", TEXT]);
    assert!(ran.success, "{}", ran.stderr);
    assert!(ran.stdout.starts_with("Component-Whole(e1,e2)  (handle -> kettle)"), "{}", ran.stdout);
}

#[test]
fn lines_keep_their_order_and_a_bad_line_costs_only_itself() {
    let (folder, _) = example("several");
    let mut input =
        b"{\"text\": \"The <e1>storm</e1> caused a <e2>flood</e2> .\"}\n\n{\"text\": \"no marks\"}\n{not json}\n"
            .to_vec();
    input.extend(b"\xff\xfe broken\n");
    input.extend(TEXT.as_bytes());
    let ran = run_with_input(folder.path(), &["run", "nominals", "--json"], &input);
    assert!(!ran.success);
    let lines: Vec<serde_json::Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<_> = lines.iter().map(|line| line["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 3, 4, 5, 6]);
    assert_eq!(lines[0]["answer"]["label"], "Cause-Effect(e1,e2)");
    for bad in &lines[1..4] {
        assert!(bad["error"].is_string() && bad.get("answer").is_none(), "{bad}");
    }
    assert_eq!(lines[4]["answer"]["label"], "Component-Whole(e1,e2)");
}

/// More blank lines than are read at once must not look like the end of the input.
#[test]
fn a_record_behind_many_blank_lines_is_answered() {
    let (folder, _) = example("relation");
    let mut input = vec![b'\n'; 3 << 20];
    input.extend(TEXT.as_bytes());
    let ran = run_with_input(folder.path(), &["run", "relation", "--json"], &input);
    assert!(ran.success, "{}", ran.stderr);
    let answer: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(answer["line"], (3 << 20) + 1);
}

#[test]
fn stats_prove_one_pass_for_all_tasks() {
    let (folder, _) = example("several");
    let ran = run(folder.path(), &["run", "--all", "--stats", "--json", TEXT]);
    assert!(ran.success, "{}", ran.stderr);
    assert_eq!(ran.stdout.lines().count(), 2);
    let stats: serde_json::Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(stats["stats"]["backbone_passes"], 1);
    assert_eq!(stats["stats"]["adapter_passes"], serde_json::json!({ "factual": 1, "linguistic": 1 }));
}

#[test]
fn the_project_can_be_locked_fetched_verified_and_moved_away_from_its_registry() {
    let (folder, manifest) = example("relation");
    let plugins = folder.path().join("plugins");
    for words in [["lock"], ["fetch"], ["verify"], ["tree"]] {
        let ran = run(folder.path(), &words);
        assert!(ran.success, "{words:?}: {}", ran.stderr);
    }
    let tree = run(folder.path(), &["tree"]).stdout;
    for license in ["Apache-2.0", "CC-BY-NC-4.0", "CC-BY-SA-4.0", "CC-BY-3.0"] {
        assert!(tree.contains(license), "{tree}");
    }
    // Fetched, the project needs no registry.
    fs::rename(&plugins, folder.path().join("moved")).unwrap();
    let text = fs::read_to_string(&manifest).unwrap();
    assert!(run(folder.path(), &["run", "--frozen", "relation", TEXT]).success, "{text}");
    let info = run(folder.path(), &["info", "kadapter/minilm-roberta"]);
    assert!(info.stdout.contains("all-MiniLM-L6-v2") && info.stdout.contains("Apache-2.0"), "{}", info.stdout);
}

#[test]
fn a_tampered_blob_is_found_and_not_used() {
    let (folder, _) = example("relation");
    assert!(run(folder.path(), &["fetch"]).success);
    let mut blobs = Vec::new();
    let mut folders = vec![folder.path().join("home")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() { folders.push(entry.path()) } else { blobs.push(entry.path()) }
        }
    }
    let largest = blobs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let mut permissions = fs::metadata(largest).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "the file is in a temporary folder")]
    permissions.set_readonly(false);
    fs::set_permissions(largest, permissions).unwrap();
    fs::write(largest, bytes).unwrap();
    let ran = run(folder.path(), &["run", "relation", TEXT]);
    let said = said(folder.path(), &ran);
    assert!(said.contains("digest") && ran.stdout.is_empty(), "{said}");
    assert!(!run(folder.path(), &["verify"]).success);
}

#[test]
fn what_cannot_be_run_is_said_in_one_sentence() {
    let (folder, manifest) = example("relation");
    let dir = folder.path();
    let refuse = |words: &[&str]| said(dir, &run(dir, words));
    insta::assert_snapshot!(refuse(&["run", "relatoin", TEXT]), @"
    error: no task is named `relatoin`, expected one of `relation`
      hint: see the project's tasks with `kadapter tree`
    ");
    insta::assert_snapshot!(refuse(&["run", "relation", "--manifest", "nowhere.toml", TEXT]), @r"
    error: Could not find a manifest at `DIR/nowhere.toml`
      hint: name the project's manifest: `--manifest FILE`
    ");
    insta::assert_snapshot!(refuse(&["run", "relation", ""]), @r#"
    error: The record is empty
      hint: give a text, or `{"text": "…"}`
    "#);
    insta::assert_snapshot!(refuse(&["run", "relation", "no marks at all"]), @r#"
    error: relation: The text has no `<e1>`
      hint: a record of kind `relation-classification`: `<e1>Ada</e1> was born in <e2>London</e2>.` or `{"text": "Ada was born in London.", "subject": [0, 3], "object": [16, 22]}`
    "#);
    insta::assert_snapshot!(refuse(&["run", "relation", "{\"text\": \"Ada\", \"subject\": [0, 3], \"object\": [4, 9]}"]), @r#"
    error: relation: The object ends at 9, the text has 3 characters
      hint: a record of kind `relation-classification`: `<e1>Ada</e1> was born in <e2>London</e2>.` or `{"text": "Ada was born in London.", "subject": [0, 3], "object": [16, 22]}`
    "#);
    insta::assert_snapshot!(refuse(&["run", "relation", &format!("{TEXT}{}", " and so on".repeat(300))]), @r"
    error: relation: The text is longer than the backbone takes: 917 tokens, at most 128 are read
      hint: shorten the text or have it cut with `--truncate`
    ");
    insta::assert_snapshot!(refuse(&["run", "relation", "--device", "cuda", TEXT]), @r"
    error: Could not use `cuda:0`: this `kadapter` was built without the feature `cuda`
      hint: build it with `cargo build --release --features cuda`, or use `--device cpu`
    ");
    insta::assert_snapshot!(refuse(&["run", "relation", "--dtype", "bf16", TEXT]), @r"
    error: Could not compute in `bf16` on the CPU, expected `f32`
      hint: use `--dtype f32`, or a GPU with `--device cuda`
    ");
    insta::assert_snapshot!(refuse(&["info", "kadapter/nothing"]), @r"
    error: Could not find `kadapter/nothing` in `WORKSPACE/registry/seed`
      hint: see what there is: `kadapter search --registry WORKSPACE/registry/seed`
    ");
    let ran = run_with_input(dir, &["run", "relation"], b"\n\n");
    insta::assert_snapshot!(said(dir, &ran), @r#"
    error: the input is empty, expected at least one record
      hint: give a text, or one JSON object per line: {"text": "…"}
    "#);

    let text = fs::read_to_string(&manifest).unwrap();
    let with = |from: &str, to: &str| {
        assert!(text.contains(from));
        let _ = fs::remove_file(manifest.with_extension("lock"));
        fs::write(&manifest, text.replace(from, to)).unwrap();
        refuse(&["run", "relation", TEXT])
    };
    insta::assert_snapshot!(with("[tasks.relation]", "[tasks.relation"), @"error: Could not read `DIR/kadapter.toml` at line 15: unclosed table, expected `]`");
    insta::assert_snapshot!(with("stack = [\"factual\", \"linguistic\"]", "stack = [\"factual\", \"lingustic\"]"), @r"
    error: Could not accept `DIR/kadapter.toml`: [tasks.relation] stacks `lingustic`, but [adapters] has `factual` and `linguistic`
      hint: perhaps `linguistic` is meant
    ");
    insta::assert_snapshot!(with("stack = [\"factual\", \"linguistic\"]", "stack = [\"linguistic\", \"factual\"]"), @r#"
    error: Could not find a version of `kadapter/semeval-relation` for [tasks.relation]: 2.0.0 has no variant for the stack [`linguistic`, `factual`], only for [`factual`, `linguistic`], [`factual`], [`linguistic`]
      hint: choose one of these stacks, such as `stack = ["factual", "linguistic"]`
    "#);
    insta::assert_snapshot!(with("factual = { package = \"kadapter/factual\", version = \"^2\" }", "factual = { package = \"kadapter/factual\", version = \"^7\" }"), @r"
    error: Could not find a version of `kadapter/factual` for [adapters.factual]: 2.0.0 is outside `^7`
      hint: see what there is and widen the requirement: `kadapter info kadapter/factual`
    ");
    insta::assert_snapshot!(with("[backbone]\npackage", "[backbone]\npakage"), @r"
    error: Could not read `DIR/kadapter.toml` at line 8: unknown key `pakage`, expected one of package, version
      hint: perhaps `package` is meant
    ");
    assert!(!manifest.with_extension("lock").exists(), "a refused manifest must not leave a lock");
}

#[test]
fn a_long_text_may_be_cut_when_that_is_asked_for() {
    let (folder, _) = example("relation");
    let text = format!("{TEXT}{}", " and so on".repeat(300));
    let ran = run(folder.path(), &["run", "relation", "--truncate", &text]);
    assert!(ran.success && ran.stdout.starts_with("Component-Whole"), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn forward_writes_what_other_implementations_can_be_compared_with() {
    use kadapter_host::weights::Reader;
    let (folder, _) = example("several");
    // input_ids, attention_mask and positions as I64, written by hand: header, then values.
    let ids: [i64; 16] =
        [101, 1996, 1030, 8372, 1030, 3303, 1037, 2146, 1001, 26717, 1001, 1999, 1996, 3028, 1012, 102];
    let header = serde_json::json!({
        "input_ids": { "dtype": "I64", "shape": [1, 16], "data_offsets": [0, 128] },
        "attention_mask": { "dtype": "I64", "shape": [1, 16], "data_offsets": [128, 256] },
        "positions": { "dtype": "I64", "shape": [1, 2], "data_offsets": [256, 272] },
    })
    .to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    for value in ids.into_iter().chain([1; 16]).chain([2, 8]) {
        bytes.extend(value.to_le_bytes());
    }
    fs::write(folder.path().join("in.safetensors"), bytes).unwrap();
    let words = ["forward", "--ids", "in.safetensors", "--out", "out.safetensors", "--task", "nominals"];
    let ran = run(folder.path(), &words);
    assert!(ran.success, "{}", ran.stderr);
    let reader = Reader::open(&folder.path().join("out.safetensors"), None).unwrap();
    let mut tensors: Vec<_> =
        reader.header().tensors().iter().map(|info| (info.name.clone(), info.shape.clone())).collect();
    tensors.sort();
    let mut expected: Vec<_> = (0..7).map(|index| (format!("hidden.{index}"), vec![1, 16, 384])).collect();
    expected.extend([("adapter.factual".into(), vec![1, 16, 384]), ("adapter.linguistic".into(), vec![1, 16, 384])]);
    expected.push(("logits.nominals".into(), vec![1, 19]));
    expected.sort();
    assert_eq!(tensors, expected);

    fs::write(folder.path().join("bad.safetensors"), (100_u64 << 20).to_le_bytes()).unwrap();
    let ran = run(folder.path(), &["forward", "--ids", "bad.safetensors", "--out", "none.safetensors"]);
    insta::assert_snapshot!(said(folder.path(), &ran), @r"
    error: Could not read the weights `bad.safetensors`: its header is 104857600 bytes long, at most 1048576 are allowed
      hint: the file is damaged or another one: delete `bad.safetensors` and fetch it again with `kadapter fetch`
    ");
    assert!(!folder.path().join("none.safetensors").exists());
}

#[test]
fn a_malicious_pickle_is_refused_and_leaves_nothing() {
    let (folder, _) = example("relation");
    // GLOBAL os.system, called with a text: what `torch.load` would run.
    let pickle = b"\x80\x02cos\nsystem\nX\x0a\x00\x00\x00touch ownedq\x00\x85q\x01Rq\x02.";
    fs::write(folder.path().join("evil.bin"), pickle).unwrap();
    let seed = paths::workspace("registry/seed");
    let words = ["import", "adapter", "evil.bin", "--name", "x/evil", "--plugin", "kadapter-plugins/factual"];
    let more = [
        "--backbone",
        "kadapter/minilm-roberta",
        "--registry",
        seed.to_str().unwrap(),
        "--taps",
        "0,3,5",
        "--heads",
        "6",
    ];
    let last = ["--license", "MIT", "--out", "evil"];
    let ran = run(folder.path(), &[&words[..], &more[..], &last[..]].concat());
    let said = said(folder.path(), &ran);
    assert!(said.contains("hint"), "{said}");
    assert!(!folder.path().join("evil").exists() && !folder.path().join("owned").exists());
}

#[test]
fn an_untrained_adapter_can_be_made_published_and_stacked() {
    let (folder, manifest) = example("third-party");
    let seed = paths::workspace("registry/seed");
    let words = [
        "init",
        "--name",
        "examples/bottleneck",
        "--plugin",
        "kadapter-plugins/bottleneck",
        "--plugin-registry",
        "plugins",
    ];
    let more =
        ["--backbone", "kadapter/minilm-roberta", "--backbone-registry", seed.to_str().unwrap(), "--taps", "0,3,6"];
    let last = ["--config", "size=16", "--out", "bottleneck-adapter"];
    let ran = run(folder.path(), &[&words[..], &more[..], &last[..]].concat());
    assert!(ran.success, "{}", ran.stderr);
    let ran = run(folder.path(), &["publish", "bottleneck-adapter", "--registry", "plugins"]);
    assert!(ran.success, "{}", ran.stderr);
    let ran = run(folder.path(), &["run", "--all", "--json", TEXT]);
    assert!(ran.success, "{} {}", ran.stderr, manifest.display());
    let answers: Vec<serde_json::Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let features = answers.iter().find(|answer| answer["task"] == "features").unwrap();
    assert_eq!(features["answer"]["width"], 3 * 384);
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_ends_the_command_without_a_word() {
    let (folder, _) = example("relation");
    let mut child = command(folder.path(), &["tree"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
