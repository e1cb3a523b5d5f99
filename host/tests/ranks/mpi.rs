//! Ranks that `mpirun` launches add up with the same bits, and end together.

use kadapter_host::train::communicator::{Communicator, InProcess, Way, join};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const FOLDER: &str = "KADAPTER_TEST_RANKS";
/// None, one, more than ranks, more than go at a time.
const LENGTHS: [usize; 4] = [0, 1, 7, (1 << 22) + 5];

/// Runs a test of this file in each of several ranks.
fn launch(ranks: usize, test: &str, folder: &Path) -> Output {
    let name = format!("ranks::mpi::{test}");
    let mut command = Command::new("mpirun");
    command.args(["-n", &ranks.to_string(), "--allow-run-as-root", "--oversubscribe"]);
    command.arg(std::env::current_exe().unwrap()).args([&name, "--exact", "--ignored", "--nocapture"]);
    command.env(FOLDER, folder).output().expect("mpirun is installed by tests/services/training.sh")
}

/// Numbers whose sum depends on the order in which they are added.
fn values(rank: usize, length: usize) -> Vec<f32> {
    (0..length)
        .map(|place| {
            let mixed = (place as u32).wrapping_mul(2_654_435_761).rotate_left(rank as u32 * 7) ^ rank as u32;
            (mixed as f32 / u32::MAX as f32 - 0.5) * 10_f32.powi((mixed % 13) as i32 - 6)
        })
        .collect()
}

/// What a rank has after every kind of call, as bytes.
fn result(ranks: &dyn Communicator) -> Vec<u8> {
    let mut bytes = Vec::new();
    for length in LENGTHS {
        let own = values(ranks.rank(), length);
        let mut sums = own.clone();
        ranks.all_reduce_sum(&mut sums).unwrap();
        bytes.extend(sums.iter().flat_map(|value| value.to_le_bytes()));
        let mut exact: Vec<f64> = own.iter().map(|value| f64::from(*value) / 3.0).collect();
        ranks.all_reduce_f64(&mut exact).unwrap();
        bytes.extend(exact.iter().flat_map(|value| value.to_le_bytes()));
        let mut first = own;
        ranks.broadcast(&mut first).unwrap();
        bytes.extend(first.iter().flat_map(|value| value.to_le_bytes()));
        let mut text = vec![ranks.rank() as u8; 3 + ranks.rank() * 1000];
        ranks.broadcast_bytes(&mut text).unwrap();
        bytes.extend(text);
    }
    ranks.barrier().unwrap();
    bytes
}

#[test]
#[ignore = "what each rank does"]
fn one_rank() {
    let ranks = join(Way::Auto).unwrap();
    assert_eq!(ranks.is_first(), ranks.rank() == 0);
    assert_eq!(ranks.local_rank(), ranks.rank(), "all are on this machine");
    let folder = std::env::var(FOLDER).unwrap();
    std::fs::write(Path::new(&folder).join(format!("{}-{}", ranks.size(), ranks.rank())), result(&*ranks)).unwrap();
}

#[test]
fn ranks_have_the_bits_of_threads() {
    for size in [2, 3] {
        let folder = tempfile::tempdir().unwrap();
        let output = launch(size, "one_rank", folder.path());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let expected: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let threads = InProcess::group(size).into_iter().map(|rank| scope.spawn(move || result(&rank)));
            threads.collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (rank, expected) in expected.iter().enumerate() {
            let found = std::fs::read(folder.path().join(format!("{size}-{rank}"))).unwrap();
            assert!(found == *expected, "rank {rank} of {size}");
            assert!(found == std::fs::read(folder.path().join(format!("{size}-0"))).unwrap(), "rank {rank} of {size}");
        }
    }
}

#[test]
#[ignore = "what each rank does"]
fn one_rank_that_gives_up() {
    let ranks = join(Way::Mpi).unwrap();
    if ranks.rank() == 1 {
        ranks.abort(7);
    }
    ranks.barrier().unwrap();
}

#[test]
fn a_rank_that_gives_up_ends_all() {
    let (folder, start) = (tempfile::tempdir().unwrap(), Instant::now());
    let output = launch(2, "one_rank_that_gives_up", folder.path());
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(start.elapsed() < Duration::from_secs(60));
}
