//! The content of files, streamed by `hf-hub`.

use std::io;

use futures_util::StreamExt;
use hf_hub::HFError;

use super::name::{Commit, RepoId};
use super::transport::{NO_REPOSITORY, Transport};
use crate::error::Error;
use crate::path::PackagePath;
use crate::store::Stream;
use crate::store::remote::{Body, wait_briefly};

/// Opens a file of a commit; none when it is not there.
pub(super) fn open(
    transport: &Transport,
    repo: &RepoId,
    commit: &Commit,
    path: &PackagePath,
) -> Result<Option<Stream>, Error> {
    let what = format!("`{path}` of `{repo}`");
    let model = transport.streams(&what)?.model(repo.owner(), repo.name());
    let download = model.download_file_stream().filename(path.as_str()).revision(commit.as_str()).send();
    let opened = wait_briefly(download).map_err(|source| transport.unreachable(&what, source))?;
    let chunks = match opened {
        Ok((_, chunks)) => chunks,
        Err(HFError::EntryNotFound { context, .. }) => {
            // A repository that is not there has no files either, but is not shown so where others could tell it by that.
            let code = context.and_then(|context| context.error_code);
            return if code.as_deref() == Some(NO_REPOSITORY) { Err(transport.absent(&what)) } else { Ok(None) };
        }
        Err(error) => return Err(refused(transport, &what, error)),
    };
    Ok(Some(Box::new(Body::new(chunks.map(|chunk| chunk.map_err(io::Error::other))))))
}

/// The error for what `hf-hub` says.
fn refused(transport: &Transport, what: &str, error: HFError) -> Error {
    match error {
        HFError::AuthRequired { context }
        | HFError::Forbidden { context }
        | HFError::Conflict { context }
        | HFError::RateLimited { context, .. }
        | HFError::Http { context } => {
            transport.refusal(what, context.status.as_u16(), context.error_code.as_deref(), context.server_message)
        }
        other => transport.unreachable(what, other),
    }
}
