//! Threads that stay, and share out the units of one job at a time.
//!
//! The units of a job are cut into one range per thread. A thread takes from the front of its own range and, when that is empty,
//! from the back of another's, so neighbours in memory stay with one thread and nobody waits for the slowest. The calling thread
//! is one of them: if the others are late (parked, or the machine is busy), it does their share as well, and a job never waits
//! for a thread that has not begun.

use std::{
    cell::UnsafeCell,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{JoinHandle, Thread},
    time::{Duration, Instant},
};

/// How long an idle thread looks for the next job before it parks. The gap between two ops is a few microseconds; waking a parked
/// thread takes tens of them.
const SPIN: Duration = Duration::from_micros(100);

/// A job: called with the number of the thread and of the unit.
type Work<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// A team of threads.
pub(in super::super) struct Team {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
}

struct Shared {
    /// `epoch << 32 | OPEN | threads inside`.
    state: AtomicU64,
    /// The current job; read only by threads that are inside, written only while nobody is.
    job: UnsafeCell<Option<&'static Work<'static>>>,
    /// Per thread, the units left to it: `end << 32 | start`.
    ranges: Box<[Range]>,
    /// Per thread but the caller: parked, or about to be.
    parked: Box<[AtomicBool]>,
    /// Somebody's job is running.
    busy: AtomicBool,
    panicked: AtomicBool,
    stop: AtomicBool,
}

/// On a cache line of its own.
#[repr(align(64))]
struct Range(AtomicU64);

const OPEN: u64 = 1 << 31;
const INSIDE: u64 = OPEN - 1;
const EPOCH: u64 = 1 << 32;

// SAFETY: `job` is written only by the thread that holds `busy`, while the state is closed and nobody is inside, and read only by
// threads that got inside an open state; both pass through `state` with acquire and release.
unsafe impl Sync for Shared {}
// SAFETY: as above; a job is `Sync`, so any thread may call it.
unsafe impl Send for Shared {}

impl Team {
    /// A team of `threads`, the caller included; fewer if the system gives fewer.
    pub(in super::super) fn new(threads: NonZeroUsize) -> Self {
        let others = threads.get() - 1;
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            ranges: std::iter::repeat_with(|| Range(AtomicU64::new(0))).take(threads.get()).collect(),
            parked: std::iter::repeat_with(|| AtomicBool::new(false)).take(others).collect(),
            busy: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let handles = (1..threads.get())
            .map_while(|number| {
                let shared = Arc::clone(&shared);
                let name = format!("kadapter-cpu-{number}");
                std::thread::Builder::new().name(name).spawn(move || shared.live(number)).ok()
            })
            .collect();
        Self { shared, handles }
    }

    /// How many threads work, the caller included.
    pub(in super::super) fn threads(&self) -> usize {
        self.handles.len() + 1
    }

