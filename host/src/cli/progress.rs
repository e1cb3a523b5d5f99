//! Progress bars on stderr for transfers: one per file under way, none where nobody looks.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use kadapter_registry::PackagePath;
use kadapter_registry::progress::{self, Activity, Meter, Observer, Progress};
use std::io::IsTerminal;
use std::sync::Arc;

/// Files below this size are done before a bar could be read.
const SMALL: u64 = 4 << 20;

/// How much a transfer shows.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct ProgressArguments {
    /// Show no progress bars; they are not shown either where stderr is no terminal
    #[arg(long, short)]
    quiet: bool,
}

impl ProgressArguments {
    /// The observer that shows bars, or one that does not look.
    pub(super) fn observer(self) -> Observer {
        if self.quiet || !std::io::stderr().is_terminal() {
            return progress::nobody();
        }
        Arc::new(Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr())))
    }
}

#[derive(Debug)]
struct Bars(MultiProgress);

impl Progress for Bars {
    fn start(&self, activity: Activity, path: &PackagePath, size: u64) -> Box<dyn Meter> {
        if size < SMALL {
            return Box::new(Bar(ProgressBar::hidden()));
        }
        let style = "{prefix:>10} {msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} (left {eta})";
        let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = self.0.add(ProgressBar::new(size).with_style(style));
        Box::new(Bar(bar.with_prefix(activity.to_string()).with_message(path.to_string())))
    }
}

/// The bar of one file, taken away when the file is done.
struct Bar(ProgressBar);

impl Meter for Bar {
    fn advance(&mut self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
