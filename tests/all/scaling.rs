//! What `docs/scaling.md` shows can be used: its files are read by their kind of program, and commands and options in them exist.

use kadapter_tests::paths;
use saphyr::{LoadableYamlNode, Yaml};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

fn folder() -> PathBuf {
    paths::workspace("docs/scaling")
}

/// The page and every file beside it, by name.
fn texts() -> Vec<(String, String)> {
    let mut texts = vec![("scaling.md".to_owned(), fs::read_to_string(paths::workspace("docs/scaling.md")).unwrap())];
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        texts.push((name, fs::read_to_string(path).unwrap()));
    }
    assert!(texts.len() > 5, "{texts:?}");
    texts
}

/// What follows `kadapter` on a line, up to what ends a command; items of a list in YAML are words of one line.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut lines = String::new();
    for line in text.replace("\\\n", " ").lines() {
        match line.trim_start().strip_prefix("- ") {
            Some(item) => lines.extend([" ", item]),
            None => lines.extend(["\n", line]),
        }
    }
    let mut commands = Vec::new();
    for line in lines.lines() {
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        for (place, word) in words.iter().enumerate() {
            if word.trim_matches(['`', '(']) != "kadapter" || words.get(place + 1) != Some(&"train") {
                continue;
            }
            let mut command = Vec::new();
            for word in &words[place + 1..] {
                if ["#", "&", "|"].contains(word) {
                    break;
                }
                command.push(word.trim_matches(['`', '"', '\'', ';', ',']).to_owned());
                if word.ends_with(['`', '\'', ';']) {
                    break;
                }
            }
            commands.push(command);
        }
    }
    commands
}

#[test]
fn every_command_and_option_exists() {
    let help = Command::new(paths::kadapter()).args(["train", "adapter", "--help"]).output().unwrap();
    assert!(help.status.success(), "{}", String::from_utf8_lossy(&help.stderr));
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let has = |option: &str| help.split([' ', '\n', ',', '[', ']', '<', '=']).any(|word| word == option);
    let mut with_commands = BTreeSet::new();
    for (name, text) in texts() {
        for command in commands(&text) {
            assert_eq!(command[..2], ["train", "adapter"], "{name}");
            assert!(command.len() > 2, "{name}: {command:?} names a recipe");
            for option in command.iter().filter(|word| word.starts_with("--")) {
                assert!(has(option), "{name}: {command:?}: `{option}` is no option of `kadapter train adapter`");
            }
            with_commands.insert(name.clone());
        }
    }
    let all = ["adapters.sbatch", "jobs.yaml", "mpi.sbatch", "mpijob.yaml", "nccl.sbatch", "scaling.md"];
    assert_eq!(with_commands, all.map(str::to_owned).into());
}

#[test]
fn every_feature_and_package_exists() {
    let manifest: toml::Table = fs::read_to_string(paths::workspace("host/Cargo.toml")).unwrap().parse().unwrap();
    let features = manifest["features"].as_table().unwrap();
    let mut found = BTreeSet::new();
    for (name, text) in texts() {
        let words: Vec<&str> = text.split([' ', '\n']).collect();
        for pair in words.windows(2) {
            let word = pair[1].trim_matches(['`', ',', '.', '"']);
            match pair[0] {
                "--features" => {
                    assert!(features.contains_key(word), "{name}: no feature `{word}`");
                    found.insert(word.to_owned());
                }
                "--package" => assert_eq!(Some(word), manifest["package"]["name"].as_str(), "{name}"),
                _ => {}
            }
        }
    }
    assert_eq!(found, ["mpi", "nccl"].map(str::to_owned).into());
}

#[test]
fn every_file_is_shown_and_every_link_leads_somewhere() {
    let texts = texts();
    let page = &texts[0].1;
    for (name, _) in &texts[1..] {
        assert!(page.contains(&format!("(scaling/{name})")), "{name}");
    }
    for link in page.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        if let Some(heading) = link.strip_prefix('#') {
            let slug = |title: &str| title.to_lowercase().replace(' ', "-").replace(':', "");
            let is_heading = |line: &str| line.strip_prefix("## ").is_some_and(|title| slug(title) == heading);
            assert!(page.lines().any(is_heading), "{link}");
        } else if !link.starts_with("https://") {
            assert!(paths::workspace("docs").join(link).exists(), "{link}");
        }
    }
}

