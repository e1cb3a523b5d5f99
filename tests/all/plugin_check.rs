//! `kadapter plugin check`: good plugins pass, and every fault is found by the check that names it.

use kadapter_tests::paths;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs `kadapter plugin check`.
fn check(file: &Path, words: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(paths::kadapter());
    command.args(["plugin", "check"]).arg(file).args(words).envs(environment.iter().copied());
    let output = command.env("RUST_BACKTRACE", "0").stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Per check, its status and details.
type Found = BTreeMap<String, (String, String)>;

fn found(file: &Path, words: &[&str], environment: &[(&str, &str)]) -> (Found, Option<i32>) {
    let ran = check(file, &[words, &["--json"]].concat(), environment);
    let report: serde_json::Value =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr));
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let one = |check: &serde_json::Value| (text(&check["id"]), (text(&check["status"]), text(&check["details"])));
    (report["checks"].as_array().unwrap().iter().map(one).collect(), ran.code)
}

/// The checks that failed or crashed.
fn bad(found: &Found) -> BTreeMap<&str, &str> {
    let is_bad = |(_, (status, _)): &(&String, &(String, String))| status == "failed" || status == "crashed";
    found.iter().filter(is_bad).map(|(id, (status, _))| (id.as_str(), status.as_str())).collect()
}

