//! What launchers tell a process about the others, in its environment.

use std::fmt;

use super::CommunicatorError;

/// Who launched the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Launcher {
    /// `mpirun`, or `srun` with a plugin for MPI.
    Mpi,
    /// Anything that sets `RANK` and `WORLD_SIZE`, as PyTorch's launchers do.
    Environment,
}

/// This process among those that were launched with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    pub(super) launcher: Launcher,
    pub(super) rank: usize,
    /// Not every launcher says it before MPI is started.
    pub(super) size: Option<usize>,
    pub(super) local_rank: usize,
    /// Where rank 0 is to be found.
    pub(super) master: Option<String>,
}

/// Names of the rank and of the number of ranks, by launcher: Open MPI; MPICH, Intel MPI and `srun --mpi=pmi2`; `srun --mpi=pmix`.
const MPI: [(&str, &[&str]); 3] = [
    ("OMPI_COMM_WORLD_RANK", &["OMPI_COMM_WORLD_SIZE"]),
    ("PMI_RANK", &["PMI_SIZE"]),
    ("PMIX_RANK", &["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"]),
];
/// Names of the rank among those of the same machine.
const LOCAL: [&str; 4] = ["LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"];

impl Launch {
    /// Reads the environment; `None` when nothing launched this process as one of several.
    pub(super) fn read(environment: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, CommunicatorError> {
        let number = |name: &str| {
            let Some(text) = environment(name) else { return Ok(None) };
            let refuse = |_| CommunicatorError::Environment {
                name: name.to_owned(),
                found: text.clone(),
                expected: "a number from 0 on".to_owned(),
            };
            text.trim().parse::<usize>().map(Some).map_err(refuse)
        };
        let first_number = |names: &[&str]| {
            for name in names {
                if let Some(found) = number(name)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        };
        let mut found = None;
        for (rank, sizes) in MPI {
            if let Some(place) = number(rank)? {
                found = Some((Launcher::Mpi, rank, place, first_number(sizes)?));
                break;
            }
        }
        if found.is_none()
            && let (Some(rank), Some(size)) = (number("RANK")?, number("WORLD_SIZE")?)
        {
            found = Some((Launcher::Environment, "RANK", rank, Some(size)));
        }
        let Some((launcher, name, rank, size)) = found else { return Ok(None) };
        if let Some(size) = size
            && rank >= size
        {
            return Err(CommunicatorError::Environment {
                name: name.to_owned(),
                found: rank.to_string(),
                expected: format!("a rank below {size}, the number of processes"),
            });
        }
        let local_rank = first_number(&LOCAL)?.unwrap_or(0);
        let master = environment("MASTER_ADDR").map(|host| {
            let port = environment("MASTER_PORT").unwrap_or_else(|| "29500".to_owned());
            format!("{host}:{port}")
        });
        Ok(Some(Self { launcher, rank, size, local_rank, master }))
    }
}

impl fmt::Display for Launch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "rank {} ", self.rank)?;
        if let Some(size) = self.size {
            write!(formatter, "of {size} ")?;
        }
        match self.launcher {
            Launcher::Mpi => write!(formatter, "that `mpirun` launched"),
            Launcher::Environment => write!(formatter, "that `RANK` and `WORLD_SIZE` launched"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Launch, Launcher};

    fn read(environment: &[(&str, &str)]) -> Result<Option<Launch>, String> {
        let find =
            |name: &str| environment.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned());
        Launch::read(&find).map_err(|error| format!("{error}; {}", error.hint()))
    }

    #[test]
    fn launchers_are_known() {
        let launch = |launcher, rank, size, local_rank, master: Option<&str>| {
            Ok(Some(Launch { launcher, rank, size, local_rank, master: master.map(str::to_owned) }))
        };
        assert_eq!(read(&[("PATH", "/bin"), ("SLURM_PROCID", "1"), ("SLURM_NTASKS", "2")]), Ok(None));
        let open_mpi =
            [("OMPI_COMM_WORLD_RANK", "5"), ("OMPI_COMM_WORLD_SIZE", "8"), ("OMPI_COMM_WORLD_LOCAL_RANK", "1")];
        assert_eq!(read(&open_mpi), launch(Launcher::Mpi, 5, Some(8), 1, None));
        assert_eq!(read(&[("PMI_RANK", "0"), ("PMI_SIZE", "2")]), launch(Launcher::Mpi, 0, Some(2), 0, None));
        assert_eq!(read(&[("PMIX_RANK", "1")]), launch(Launcher::Mpi, 1, None, 0, None));
        let slurm = [("PMIX_RANK", "1"), ("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_LOCALID", "1")];
        assert_eq!(read(&slurm), launch(Launcher::Mpi, 1, Some(4), 1, None));
        let torch = [("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1"), ("MASTER_ADDR", "n1")];
        assert_eq!(read(&torch), launch(Launcher::Environment, 3, Some(4), 1, Some("n1:29500")));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(
            read(&[("OMPI_COMM_WORLD_RANK", "two")]).unwrap_err(),
            "`OMPI_COMM_WORLD_RANK` in the environment is `two`, expected a number from 0 on; `unset OMPI_COMM_WORLD_RANK` if nothing \
             launched this process, or see docs/scaling.md"
        );
        let error = read(&[("RANK", "2"), ("WORLD_SIZE", "2")]).unwrap_err();
        assert!(error.starts_with("`RANK` in the environment is `2`, expected a rank below 2"), "{error}");
    }
}
