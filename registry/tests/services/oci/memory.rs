//! Files of any size go both ways in little memory.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use kadapter_registry::publish::publish;
use kadapter_registry::release::Role;

use super::place::is_child;
use super::real;
use crate::packages::{backbone_content, package, write_package};

/// The most memory that a process may have used at any time, in bytes.
const MOST: u64 = 64 << 20;
/// The size of the file, in bytes, unless `KADAPTER_TEST_SIZE` says another.
const SIZE: u64 = 200 << 20;

fn write_weights(path: &Path, size: u64) {
    let mut header = format!(r#"{{"weight":{{"dtype":"U8","shape":[{size}],"data_offsets":[0,{size}]}}}}"#);
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + size).unwrap();
}

/// The most memory that this process has used so far, in bytes.
#[cfg(target_os = "linux")]
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
#[test]
fn a_large_file_is_published_and_read_in_little_memory() {
    if !is_child(module_path!(), "a_large_file_is_published_and_read_in_little_memory", &[]) {
        return;
    }
    let size = std::env::var("KADAPTER_TEST_SIZE").map_or(SIZE, |size| size.parse().unwrap());
    let place = real();
    let directory = tempfile::tempdir().unwrap();
    write_package(directory.path(), &package("k/base", "1.0.0", backbone_content()), 1);
    write_weights(&directory.path().join("weights.safetensors"), size);
    let published = publish(&*place.store(), directory.path()).unwrap();
    assert!(published.uploaded > size);
    let release = &published.record.release;
    let weights = release.files_of(Role::Weights).next().unwrap();
    let mut content = place.registry().unwrap().open_content(&release.id(), weights).unwrap();
    assert_eq!(io::copy(&mut content, &mut io::sink()).unwrap(), weights.size);
    let most = most_memory();
    println!("{most} bytes for a file of {}", weights.size);
    assert!(most < MOST, "{most} bytes for a file of {}", weights.size);
}
