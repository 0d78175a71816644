//! Another processor than the program's, while that is loaded.
//!
//! A program that is started begins on the processor of who starts it, and Linux may leave both there although another is idle; when the
//! program then says hello, the collector is woken in its place. What is done here while a program is loaded would be done at
//! its cost: a millisecond.
use crate::process_info::ProcessInfo;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps this thread off a processor until it is dropped.
pub struct Aside {
    allowed: CpuSet,
}

impl Aside {
    /// Off that where `program` is, if this thread may run on another.
    pub fn of(program: &ProcessInfo) -> Option<Self> {
        let processor = program.processor().filter(|&processor| processor < CpuSet::MAX_CPU)?;
        let allowed = sched_getaffinity(None).ok()?;
        let mut others = allowed;
        others.unset(processor);
        let is_moved = others.count() > 0 && sched_setaffinity(None, &others).is_ok();
        is_moved.then_some(Self { allowed })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // It fails only if all these processors were taken from this process, and then the kernel has given it others.
        let _ = sched_setaffinity(None, &self.allowed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processors_are_the_same_afterwards() {
        let before = sched_getaffinity(None).unwrap();
        let here = ProcessInfo::new(std::process::id());
        let aside = Aside::of(&here);
        assert_eq!(aside.is_some(), before.count() > 1);
        assert_eq!(sched_getaffinity(None).unwrap().count(), before.count().saturating_sub(1).max(1));
        drop(aside);
        assert_eq!(sched_getaffinity(None).unwrap(), before);
        assert!(Aside::of(&ProcessInfo::new(u32::MAX)).is_none());
    }
}
