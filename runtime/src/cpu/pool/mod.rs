//! Threads that share out short pieces of work, many thousand times a second.
//!
//! A decoded token is some hundred parallel sections of 5 to 500 µs, so what counts is how soon
//! every thread is at work and how soon the last one is done. Threads wait for the next section
//! awake for a while before they sleep. Each begins with pieces of its own, the same in every
//! token, so that it finds in its cache what it read before, and then helps the others.
//! A thread that the system has taken away before it began holds up nobody: who comes too late for
//! a section is not waited for. Nothing is allocated once the threads are started.
//!
//! Callers on several threads take turns, section by section. A caller that waits for its turn
//! helps with the section that runs, so that no processor idles and no session loses its threads.

use std::any::Any;
use std::cell::Cell;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::null_mut;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::Error;

/// How long a thread waits awake for the next section by default: longer than
/// what lies between two sections of a token, too short for an idle program to cost anything.
pub const AWAKE: Duration = Duration::from_micros(100);
/// Most threads of a pool.
pub const THREADS_MAX: usize = 1024;
/// Looks at the barrier between two looks at the clock.
const LOOKS: usize = 64;

/// The barrier's lowest bit: nobody may join.
const CLOSED: usize = 1;
/// The barrier counts the threads inside in steps of this.
const THREAD: usize = 1 << 1;
/// The barrier counts sections in steps of this.
const SECTION: usize = 1 << 16;
/// Most threads inside, so that the count never reaches the sections' bits.
const INSIDE_MAX: usize = SECTION / THREAD - 1;
const _: () = assert!(THREADS_MAX < INSIDE_MAX, "all threads of a pool can be inside");

thread_local! {
    /// Whether this thread is at work on a piece. A section that a piece begins is its own work:
    /// waiting for a turn would wait for the piece itself.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Some threads besides the caller's own. They end with it.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// A section is running: other callers wait for their turn.
    busy: AtomicBool,
    /// Callers that wait for their turn.
    waiting: AtomicUsize,
    /// The number of sections so far, the threads inside, and whether it is closed.
    barrier: AtomicUsize,
    /// The section that is running; undefined for a thread that is not inside.
    section: AtomicPtr<Section<'static>>,
    /// For every thread, the next of its pieces.
    lanes: Vec<Lane>,
    /// How long a thread waits awake.
    awake: Duration,
    end: AtomicBool,
    started: AtomicUsize,
    sleeping: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
}

/// A counter with cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane(AtomicUsize);

