//! Every piece once, by all threads, whatever they are doing.

use super::*;

/// Every piece once, in sections of all sizes, with sleeps between some of them.
#[test]
fn every_piece_is_run_once() {
    for threads in [1, 2, 3, 8] {
        let pool = Pool::new(threads, AWAKE).unwrap();
        assert_eq!(pool.threads(), threads);
        for round in 0..2000 {
            let pieces = round % 37;
            let counts: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
            pool.run(pieces, &|piece| _ = counts[piece].fetch_add(1, Ordering::Relaxed));
            assert!(
                counts.iter().all(|count| count.load(Ordering::Relaxed) == 1),
                "{threads} threads, round {round}"
            );
            if round % 500 == 0 {
                thread::sleep(AWAKE * 3);
            }
        }
    }
}

#[test]
fn parts_are_disjoint_and_cover_the_whole() {
    let pool = Pool::new(4, AWAKE).unwrap();
    for length in [0, 1, 7, 1000] {
        let ends: Vec<usize> = [0, length / 3, length / 3, length / 2, length].to_vec();
        let mut whole = vec![0usize; length];
        pool.split(&mut whole, &ends, |piece, part| {
            part.iter_mut().for_each(|element| *element += piece + 1)
        });
        let piece_of = |index: usize| ends.iter().position(|&end| index < end).unwrap();
        assert!(
            whole.iter().enumerate().all(|(index, &found)| found == piece_of(index) + 1),
            "{length}"
        );
    }
    pool.split(&mut [0u8; 0], &[], |_, _| unreachable!("no parts"));
}

#[test]
fn wrong_parts_are_refused() {
    let pool = Pool::new(2, AWAKE).unwrap();
    for ends in [&[2, 1, 4][..], &[1, 5], &[1, 3]] {
        let split = || pool.split(&mut [0u8; 4], ends, |_, _| ());
        assert!(catch_unwind(AssertUnwindSafe(split)).is_err(), "{ends:?}");
    }
}

#[test]
fn threads_work_side_by_side() {
    let pool = Pool::new(2, AWAKE).unwrap();
    // Each of two pieces waits until the other has begun.
    let begun = AtomicUsize::new(0);
    pool.run(2, &|_| {
        begun.fetch_add(1, Ordering::SeqCst);
        while begun.load(Ordering::SeqCst) < 2 {
            thread::yield_now();
        }
    });
}

#[test]
fn a_panic_reaches_the_caller_and_the_threads_go_on() {
    let pool = Pool::new(3, AWAKE).unwrap();
    for culprit in 0..8 {
        let run = || pool.run(8, &|piece| assert!(piece != culprit, "piece {culprit}"));
        let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(panic.downcast_ref::<String>().unwrap(), &format!("piece {culprit}"));
        let done = AtomicUsize::new(0);
        pool.run(100, &|_| _ = done.fetch_add(1, Ordering::Relaxed));
        assert_eq!(done.into_inner(), 100);
    }
}

/// While one caller's sections follow each other without a break, another one's have the pool's
/// threads too: each of two pieces waits until the other has begun.
#[test]
fn callers_take_turns() {
    let pool = Pool::new(2, AWAKE).unwrap();
    let (done, sections) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                pool.run(4, &|_| _ = sections.fetch_add(1, Ordering::Relaxed));
            }
        });
        while sections.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        for _ in 0..100 {
            let begun = AtomicUsize::new(0);
            pool.run(2, &|_| {
                begun.fetch_add(1, Ordering::SeqCst);
                while begun.load(Ordering::SeqCst) < 2 {
                    thread::yield_now();
                }
            });
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn more_threads_than_can_be_counted_are_refused() {
    let error = Pool::new(THREADS_MAX + 1, AWAKE).unwrap_err();
    assert!(error.to_string().contains("1 to 1024"), "{error}");
}

/// Sections inside a piece and from several threads at once: none waits for another for ever.
#[test]
fn callers_share_the_threads() {
    let pool = Pool::new(3, AWAKE).unwrap();
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    pool.run(5, &|_| pool.run(3, &|_| _ = done.fetch_add(1, Ordering::Relaxed)));
                }
            });
        }
    });
    assert_eq!(done.into_inner(), 4 * 200 * 5 * 3);
}
