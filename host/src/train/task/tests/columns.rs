//! Columns on disk are those in memory, and damage is noticed.

use super::super::Column;
use super::super::column::ColumnWriter;
use kadapter_registry::Digest;
use std::time::{Duration, SystemTime};

fn written(folder: &std::path::Path, memory_bytes: u64) -> (Column, std::path::PathBuf, Digest) {
    let (path, key) = (folder.join("column.rows"), Digest::of(b"key"));
    let mut writer = ColumnWriter::new(Some(&path), &key, 3, 4).unwrap();
    writer.append(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
    assert!(!path.exists(), "a column that is not whole has no name");
    writer.append(&[6.0, 7.0, 8.0, -0.5, f32::MIN_POSITIVE, f32::MAX]).unwrap();
    (writer.finish(&key, memory_bytes, true).unwrap(), path, key)
}

#[test]
fn rows_come_from_disk_as_from_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (memory, path, key) = written(folder.path(), u64::MAX);
    let disk = Column::open(&path, &key, 3, 0).unwrap();
    for rows in [vec![0, 1, 2, 3], vec![3, 1, 2, 0], vec![2, 2], Vec::new()] {
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        memory.gather(&rows, &mut expected).unwrap();
        disk.gather(&rows, &mut found).unwrap();
        assert_eq!(found, expected);
        assert_eq!(found.len(), 3 * rows.len());
    }
    assert_eq!((disk.rows(), disk.hidden()), (4, 3));
}

#[test]
fn a_column_that_is_damaged_or_anothers_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let (_, path, key) = written(folder.path(), u64::MAX);
    assert!(Column::open(&path, &key, 3, u64::MAX).is_some());
    assert!(Column::open(&path, &Digest::of(b"another"), 3, u64::MAX).is_none());
    assert!(Column::open(&path, &key, 4, u64::MAX).is_none());
    let whole = std::fs::read(&path).unwrap();
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(Column::open(&path, &key, 3, u64::MAX).is_none(), "byte {place}");
        std::fs::write(&path, &whole[..place]).unwrap();
        assert!(Column::open(&path, &key, 3, 0).is_none(), "cut at {place}");
    }
}

/// The folder drops what was not used for longest, so use is noted.
#[test]
fn a_column_that_is_used_is_young_again() {
    let folder = tempfile::tempdir().unwrap();
    let (_, path, key) = written(folder.path(), u64::MAX);
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    assert!(Column::open(&path, &key, 3, 0).is_some());
    assert!(path.metadata().unwrap().modified().unwrap().elapsed().unwrap() < Duration::from_secs(600));
}

#[test]
fn a_column_that_does_not_fit_is_read_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, key) = (folder.path().join("column.rows"), Digest::of(b"key"));
    for memory_bytes in [0, u64::MAX] {
        let mut writer = ColumnWriter::new(Some(&path), &key, 2, 2).unwrap();
        writer.append(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        let column = writer.finish(&key, memory_bytes, false).unwrap();
        let mut found = Vec::new();
        column.gather(&[1, 0], &mut found).unwrap();
        assert_eq!(found, [3.0, 4.0, 1.0, 2.0]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
