//! What can go wrong between ranks.

use super::Launch;

/// Why ranks could not be joined, or could not be reached.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each variant and field is")]
pub enum CommunicatorError {
    #[error("Could not read the way that ranks talk `{found}`, expected `auto`, `alone`, `mpi` or `nccl`")]
    Way { found: String },
    #[error("{}, and this `kadapter` was built without `{feature}`", launched(launch.as_ref(), feature))]
    NotBuilt { feature: &'static str, launch: Option<Launch> },
    #[error("`{name}` in the environment is `{found}`, expected {expected}")]
    Environment { name: String, found: String, expected: String },
    #[error("`{way}` was asked for, and the environment does not say who takes part: `{missing}` is not set")]
    NotLaunched { way: &'static str, missing: &'static str },
    #[error("MPI was started in this process already, expected one call of `join`")]
    Twice,
    #[error("Could not {action} `{address}`")]
    Meet {
        action: &'static str,
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{came} of {expected} ranks came to `{address}` in {seconds} s")]
    Missing { address: String, came: usize, expected: usize, seconds: u64 },
    #[error("a process came to `{address}` as rank {rank} of {size}, expected another rank of {expected}")]
    Stranger { address: String, rank: u32, size: u32, expected: u32 },
    #[error("NCCL could not {action}: {problem}")]
    Nccl { action: &'static str, problem: String },
}

impl CommunicatorError {
    /// What to type next.
    pub fn hint(&self) -> String {
        match self {
            Self::Way { .. } => "leave it out: `auto` takes what the launcher says".to_owned(),
            Self::NotBuilt { feature, .. } => format!(
                "build it anew, `cargo build --release --features {feature}`, or train apart: `--communicator alone`"
            ),
            Self::Environment { name, .. } => {
                format!("`unset {name}` if nothing launched this process, or see docs/scaling.md")
            }
            Self::NotLaunched { way: "mpi", .. } => {
                "launch it with MPI: `mpirun -n 2 kadapter train adapter recipe.toml`".to_owned()
            }
            Self::NotLaunched { missing, .. } => format!("`export {missing}=…`, as docs/scaling.md shows"),
            Self::Twice => "call `join` once and lend what it gives".to_owned(),
            Self::Meet { .. } | Self::Missing { .. } | Self::Stranger { .. } => {
                "`MASTER_ADDR` and `MASTER_PORT` must be rank 0's machine and a free port of it, for every rank"
                    .to_owned()
            }
            Self::Nccl { .. } => {
                "run it again with `NCCL_DEBUG=INFO`, and see that each rank has its own GPU".to_owned()
            }
        }
    }
}

fn launched(launch: Option<&Launch>, feature: &str) -> String {
    match launch {
        Some(launch) => format!("this process is {launch}"),
        None => format!("`{feature}` was asked for"),
    }
}