/// Pieces of work. It lives on the stack of its caller.
struct Section<'a> {
    work: &'a (dyn Fn(usize) + Sync),
    pieces: usize,
    /// What a piece panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Pool {
    /// Starts all threads but the caller's own. Each waits `awake` for the next section before it
    /// sleeps.
    ///
    /// # Errors
    /// More than [`THREADS_MAX`], or the system has no more of them.
    pub fn new(threads: usize, awake: Duration) -> Result<Self, Error> {
        if threads > THREADS_MAX {
            let (expected, found) = (format!("1 to {THREADS_MAX}"), threads.to_string());
            return Err(Error::Setting { setting: "threads", expected, found });
        }
        let shared = Arc::new(Shared {
            busy: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            barrier: AtomicUsize::new(CLOSED),
            section: AtomicPtr::new(null_mut()),
            lanes: (0..threads.max(1)).map(|_| Lane::default()).collect(),
            awake,
            end: AtomicBool::new(false),
            started: AtomicUsize::new(0),
            sleeping: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
        });
        let mut pool = Self { shared, threads: Vec::with_capacity(threads.saturating_sub(1)) };
        for index in 1..threads {
            let shared = pool.shared.clone();
            let thread = thread::Builder::new()
                .name(format!("hardtack-{index}"))
                .spawn(move || shared.serve(index));
            pool.threads.push(
                thread.map_err(|error| Error::Threads { threads, reason: error.to_string() })?,
            );
        }
        // After that the system allocates no more for the new threads.
        while pool.shared.started.load(Ordering::Acquire) < pool.threads.len() {
            thread::yield_now();
        }
        Ok(pool)
    }

    /// Threads, the caller's own included.
    pub fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// Calls `work(piece)` once for every piece, on all threads, and returns when all are done.
    /// While another caller's section runs, the calling thread helps with that one first; inside a
    /// piece it does all pieces alone.
    ///
    /// # Panics
    /// If a piece does; pieces that nobody has begun by then are left out.
    pub fn run(&self, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
        let shared = &*self.shared;
        if pieces <= 1 || self.threads.is_empty() || AT_WORK.get() {
            return (0..pieces).for_each(work);
        }
        shared.take_turn();
        let section = Section { work, pieces, panic: Mutex::new(None) };
        shared.open(&section);
        section.help(&shared.lanes, 0);
        shared.close();
        shared.end_turn();
        if let Some(panic) = section.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
            resume_unwind(panic);
        }
    }

    /// Cuts `out` at `ends` and calls `work(piece, part)` for every part, on all threads.
    ///
    /// # Panics
    /// If the ends do not rise to the length of `out`, or a piece panics.
    pub fn split<T: Send>(
        &self,
        out: &mut [T],
        ends: &[usize],
        work: impl Fn(usize, &mut [T]) + Sync,
    ) {
        assert!(
            ends.is_sorted() && ends.last().is_none_or(|&end| end == out.len()),
            "parts of the whole"
        );
        let whole = Whole(out.as_mut_ptr());
        self.run(ends.len(), &|piece| {
            let start = if piece == 0 { 0 } else { ends[piece - 1] };
            // SAFETY: the ends rise and none is after the whole's last element, so this part lies
            // in it and in no other part; every piece is run once, and `out` stays borrowed until
            // all of them are done.
            let part = unsafe { slice::from_raw_parts_mut(whole.at(start), ends[piece] - start) };
            work(piece, part);
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::SeqCst);
        self.shared.wake_all();
        for thread in self.threads.drain(..) {
            // It cannot have panicked: pieces are caught.
            _ = thread.join();
        }
    }
}

