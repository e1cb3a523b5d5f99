//! Built without NCCL.

use super::{Communicator, CommunicatorError, Launch};

pub(super) fn join(launch: Option<&Launch>) -> Result<Box<dyn Communicator>, CommunicatorError> {
    Err(CommunicatorError::NotBuilt { feature: "nccl", launch: launch.cloned() })
}
