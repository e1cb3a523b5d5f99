//! What choosing releases has to tell beside the choice: candidates that were passed over, and warnings.

use super::report;
use kadapter_registry::Warning;
use kadapter_registry::resolve::{Rejection, explain};

/// Prints every candidate that was passed over with its reason, by package.
pub(super) fn print(rejections: &[Rejection]) {
    for explained in explain(rejections) {
        println!("not chosen of {}:", explained.name);
        for line in explained.lines {
            println!("  {line}");
        }
    }
}

/// Prints warnings to stderr.
pub(super) fn warn(warnings: &[Warning]) {
    for warning in warnings {
        report::print_warning(&report::sentence(warning), warning.hint().as_deref());
    }
}