impl Shared {
    /// Waits until no other caller's section runs, and helps with those that do.
    fn take_turn(&self) {
        let is_free = || {
            let free =
                self.busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
            free.is_ok()
        };
        if is_free() {
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // Pieces of the middle are the last that the threads reach from both sides.
        let (lane, mut helped) = (self.lanes.len() / 2, None);
        for look in 0.. {
            if is_free() {
                break;
            }
            let barrier = self.barrier.load(Ordering::Relaxed);
            if helped != Some(barrier / SECTION) && self.join(barrier) {
                helped = Some(barrier / SECTION);
                self.help_inside(lane);
            } else {
                pause(look);
            }
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Lets the next caller have its turn. Whoever has just had one lets those begin who wait.
    fn end_turn(&self) {
        self.busy.store(false, Ordering::Release);
        for _ in 0..LOOKS {
            let is_taken = self.busy.load(Ordering::Relaxed);
            if is_taken || self.waiting.load(Ordering::Relaxed) == 0 {
                break;
            }
            spin_loop();
        }
    }

    /// Lets threads join the section.
    fn open(&self, section: &Section<'_>) {
        for (index, lane) in self.lanes.iter().enumerate() {
            lane.0.store(section.lane_start(index, self.lanes.len()), Ordering::Relaxed);
        }
        self.section.store(std::ptr::from_ref(section).cast_mut().cast(), Ordering::Relaxed);
        // Whoever joins sees the section; and either this sees who sleeps, or that one sees the
        // barrier open.
        self.barrier.fetch_add(SECTION - CLOSED, Ordering::SeqCst);
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            self.wake_all();
        }
    }

    /// Lets nobody join any more, and waits for those inside.
    fn close(&self) {
        let mut barrier = self.barrier.fetch_or(CLOSED, Ordering::Acquire) | CLOSED;
        for look in 0.. {
            if threads_inside(barrier) == 0 {
                return;
            }
            pause(look);
            barrier = self.barrier.load(Ordering::Acquire);
        }
    }

    fn wake_all(&self) {
        // Whoever has found no reason to stay awake holds the lock until it sleeps.
        drop(self.sleep.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_all();
    }

    /// A thread's life.
    fn serve(&self, index: usize) {
        self.started.fetch_add(1, Ordering::Release);
        let mut seen = 0;
        while let Some(barrier) = self.next_section(seen) {
            seen = barrier / SECTION;
            if !self.join(barrier) {
                continue;
            }
            self.help_inside(index);
        }
    }

    /// Helps with the section that this thread has joined, and leaves it.
    fn help_inside(&self, lane: usize) {
        // SAFETY: this thread is counted inside, and `close` keeps the section alive until it no
        // longer is.
        unsafe { &*self.section.load(Ordering::Relaxed) }.help(&self.lanes, lane);
        self.barrier.fetch_sub(THREAD, Ordering::Release);
    }

    /// Waits for another section than the one seen; none at the end.
    fn next_section(&self, seen: usize) -> Option<usize> {
        let start = Instant::now();
        loop {
            for _ in 0..LOOKS {
                let barrier = self.barrier.load(Ordering::Relaxed);
                if barrier / SECTION != seen {
                    return Some(barrier);
                }
                spin_loop();
            }
            if self.end.load(Ordering::Relaxed) {
                return None;
            }
            if start.elapsed() > self.awake {
                return self.sleep_until(seen);
            }
        }
    }

    fn sleep_until(&self, seen: usize) -> Option<usize> {
        let mut guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        let barrier = loop {
            let barrier = self.barrier.load(Ordering::SeqCst);
            let end = self.end.load(Ordering::SeqCst);
            if end || barrier / SECTION != seen {
                break (!end).then_some(barrier);
            }
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
        barrier
    }

    /// Counts this thread inside, unless the section is over or no more can be counted.
    fn join(&self, mut barrier: usize) -> bool {
        let section = barrier / SECTION;
        while barrier / SECTION == section
            && barrier & CLOSED == 0
            && threads_inside(barrier) < INSIDE_MAX
        {
            match self.barrier.compare_exchange_weak(
                barrier,
                barrier + THREAD,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => barrier = now,
            }
        }
        false
    }
}

impl Section<'_> {
    /// The first piece of a thread's own.
    const fn lane_start(&self, lane: usize, lanes: usize) -> usize {
        self.pieces * lane / lanes
    }

    /// Takes pieces until there are none: first a thread's own, then those of the threads after
    /// it.
    fn help(&self, lanes: &[Lane], own: usize) {
        let take = |lane: usize| {
            let end = self.lane_start(lane + 1, lanes.len());
            loop {
                let piece = lanes[lane].0.fetch_add(1, Ordering::Relaxed);
                if piece >= end {
                    break;
                }
                (self.work)(piece);
            }
        };
        let all = || (own..lanes.len()).chain(0..own).for_each(take);
        AT_WORK.set(true);
        let done = catch_unwind(AssertUnwindSafe(all));
        AT_WORK.set(false);
        if let Err(panic) = done {
            lanes.iter().for_each(|lane| lane.0.store(self.pieces, Ordering::Relaxed));
            *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
        }
    }
}

/// Waits a moment, the longer the more often. Where there are fewer processors than threads,
/// whoever is inside may be waiting for this one.
fn pause(look: usize) {
    if look < 1000 { spin_loop() } else { thread::yield_now() }
}

const fn threads_inside(barrier: usize) -> usize {
    barrier % SECTION / THREAD
}

/// The first element of what is split.
struct Whole<T>(*mut T);

// SAFETY: parts of the whole are handed to other threads, one to each, which `T: Send` of
// `Pool::split` allows.
unsafe impl<T: Send> Sync for Whole<T> {}

impl<T> Whole<T> {
    /// # Safety
    /// `index` is within the whole or one past it.
    unsafe fn at(&self, index: usize) -> *mut T {
        // SAFETY: as the caller says.
        unsafe { self.0.add(index) }
    }
}

#[cfg(test)]
mod tests;