    /// Calls `work(thread, unit)` once for every unit in `0..units`, on all threads, and returns when all are done. While another
    /// caller's job runs (or from inside a job) the calling thread does it alone, as thread 0.
    ///
    /// # Panics
    /// When a unit panicked.
    pub(in super::super) fn run(&self, units: usize, work: impl Fn(usize, usize) + Sync) {
        let alone = units <= 1 || self.handles.is_empty() || u32::try_from(units).is_err();
        if alone || self.shared.busy.swap(true, Ordering::Acquire) {
            (0..units).for_each(|unit| work(0, unit));
            return;
        }
        let erased: &Work<'_> = &work;
        // SAFETY: only the lifetime is changed. `Closing` below takes the job back, waiting for every thread that is inside, before
        // `work` goes out of scope, on a panic too.
        let erased = unsafe { std::mem::transmute::<&Work<'_>, &'static Work<'static>>(erased) };
        self.shared.panicked.store(false, Ordering::Relaxed);
        let closing = Closing(&self.shared);
        self.shared.publish(units, self.threads(), erased, self.handles.iter().map(JoinHandle::thread));
        self.shared.take_units(0, self.threads(), erased);
        drop(closing);
        if self.shared.panicked.load(Ordering::Relaxed) {
            panic!("a thread of the CPU engine panicked");
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for handle in &self.handles {
            handle.thread().unpark();
        }
        for handle in self.handles.drain(..) {
            // A thread of the team catches the panics of jobs, so there is nothing to learn here.
            let _ = handle.join();
        }
    }
}

/// Closes the job when dropped, and waits for the threads that are still inside.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let shared = self.0;
        shared.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut turns = 0_u32;
        while shared.state.load(Ordering::Acquire) & INSIDE != 0 {
            // On a busy machine the other thread may not be running: let it.
            turns += 1;
            if turns < 1 << 12 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        // SAFETY: the state is closed and nobody is inside; this thread holds `busy`.
        unsafe { *shared.job.get() = None };
        shared.busy.store(false, Ordering::Release);
    }
}

impl Shared {
    fn publish<'a>(
        &self,
        units: usize,
        threads: usize,
        work: &'static Work<'static>,
        others: impl Iterator<Item = &'a Thread>,
    ) {
        // SAFETY: this thread holds `busy`, so the state is closed and nobody is inside.
        unsafe { *self.job.get() = Some(work) };
        for (number, range) in self.ranges.iter().enumerate() {
            let (start, end) =
                if number < threads { (units * number / threads, units * (number + 1) / threads) } else { (0, 0) };
            range.0.store((end as u64) << 32 | start as u64, Ordering::Relaxed);
        }
        let epoch = self.state.load(Ordering::Relaxed) & !(OPEN | INSIDE);
        self.state.store(epoch.wrapping_add(EPOCH) | OPEN, Ordering::SeqCst);
        for (parked, thread) in self.parked.iter().zip(others).take(units - 1) {
            if parked.load(Ordering::SeqCst) && parked.swap(false, Ordering::SeqCst) {
                thread.unpark();
            }
        }
    }

    /// Works until no unit is left to take.
    fn take_units(&self, number: usize, threads: usize, work: &Work<'_>) {
        while let Some(unit) = self.ranges[number].take(Side::Front) {
            work(number, unit);
        }
        for step in 1..threads {
            let other = &self.ranges[(number + step) % threads];
            while let Some(unit) = other.take(Side::Back) {
                work(number, unit);
            }
        }
    }

    /// The life of a thread of the team.
    fn live(&self, number: usize) {
        let mut seen = 0;
        while let Some(epoch) = self.next_job(number, seen) {
            seen = epoch;
            // SAFETY: `next_job` got this thread inside an open job, which stays until the thread leaves.
            if let Some(work) = unsafe { *self.job.get() } {
                let threads = self.ranges.len();
                if catch_unwind(AssertUnwindSafe(|| self.take_units(number, threads, work))).is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
            }
            self.state.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Waits for a job that is not `seen`, gets inside and returns its epoch; `None` when the team stops.
    fn next_job(&self, number: usize, seen: u64) -> Option<u64> {
        let parked = &self.parked[number - 1];
        let mut idle: Option<Instant> = None;
        loop {
            let state = self.state.load(Ordering::SeqCst);
            let epoch = state & !(OPEN | INSIDE);
            if state & OPEN != 0 && epoch != seen {
                if self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                    parked.store(false, Ordering::Relaxed);
                    return Some(epoch);
                }
                continue;
            }
            if self.stop.load(Ordering::SeqCst) {
                return None;
            }
            let idle = idle.get_or_insert_with(Instant::now);
            if idle.elapsed() < SPIN {
                (0..32).for_each(|_| std::hint::spin_loop());
            } else if !parked.swap(true, Ordering::SeqCst) {
                // Look once more: a job published before the flag was up has woken nobody.
            } else {
                std::thread::park();
            }
        }
    }
}

enum Side {
    Front,
    Back,
}

impl Range {
    fn take(&self, side: Side) -> Option<usize> {
        let mut range = self.0.load(Ordering::Relaxed);
        loop {
            let (start, end) = (range & 0xffff_ffff, range >> 32);
            if start >= end {
                return None;
            }
            let (unit, rest) = match side {
                Side::Front => (start, end << 32 | (start + 1)),
                Side::Back => (end - 1, (end - 1) << 32 | start),
            };
            match self.0.compare_exchange_weak(range, rest, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(unit as usize),
                Err(now) => range = now,
            }
        }
    }
}