/// The output with what differs from run to run taken out.
fn redacted(ran: &Ran) -> String {
    let line = |line: &str| {
        let mut line = line.replace(paths::built().to_str().unwrap(), "BUILT");
        for (start, end) in
            [("rustc ", ")"), ("forward-time               success  ", " ms"), ("the largest difference is ", " of")]
        {
            if let Some(at) = line.find(start).map(|at| at + start.len())
                && let Some(length) = line[at..].find(end)
            {
                line.replace_range(at..at + length, "…");
            }
        }
        line
    };
    ran.stdout.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// What the networks of the paper are built with here.
const K_ADAPTER: [&str; 6] = ["--config", "size=16", "--config", "heads=4", "--config", "layers=1"];

/// Plugins with objectives, and records for them.
fn good() -> [(&'static str, Vec<&'static str>); 4] {
    let factual = [
        "--objective",
        "labels=[\"born\", \"capital\"]",
        "--record",
        "{\"text\": \"<e1>Ada</e1> was born in <e2>London</e2>\", \"relation\": \"born\"}",
        "--record",
        "{\"token\": [\"Paris\", \"is\", \"in\", \"France\"], \"subj_start\": 3, \"subj_end\": 3, \"obj_start\": 0, \"obj_end\": 0, \
         \"relation\": \"capital\"}",
    ];
    let sentences = [
        "--record",
        "{\"words\": [\"she\", \"reads\", \"old\", \"books\"], \"heads\": [2, 0, 4, 2]}",
        "--record",
        "{\"sent\": \"he sleeps\", \"tokens\": [{\"1\": {\"start\": 0, \"end\": 2}}, {\"2\": {\"start\": 3, \"end\": 9}}], \
         \"pairs\": [{\"dependent_index\": 1, \"governor_index\": 2}, {\"dependent_index\": 2, \"governor_index\": 0}]}",
    ];
    let official = ["--objective", "head=\"official\"", "--objective", "last_word=\"keep\""];
    let texts =
        ["--record", "{\"text\": \"one two three four\"}", "--record", "{\"text\": \"the cat sat on the mat\"}"];
    [
        ("factual", [&K_ADAPTER[..], &factual].concat()),
        ("linguistic", [&K_ADAPTER[..], &sentences].concat()),
        ("linguistic", [&K_ADAPTER[..], &official, &sentences].concat()),
        ("bottleneck", texts.to_vec()),
    ]
}

#[test]
fn good_plugins_pass_everything() {
    for (name, words) in good() {
        let (found, code) = found(&paths::plugin(name), &words, &[]);
        assert_eq!(code, Some(0), "{name}: {found:?}");
        for (id, (status, details)) in &found {
            let expected = if id == "package-agrees" { "skipped" } else { "success" };
            assert_eq!(status, expected, "{name}: {id}: {details}");
        }
    }
}

/// A plugin without an objective, or one whose author gave no configuration or no record, is not bad for that.
#[test]
fn objectives_are_skipped_where_there_is_nothing_to_go_by() {
    let objective = |name: &str, words: &[&str]| {
        let (found, code) = found(&paths::plugin(name), words, &[]);
        assert_eq!(code, Some(0), "{name}: {found:?}");
        (found["objective-build"].clone(), found["objective-encodes"].clone())
    };
    let told = |status: &str, details: &str| (status.to_owned(), details.to_owned());
    let waits = told("skipped", "`objective-build` was skipped");
    let expected = told("skipped", "the plugin brings no objective");
    assert_eq!(objective("frozen", &[]), (expected, waits.clone()));
    let said = "`labels` names 0 relations, expected at least 2: the values of `relation` in the data; give `--objective KEY=VALUE`";
    assert_eq!(objective("factual", &K_ADAPTER), (told("skipped", said), waits));
    let said = "no record was given; give some with `--record '{\"text\": \"…\"}'`";
    let built = told("success", "2 parameters, 130 values");
    assert_eq!(objective("bottleneck", &[]), (built, told("skipped", said)));
}

#[test]
fn the_report_is_one_line_per_check() {
    let ran = check(&paths::plugin("bottleneck"), &[], &[]);
    insta::assert_snapshot!(redacted(&ran), @r#"
    library-format             success
    entry-and-note             success  kadapter-bottleneck 1.1.0, built by rustc …)
    abi-version                success  1.1.0
    package-agrees             skipped  no package of a plugin was given; give one with `--package DIR`
    open                       success
    layout                     success
    build                      success
    forward                    success
    drop                       success
    instances                  success
    process-end                success
    unknown-key-refused        success
    wrong-type-refused         success
    output-shape               success
    deterministic              success
    finite-on-random-taps      success
    finite-on-extreme-taps     success
    row-alone                  success
    segment-order              success
    segments-apart             success
    parameters-declared        success  17 parameters, 25280 values
    parameters-are-read        success
    parameters-have-effect     success
    parameters-have-gradients  success
    objective-build            success  2 parameters, 130 values
    objective-refuses-records  success
    objective-encodes          skipped  no record was given; give some with `--record '{"text": "…"}'`
    objective-loss             skipped  `objective-encodes` was skipped
    objective-weight           skipped  `objective-loss` was skipped
    objective-tally            skipped  `objective-encodes` was skipped
    objective-gradients        skipped  `objective-loss` was skipped
    agrees-with-reference      success  the largest difference is … of the largest feature
    failed-ops-are-errors      success  each of 20 ops
    thread-safety              success
    memory-growth              success
    forward-time               success  … ms for 256 tokens of hidden size 64, on one thread
    no-files-written           success
    no-threads                 success
    no-processes               success
    no-network                 success
    no-printing                success
    41 checks: 35 success, 0 warning, 0 failed, 0 crashed, 6 skipped
    "#);
}

#[test]
fn what_is_wrong_is_said_with_what_was_expected() {
    let words = ["--config", "fault=\"not-finite\"", "--only-failed"];
    let ran = check(&paths::plugin("faulty"), &words, &[]);
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(redacted(&ran), @r"
    finite-on-random-taps      failed   on random hidden states, the feature in row 0 and column 0 is -inf
                                        expected: hidden states as a backbone gives them lead to finite features
    finite-on-extreme-taps     failed   on zeros, the feature in row 0 and column 0 is -inf
                                        expected: zeros, large, tiny and constant hidden states, and segments of one token, lead to finite features
    parameters-are-read        failed   `gain` is never read
                                        expected: every declared parameter is read in a forward
    41 checks: 29 success, 0 warning, 3 failed, 0 crashed, 9 skipped
    ");
    let ran = check(&paths::plugin("bad"), &["--config", "fault=\"segfault-forward\"", "--only-failed"], &[]);
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(redacted(&ran), @r"
    forward                    crashed  in `forward`, the process was killed by SIGSEGV (a wrong access to memory)
                                        expected: a forward comes back: no panic, no crash, no endless loop
    41 checks: 13 success, 0 warning, 0 failed, 1 crashed, 27 skipped
    ");
    let ran = check(&paths::plugin("factual"), &["--only-failed"], &[]);
    insta::assert_snapshot!(redacted(&ran), @r"
    build                      failed   configuration key `size` is missing, expected an integer
                                        expected: an adapter can be built: no error, no panic
    41 checks: 5 success, 0 warning, 1 failed, 0 crashed, 35 skipped
    ");
    insta::assert_snapshot!(ran.stderr, @"  hint: say how adapters are built: `--config KEY=VALUE`, or `--package` with an adapter's package");
}

/// A fault in the configuration of `faulty`, which checks must be bad, and what the first of them says.
fn finds(plugin: &str, fault: &str, expected: &[(&str, &str)], said: &str) {
    let limit = if fault.starts_with("endless") { "2" } else { "60" };
    let config = format!("fault=\"{fault}\"");
    let (found, code) = found(&paths::plugin(plugin), &["--config", &config, "--time-limit", limit], &[]);
    assert_eq!(bad(&found), expected.iter().copied().collect(), "{fault}: {found:?}");
    assert_eq!(code, Some(1), "{fault}");
    let (_, details) = &found[expected[0].0];
    assert!(details.contains(said), "{fault}: {details}");
}

#[test]
fn without_a_fault_the_bad_plugins_are_good() {
    for plugin in ["faulty", "bad"] {
        let (found, code) = found(&paths::plugin(plugin), &[], &[]);
        assert_eq!((bad(&found), code), (BTreeMap::new(), Some(0)), "{plugin}: {found:?}");
    }
}

#[test]
fn panics_are_found_where_they_are() {
    finds("faulty", "panic-build", &[("build", "failed")], "the adapter panicked in `build`: built to panic");
    finds("faulty", "panic-forward", &[("forward", "failed")], "the adapter panicked in `forward`: run to panic");
    let expected = [("drop", "failed")];
    finds("faulty", "panic-drop", &expected, "the adapter panicked in `drop`: assertion `left != right` failed");
    let expected = [("failed-ops-are-errors", "failed")];
    finds("faulty", "careless", &expected, "when op 3 of a forward failed, the adapter panicked in `forward`");
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_that_dies_is_a_report() {
    for stage in ["build", "forward", "drop"] {
        let said = format!("in `{stage}`, the process was killed by SIGSEGV (a wrong access to memory)");
        finds("bad", &format!("segfault-{stage}"), &[(stage, "crashed")], &said);
    }
    finds("faulty", "abort", &[("forward", "crashed")], "in `forward`, the process was killed by SIGABRT");
    let said = "in `forward`, the process ended with status 0 before it was done";
    finds("faulty", "exit", &[("forward", "crashed")], said);
    finds("faulty", "endless-loop", &[("forward", "crashed")], "in `forward`, the process was not done after 2 s");
}

/// A limit of the address space makes it an abort, long before the machine's memory ends.
#[cfg(target_os = "linux")]
#[test]
fn allocation_without_end_is_a_report() {
    let (found, _) = found(&paths::plugin("faulty"), &["--config", "fault=\"endless-memory\"", "forward"], &[]);
    let (status, details) = &found["forward"];
    assert_eq!(status, "crashed");
    insta::assert_snapshot!(details, @"in `forward`, the process was killed by SIGABRT (it aborted itself); it said: memory allocation of 67108864 bytes failed");
}

#[test]
fn wrong_features_are_found_by_what_is_wrong_about_them() {
    finds("faulty", "wrong-shape", &[("output-shape", "failed")], "the adapter gave [1, 1], expected [1, 64]");
    finds("faulty", "wrong-op", &[("output-shape", "failed")], "`matmul`: the inner dimensions of");
    finds("faulty", "error-forward", &[("output-shape", "failed")], "run to fail");
    finds("faulty", "error-build", &[("build", "failed")], "`fault` is error-build, expected none");
    let not_finite = [("finite-on-random-taps", "failed"), ("finite-on-extreme-taps", "failed")];
    let said = "on random hidden states, the feature in row 0 and column 0 is";
    // What it computes does not depend on its parameter.
    let also = [("parameters-are-read", "failed")];
    finds("faulty", "not-finite", &[&not_finite[..], &also].concat(), said);
    let mixed = [("segments-apart", "failed"), ("row-alone", "failed"), ("segment-order", "failed")];
    finds("faulty", "mixed-segments", &mixed, "gives another feature when another segment changes");
    let (found, _) = found(&paths::plugin("faulty"), &["--config", "fault=\"counting\"", "deterministic"], &[]);
    assert!(found["deterministic"].1.contains("in a second forward"), "{found:?}");
}

#[test]
fn parameters_that_are_not_used_are_named() {
    finds("faulty", "unused-parameter", &[("parameters-are-read", "failed")], "`idle` is never read");
    let expected = [("parameters-have-effect", "failed"), ("parameters-have-gradients", "failed")];
    finds("faulty", "idle-parameter", &expected, "`idle` is read and changes nothing");
}

#[test]
fn parameters_that_no_gradient_reaches_are_named() {
    let said = "`gain` gets no gradient; what is read with `read_f32` and put back with `from_f32` has none";
    finds("faulty", "detached", &[("parameters-have-gradients", "failed")], said);
}

/// A fault of the objective of `faulty` or `bad`, which checks must be bad, and what the first of them says.
fn objects(plugin: &str, fault: &str, expected: &[(&str, &str)], said: &str) {
    let objective = format!("fault=\"{fault}\"");
    let words = ["--objective", &objective, "--record", "{\"text\": \"one two\"}", "--record", "{\"text\": \"three\"}"];
    let (found, code) = found(&paths::plugin(plugin), &words, &[]);
    assert_eq!(bad(&found), expected.iter().copied().collect(), "{fault}: {found:?}");
    assert_eq!(code, Some(i32::from(!expected.is_empty())), "{fault}");
    if let Some((first, _)) = expected.first() {
        let (_, details) = &found[*first];
        assert!(details.contains(said), "{fault}: {details}");
    }
}

#[test]
fn objectives_that_panic_or_fail_are_found_where_they_do() {
    objects("faulty", "none", &[], "");
    let panicked = |place: &str, said: &str| format!("the adapter panicked in `{place}`: {said}");
    let build = [("objective-build", "failed")];
    objects("faulty", "panic-build", &build, &panicked("build", "built to panic"));
    objects("faulty", "error-build", &build, "`fault` is error-build, expected none");
    let encode = [("objective-refuses-records", "failed"), ("objective-encodes", "failed")];
    objects("faulty", "panic-encode", &encode, &panicked("encode", "encoded to panic"));
    let (loss, tally) = ([("objective-loss", "failed")], [("objective-tally", "failed")]);
    objects("faulty", "panic-loss", &loss, &panicked("loss", "judged to panic"));
    objects("faulty", "error-loss", &loss, "judged to fail");
    objects("faulty", "panic-tally", &tally, &panicked("tally", "counted to panic"));
    objects("faulty", "panic-metrics", &tally, &panicked("metrics", "told to panic"));
}

#[test]
fn objectives_that_read_records_wrongly_are_found() {
    let (refuses, encodes) = ([("objective-refuses-records", "failed")], [("objective-encodes", "failed")]);
    objects(
        "faulty",
        "takes-anything",
        &refuses,
        "a record without any field is taken, expected an error that names a field",
    );
    objects("faulty", "speechless", &refuses, "a record is refused without a word, expected what is wrong with it");
    objects("faulty", "careless-record", &refuses, "the adapter panicked in `encode`");
    objects("faulty", "outside", &encodes, "the example reads row 4 of segment 0, which has 4 tokens");
    objects("faulty", "leaves-out", &encodes, "every record is left out: it is a Monday; it is a Monday");
    let silent = "the record is cut without a word, expected what is lost of it";
    objects("faulty", "cuts-silently", &encodes, silent);
    objects("faulty", "counting", &encodes, "a record became another example the second time");
}

#[test]
fn objectives_that_judge_wrongly_are_found() {
    let (loss, tally) = ([("objective-loss", "failed")], [("objective-tally", "failed")]);
    objects("faulty", "not-finite", &loss, "expected one finite number and a weight above 0");
    objects("faulty", "wrong-shape", &loss, "the loss is [2, 3], expected [1, 1]");
    objects("faulty", "no-weight", &loss, "the loss has weight 0, expected more than 0");
    let weight = [("objective-weight", "failed")];
    objects("faulty", "wrong-weight", &weight, "its 2 examples together");
    objects("faulty", "secret-reader", &loss, "row 0 is named, expected rows below 0");
    objects("faulty", "mean-tally", &tally, "of the batch's tally is");
    objects("faulty", "no-metrics", &tally, "no metric is said, expected at least one to choose by");
    objects("faulty", "bad-metric", &tally, "the metric `accuracy` is NaN, expected a finite number");
    let gradients = [("objective-gradients", "failed")];
    objects("faulty", "detached", &gradients, "`the adapter's features` gets no gradient");
    objects("faulty", "idle-parameter", &gradients, "`idle` gets no gradient");
}

#[cfg(target_os = "linux")]
#[test]
fn an_objective_that_ends_the_process_is_a_report() {
    let segfault = |place: &str| format!("in `{place}`, the process was killed by SIGSEGV (a wrong access to memory)");
    let encode = [("objective-encodes", "crashed"), ("objective-refuses-records", "crashed")];
    objects("bad", "segfault-encode", &encode, &segfault("encode"));
    objects("bad", "segfault-loss", &[("objective-loss", "crashed")], &segfault("loss"));
}

#[test]
fn lenient_configurations_shared_places_and_leaks_are_found() {
    finds("faulty", "lenient", &[("wrong-type-refused", "failed")], "`lenient` may be a boolean and a list of texts");
    let (found, _) = found(&paths::plugin("faulty"), &["--config", "fault=\"shared-scratch\""], &[]);
    // Of one instance alone it shows only that rows see the first one.
    assert_eq!(found["thread-safety"].0, "failed", "{found:?}");
    if cfg!(target_os = "linux") {
        finds("faulty", "leak", &[("memory-growth", "failed")], "KiB in 1000 forwards, expected less than 4096 KiB");
    }
}

#[test]
fn printing_is_worth_a_look() {
    let (found, code) = found(&paths::plugin("faulty"), &["--config", "fault=\"printing\""], &[]);
    assert_eq!(code, Some(0), "{found:?}");
    assert_eq!(found["no-printing"].0, "warning");
    assert!(found["no-printing"].1.contains("it printed `running`"), "{found:?}");
}

/// A constructor's fault, which checks must be bad, and what the first of them says. The file that it may write is left where it is.
#[cfg(target_os = "linux")]
fn constructs(folder: &Path, fault: &str, words: &[&str], expected: &[(&str, &str)], said: &str) {
    let file = folder.join("written");
    let environment = [("KADAPTER_BAD_CONSTRUCTOR", fault), ("KADAPTER_BAD_FILE", file.to_str().unwrap())];
    let (found, code) = found(&paths::plugin("bad"), words, &environment);
    assert_eq!(bad(&found), expected.iter().copied().collect(), "{fault}: {found:?}");
    assert_eq!(code, Some(1), "{fault}");
    let (_, details) = &found[expected[0].0];
    assert!(details.contains(said), "{fault}: {details}");
}

#[cfg(target_os = "linux")]
#[test]
fn constructors_with_effects_are_found_by_the_effect() {
    let folder = TempDir::new().unwrap();
    for (fault, check, effect) in [
        ("write", "no-files-written", "it opened a file for writing, or made, moved or removed one"),
        ("thread", "no-threads", "it started a thread"),
        ("process", "no-processes", "it started a process"),
        ("network", "no-network", "it opened a socket"),
    ] {
        let said = format!("while the plugin was opened, {effect}");
        // The check alone: the process ends before the effect.
        constructs(folder.path(), fault, &[check], &[(check, "failed")], &said);
        assert!(!folder.path().join("written").exists(), "{fault}");
        // Among all checks it is the only one; the thread writes when it has slept, if its process lives on.
        constructs(folder.path(), fault, &[], &[(check, "failed")], &said);
        let _ = fs::remove_file(folder.path().join("written"));
    }
    let environment = [("KADAPTER_BAD_CONSTRUCTOR", "print")];
    let (found, _) = found(&paths::plugin("bad"), &["no-printing"], &environment);
    assert!(found["no-printing"].1.contains("it printed `hello from a constructor`"), "{found:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn constructors_that_end_the_process_are_found_by_open() {
    let folder = TempDir::new().unwrap();
    for (fault, said) in [
        ("exit", "while the plugin was opened, the process ended with status 0 before it was done"),
        ("segfault", "while the plugin was opened, the process was killed by SIGSEGV"),
        ("abort", "while the plugin was opened, the process was killed by SIGABRT"),
        ("loop", "while the plugin was opened, the process was not done after 2 s"),
    ] {
        constructs(folder.path(), fault, &["--time-limit", "2"], &[("open", "crashed")], said);
    }
    let said = "while the plugin was opened, the process was killed by SIGABRT (it aborted itself); it said: memory allocation of";
    constructs(folder.path(), "memory", &[], &[("open", "crashed")], said);
    let said = "when the process was to end, the process was killed by SIGSEGV";
    constructs(folder.path(), "end", &[], &[("process-end", "crashed")], said);
}

#[test]
fn files_that_are_no_plugins_are_found_before_anything_is_opened() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("plugin.so");
    let whole = fs::read(paths::plugin("bottleneck")).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let (report, _) = found(&file, &[], &[]);
    assert_eq!(bad(&report), BTreeMap::from([("library-format", "failed")]));
    assert!(report.values().filter(|(status, _)| status == "skipped").count() > 20);
    let with_abi = |abi: &[u8; 9]| {
        let mut bytes = whole.clone();
        let at = bytes.windows(9).position(|window| window == b"abi=1.1.0").unwrap();
        bytes[at..at + 9].copy_from_slice(abi);
        fs::write(&file, &bytes).unwrap();
    };
    with_abi(b"abi=2.0.0");
    let (report, _) = found(&file, &[], &[]);
    assert_eq!(bad(&report), BTreeMap::from([("abi-version", "failed")]));
    with_abi(b"abi=1.9.0");
    let (report, code) = found(&file, &["abi-version"], &[]);
    assert_eq!((report["abi-version"].0.as_str(), code), ("warning", Some(0)));
}

#[test]
fn a_package_is_compared_with_its_library_and_an_adapter_s_says_how_to_build() {
    let folder = TempDir::new().unwrap();
    let target = kadapter_registry::Target::host();
    let file = paths::plugin("factual");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let plugin = |version: &str| {
        write(
            "kadapter-package.toml",
            &format!(
                "schema = 1\n[package]\nname = \"a/factual\"\nversion = \"{version}\"\nkind = \"plugin\"\nlicense = \"MIT\"\n\
                 description = \"A plugin\"\n[plugin]\nabi = \"1.1\"\n[plugin.libraries]\n\"{target}\" = \"library.so\"\n"
            ),
        );
    };
    let package = folder.path().to_str().unwrap();
    let agrees = || found(&file, &["package-agrees", "--package", package], &[]).0.remove("package-agrees").unwrap();
    fs::copy(&file, folder.path().join("library.so")).unwrap();
    plugin("1.1.0");
    assert_eq!(agrees().0, "success");
    plugin("1.1.1");
    assert!(agrees().1.contains("says version `1.1.0`, expected `1.1.1`"), "{:?}", agrees());
    fs::copy(paths::plugin("bottleneck"), folder.path().join("library.so")).unwrap();
    assert!(agrees().1.contains("has digest"), "{:?}", agrees());

    let digest = kadapter_registry::Digest::of(b"weights");
    write(
        "kadapter-package.toml",
        &format!(
            "schema = 1\n[package]\nname = \"a/adapter\"\nversion = \"1.0.0\"\nkind = \"adapter\"\nlicense = \"MIT\"\n\
             description = \"An adapter\"\n[adapter]\nweights = \"weights.safetensors\"\ntaps = [0, 14]\n\
             plugin = {{ package = \"a/factual\", version = \"^1\" }}\nbackbone = {{ package = \"a/b\", weights = \"{digest}\" }}\n\
             [adapter.config]\nsize = 8\nheads = 2\n"
        ),
    );
    let (found, code) = found(&file, &["build", "output-shape", "--package", package], &[]);
    assert_eq!(code, Some(0), "{found:?}");
}

#[test]
fn wrong_arguments_are_refused_with_what_to_type() {
    let file = paths::plugin("bottleneck");
    let refused = |file: &Path, words: &[&str]| {
        let ran = check(file, words, &[]);
        assert!(ran.code != Some(0) && ran.stdout.is_empty(), "{}", ran.stdout);
        ran.stderr
    };
    insta::assert_snapshot!(refused(&file, &["forwards"]), @r"
    error: no check is named `forwards`
      hint: perhaps `forward` is meant; see all with `kadapter plugin check --list`
    ");
    insta::assert_snapshot!(refused(Path::new("no/such.so"), &[]), @r"
    error: Could not read plugin `no/such.so`: No such file or directory (os error 2)
      hint: build it with `cargo build --release`
    ");
    insta::assert_snapshot!(refused(&file, &["--package", "no/such"]), @r"
    error: Could not find `kadapter-package.toml` in `no/such`
      hint: every package directory has one; `kadapter import` writes it
    ");
    insta::assert_snapshot!(refused(&file, &["--config", "size"]), @r"
    error: `--config`: key with no value, expected `=`
      hint: --config size=64
    ");
    insta::assert_snapshot!(refused(&file, &["--objective", "share"]), @r#"
    error: `--objective`: key with no value, expected `=`
      hint: --objective 'labels=["base", "acid"]'
    "#);
    insta::assert_snapshot!(refused(&file, &["--record", "[1]"]), @r#"
    error: `--record`: expected a JSON object, invalid type: sequence, expected a map at line 1 column 0
      hint: --record '{"text": "caffeine tastes bitter"}'
    "#);
    insta::assert_snapshot!(refused(&file, &["--hidden", "0"]), @r"
    error: the hidden states have 0 columns, expected at least 1
      hint: --hidden 64
    ");
    insta::assert_snapshot!(refused(&file, &["--time-limit", "0"]), @r"
    error: invalid value '0' for '--time-limit <SECONDS>': expected more than 0 and at most 86400 seconds

    For more information, try '--help'.
    ");
}

#[test]
fn checks_are_listed_with_their_sentences() {
    let ran = Command::new(paths::kadapter()).args(["plugin", "check", "--list"]).output().unwrap();
    assert!(ran.status.success());
    insta::assert_snapshot!(String::from_utf8(ran.stdout).unwrap(), @r"
    library-format             The file is a whole native library for this machine
    entry-and-note             The library has the entry symbol and the metadata note of a plugin
    abi-version                The plugin speaks an ABI that this host understands
    package-agrees             The plugin is the library of its package, and package and note say the same
    open                       Opening the plugin, which runs its constructors, comes back
    layout                     What the plugin exports is laid out as this host's contract says
    build                      An adapter can be built: no error, no panic
    forward                    A forward comes back: no panic, no crash, no endless loop
    drop                       Dropping an adapter comes back: no panic, no crash
    instances                  Adapters can be built and dropped again and again, several at once, in any order
    process-end                A process that used the plugin ends well
    unknown-key-refused        A configuration key that the plugin does not know is refused, by its name
    wrong-type-refused         A configuration value of another type is refused, by its key
    output-shape               An adapter yields one feature row of the hidden size per token, and nothing else
    deterministic              The same input gives the same bits: again, after other input, from another instance
    finite-on-random-taps      Hidden states as a backbone gives them lead to finite features
    finite-on-extreme-taps     Zeros, large, tiny and constant hidden states, and segments of one token, lead to finite features
    row-alone                  A segment in a batch gives the bits that it gives alone
    segment-order              Segments in another order give the same bits in that order
    segments-apart             Another text in one segment changes no bit of the others
    parameters-declared        Parameters have names and shapes that a weights file can hold
    parameters-are-read        Every declared parameter is read in a forward
    parameters-have-effect     Every declared parameter changes the features when its values change
    parameters-have-gradients  Every declared parameter gets a gradient
    objective-build            The objective can be built: no error, no panic
    objective-refuses-records  A record without its fields, or with fields of other types, is refused in words: no panic
    objective-encodes          Records become examples, the same each time
    objective-loss             The loss is one finite number with a weight above 0, the same on the CPU engine and the reference engine
    objective-weight           The loss of a batch is the mean of its examples' losses, weighted as the objective says
    objective-tally            Tallies of a batch's parts sum up to the batch's, and say finite metrics
    objective-gradients        The features and every parameter of the objective get a gradient from the loss
    agrees-with-reference      The CPU engine and the reference engine of the SDK give the same features, up to rounding
    failed-ops-are-errors      When an op of the host fails, the forward gives an error: no panic, no features
    thread-safety              Two instances in two threads, and one instance in two, give the bits of one instance in one
    memory-growth              A thousand forwards leave the process as large as it was
    forward-time               How long a forward takes
    no-files-written           The plugin opens no file for writing, and makes, moves or removes none
    no-threads                 The plugin starts no thread
    no-processes               The plugin starts no process
    no-network                 The plugin opens no socket
    no-printing                The plugin prints nothing
    ");
}

/// The hidden command is not for people, and says so instead of waiting or crashing.
#[test]
fn the_child_s_command_refuses_what_is_no_errand() {
    let ran = Command::new(paths::kadapter()).args(["plugin", "probe"]).stdin(Stdio::null()).output().unwrap();
    assert!(!ran.status.success());
    insta::assert_snapshot!(String::from_utf8(ran.stderr).unwrap(), @"error: no errand came on stdin; this command is for `kadapter` itself, see `kadapter plugin check --help`");
}
