//! The line on stderr that says how far a training run is: its loss, its speed, and the time left.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How much of the loss that is shown comes from the steps before: one batch says little.
const INERTIA: f64 = 0.95;

/// The line. Nothing is shown where stderr is no terminal, or on request.
#[derive(Debug)]
pub struct TrainingBar {
    bar: ProgressBar,
    /// Sum of losses, each weighed by how long ago it was, and the sum of the weights.
    loss: Cell<(f64, f64)>,
}

impl TrainingBar {
    /// A line for `steps` steps of the optimiser, of which `done` were made before.
    pub fn new(steps: u64, done: u64, quiet: bool) -> Self {
        let target = if quiet || !std::io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        Self::on(target, steps, done)
    }

    fn on(target: ProgressDrawTarget, steps: u64, done: u64) -> Self {
        let style = "{prefix:>10} {wide_bar} {pos}/{len} {msg} (left {eta})";
        let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(steps), target).with_style(style).with_prefix("training");
        // What was done before says nothing about the speed.
        bar.set_position(done);
        bar.reset_eta();
        Self { bar, loss: Cell::new((0.0, 0.0)) }
    }

    /// One step was made, with this loss, at this speed.
    pub fn advance(&self, loss: f64, tokens_per_second: f64) {
        let (sum, weight) = self.loss.get();
        let (sum, weight) = (sum * INERTIA + loss, weight * INERTIA + 1.0);
        self.loss.set((sum, weight));
        self.bar.set_message(format!("loss {:.4}, {} tokens/s", sum / weight, short(tokens_per_second)));
        self.bar.inc(1);
    }

    /// Shows what is being done, where it is not training: `evaluating`.
    pub fn phase(&self, name: &'static str) {
        self.bar.set_prefix(name);
        self.bar.tick();
    }

    /// Prints whole lines on stderr above the line.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }
}

impl Drop for TrainingBar {
    /// Takes the line away.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Tokens in a second, from one step to the next.
#[derive(Debug)]
pub struct Throughput(Instant);

impl Throughput {
    /// Starts the clock.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Tokens in a second since the last call.
    pub fn record(&mut self, tokens: u64) -> f64 {
        let now = Instant::now();
        let rate = rate(tokens, now - self.0);
        self.0 = now;
        rate
    }

    /// Lets the time since the last call not count: an evaluation, a checkpoint.
    pub fn skip(&mut self) {
        self.0 = Instant::now();
    }
}

fn rate(tokens: u64, time: Duration) -> f64 {
    tokens as f64 / time.as_secs_f64().max(1e-9)
}

/// Three digits or so.
fn short(rate: f64) -> String {
    match rate {
        _ if rate >= 1e6 => format!("{:.1}M", rate / 1e6),
        _ if rate >= 1e4 => format!("{:.0}k", rate / 1e3),
        _ if rate >= 1e3 => format!("{:.1}k", rate / 1e3),
        _ => format!("{rate:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Throughput, TrainingBar, rate, short};
    use indicatif::{ProgressDrawTarget, TermLike};
    use std::io::Result;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    /// A terminal that keeps all that it was ever shown.
    #[derive(Debug, Clone, Default)]
    struct Paper(Arc<Mutex<String>>);

    impl TermLike for Paper {
        fn width(&self) -> u16 {
            100
        }

        fn move_cursor_up(&self, _n: usize) -> Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _n: usize) -> Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _n: usize) -> Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _n: usize) -> Result<()> {
            Ok(())
        }

        fn write_line(&self, line: &str) -> Result<()> {
            self.write_str(line)
        }

        fn write_str(&self, text: &str) -> Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> Result<()> {
            self.write_str("\n")
        }

        fn flush(&self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_line_says_loss_speed_and_time_left() {
        let paper = Paper::default();
        let bar = TrainingBar::on(ProgressDrawTarget::term_like(Box::new(paper.clone())), 10, 4);
        bar.advance(2.0, 15_300.0);
        bar.advance(1.0, 5210.0);
        bar.phase("evaluating");
        let text = paper.0.lock().unwrap().clone();
        let line = text.lines().last().unwrap().trim();
        assert!(line.starts_with("evaluating "), "{text}");
        // (2.0 * 0.95 + 1.0) / 1.95
        assert!(line.contains(" 6/10 loss 1.4872, 5.2k tokens/s (left "), "{text}");
        drop(bar);
        assert!(paper.0.lock().unwrap().ends_with('\n'), "the line is taken away");
    }

    #[test]
    fn nobody_is_shown_a_line_in_a_test() {
        assert!(TrainingBar::new(3, 0, true).bar.is_hidden());
    }

    #[test]
    fn speeds() {
        assert_eq!(rate(3000, Duration::from_millis(1500)), 2000.0);
        assert!(Throughput::start().record(5).is_finite());
        let words = [0.4, 999.0, 1234.0, 12_345.0, 2_500_000.0].map(short);
        assert_eq!(words, ["0", "999", "1.2k", "12k", "2.5M"]);
    }
}