#[test]
fn scripts_are_scripts() {
    let mut count = 0;
    for (name, text) in texts().into_iter().filter(|(name, _)| name.ends_with(".sbatch")) {
        let checked = Command::new("bash").arg("-n").arg(folder().join(&name)).output().unwrap();
        assert!(checked.status.success(), "{name}: {}", String::from_utf8_lossy(&checked.stderr));
        assert!(text.starts_with("#!/usr/bin/env bash\n"), "{name}");
        let lines: Vec<&str> = text.lines().collect();
        let last_option = lines.iter().rposition(|line| line.starts_with("#SBATCH --")).unwrap();
        // Slurm stops looking for options at the first command.
        assert!(lines[..last_option].iter().all(|line| line.starts_with('#')), "{name}");
        count += 1;
    }
    assert_eq!(count, 3);
}

/// The entry of a mapping at a path of keys.
fn at<'a>(node: &'a Yaml<'a>, path: &[&str]) -> &'a Yaml<'a> {
    path.iter().fold(node, |node, key| {
        let Yaml::Mapping(entries) = node else { panic!("`{key}`: not a mapping: {node:?}") };
        let found = entries.iter().find(|(found, _)| found.as_str() == Some(key));
        found.unwrap_or_else(|| panic!("no `{key}` in {node:?}")).1
    })
}

fn text<'a>(node: &'a Yaml<'a>, path: &[&str]) -> &'a str {
    at(node, path).as_str().unwrap_or_else(|| panic!("{path:?} is no text"))
}

fn list<'a>(node: &'a Yaml<'a>, path: &[&str]) -> &'a [Yaml<'a>] {
    let Yaml::Sequence(items) = at(node, path) else { panic!("{path:?} is no list") };
    items
}

/// Checks a pod's template, and gives the words of its only container's command.
fn container<'a>(template: &'a Yaml<'a>) -> Vec<&'a str> {
    let containers = list(template, &["spec", "containers"]);
    assert_eq!(containers.len(), 1);
    let container = &containers[0];
    assert_eq!(text(container, &["image"]), "kadapter-mpi");
    at(container, &["resources", "limits", "memory"]);
    let command = list(container, &["command"]).iter().chain(list(container, &["args"]));
    command.map(|word| word.as_str().expect("Kubernetes takes words, so numbers stand in quotes")).collect()
}

#[test]
fn kubernetes_files_say_what_is_to_run() {
    let texts = texts();
    let read = |name: &str| {
        let text = &texts.iter().find(|(found, _)| found == name).unwrap().1;
        let mut documents = Yaml::load_from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(documents.len(), 1, "{name}");
        documents.remove(0)
    };
    let job = read("jobs.yaml");
    assert_eq!((text(&job, &["apiVersion"]), text(&job, &["kind"])), ("batch/v1", "Job"));
    let script = container(at(&job, &["spec", "template"]));
    assert_eq!(script[..2], ["/bin/bash", "-c"]);
    let checked = Command::new("bash").args(["-n", "-c", script[2]]).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let recipes = script[2].split(['(', ')']).nth(1).unwrap().split(' ').count() as i64;
    assert_eq!(at(&job, &["spec", "completions"]).as_integer(), Some(recipes));

    let job = read("mpijob.yaml");
    assert_eq!((text(&job, &["apiVersion"]), text(&job, &["kind"])), ("kubeflow.org/v2beta1", "MPIJob"));
    let launcher = container(at(&job, &["spec", "mpiReplicaSpecs", "Launcher", "template"]));
    assert_eq!(launcher[..2], ["mpirun", "-n"]);
    let workers = at(&job, &["spec", "mpiReplicaSpecs", "Worker", "replicas"]).as_integer().unwrap();
    let slots = at(&job, &["spec", "slotsPerWorker"]).as_integer().unwrap();
    assert_eq!(launcher[2].parse(), Ok(workers * slots));
    let worker = at(&job, &["spec", "mpiReplicaSpecs", "Worker", "template"]);
    assert_eq!(container(worker), ["/usr/sbin/sshd", "-De", "-f", "/home/mpiuser/.sshd_config"]);
    let home = text(&job, &["spec", "sshAuthMountPath"]);
    let image = &texts.iter().find(|(name, _)| name == "Dockerfile").unwrap().1;
    assert!(image.contains(&format!("HostKey {home}/id_rsa")) && image.contains("/home/mpiuser/.sshd_config"));
}
