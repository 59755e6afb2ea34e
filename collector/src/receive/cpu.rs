//! Keeping a worker on one CPU.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps the calling thread on the CPU of this `number`, counted from 0 among those that it may run on (a container, `taskset` or a
/// cpuset may leave it any of the machine's) and around them where there are fewer.
pub(crate) fn pin_to_cpu(number: u32) -> io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let cpu = chosen(&allowed, number).ok_or_else(|| io::Error::other("there is no CPU that it may run on"))?;
    let mut alone = CpuSet::new();
    alone.set(cpu);
    Ok(sched_setaffinity(None, &alone)?)
}

/// Keeps the calling thread, one of `workers` that are busy together, on the CPU of its `number`, where there is one for each of them and no more;
/// whether it is so. Where there are more, only the kernel knows which of them others leave free.
pub(crate) fn pin_to_own_cpu(number: u32, workers: u32) -> bool {
    sched_getaffinity(None).is_ok_and(|allowed| allowed.count() == workers) && pin_to_cpu(number).is_ok()
}

/// The CPU of this `number` among those that are `allowed`.
fn chosen(allowed: &CpuSet, number: u32) -> Option<usize> {
    let number = number.checked_rem(allowed.count())?;
    (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).nth(number as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(cpus: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        for cpu in cpus {
            set.set(*cpu);
        }
        set
    }

    #[test]
    fn workers_are_spread_over_the_cpus_that_are_allowed_wherever_these_begin() {
        let allowed = set(&[3, 5, 6]);
        let chosen: Vec<_> = (0..5).filter_map(|number| chosen(&allowed, number)).collect();
        assert_eq!(chosen, [3, 5, 6, 3, 5]);
        assert_eq!(super::chosen(&CpuSet::new(), 0), None);
    }

    #[test]
    fn a_worker_has_a_cpu_of_its_own_only_where_there_are_as_many_as_workers() {
        let allowed = sched_getaffinity(None).unwrap();
        let workers = allowed.count();
        for number in 0..workers {
            let own = std::thread::spawn(move || {
                assert!(pin_to_own_cpu(number, workers));
                sched_getaffinity(None).unwrap()
            });
            let own = own.join().unwrap();
            assert_eq!(own, set(&[chosen(&allowed, number).unwrap()]));
        }
        for others in [workers - 1, workers + 1] {
            let left = std::thread::spawn(move || {
                assert!(!pin_to_own_cpu(0, others));
                sched_getaffinity(None).unwrap()
            });
            assert_eq!(left.join().unwrap(), allowed, "{others} workers");
        }
    }

    #[test]
    fn a_thread_that_is_pinned_runs_on_an_allowed_cpu_and_on_no_other() {
        let cpus = |set: &CpuSet| -> Vec<usize> { (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect() };
        let allowed = cpus(&sched_getaffinity(None).unwrap());
        for number in 0..3_u32 {
            // A mask holds for a thread, and for those that it starts.
            let pinned = std::thread::spawn(move || {
                pin_to_cpu(number).unwrap();
                sched_getaffinity(None).unwrap()
            });
            assert_eq!(cpus(&pinned.join().unwrap()), [allowed[number as usize % allowed.len()]]);
            let last = *allowed.last().unwrap();
            let pinned = std::thread::spawn(move || {
                sched_setaffinity(None, &set(&[last])).unwrap();
                pin_to_cpu(number).unwrap();
                sched_getaffinity(None).unwrap()
            });
            assert_eq!(cpus(&pinned.join().unwrap()), [last], "only this one was allowed");
        }
    }
}
