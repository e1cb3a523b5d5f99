//! The machine on which this process runs, in words.

use std::fmt;

/// A machine, as a card names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// The device that computed, where it was not the processor: a GPU's name.
    pub device: Option<String>,
    /// Processes that trained together.
    pub ranks: usize,
}

impl Machine {
    /// This machine, and `ranks` processes on machines like it.
    pub fn here(device: Option<String>, ranks: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { processor: processor(), cores, device, ranks }
    }
}

/// The processor's name where the system tells it, and what it is in any case.
fn processor() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name =
        told.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim()));
    name.filter(|name| !name.is_empty() && *name != "unknown").unwrap_or(std::env::consts::ARCH).to_owned()
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ranks > 1 {
            write!(formatter, "{} processes, each on ", self.ranks)?;
        }
        if let Some(device) = &self.device {
            write!(formatter, "{device} with ")?;
        }
        write!(formatter, "{} cores of {}", self.cores, self.processor)
    }
}

#[cfg(test)]
mod tests {
    use super::Machine;

    #[test]
    fn this_machine_has_a_processor() {
        let here = Machine::here(None, 1);
        assert!(here.cores > 0 && !here.processor.is_empty(), "{here}");
        let cluster = Machine { device: Some("NVIDIA H100".to_owned()), ranks: 4, cores: 8, processor: "x".to_owned() };
        assert_eq!(cluster.to_string(), "4 processes, each on NVIDIA H100 with 8 cores of x");
    }
}
