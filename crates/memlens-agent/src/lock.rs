//! The lock around the cold paths.
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// A spin lock: what it guards takes a microsecond and happens once a site. A thread can never wait for itself, for the hooks
/// pass straight through while the thread is inside memlens ([`crate::thread::Thread::inside`]).
pub struct Lock<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `with` hands out the value to one thread at a time.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    /// A free lock.
    pub const fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Runs `body` with the value.
    pub fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        let mut spins = 0u32;
        while self.taken.swap(true, Ordering::Acquire) {
            spins += 1;
            if spins.is_multiple_of(1024) {
                // SAFETY: sched_yield has no preconditions.
                unsafe { libc::sched_yield() };
            }
            core::hint::spin_loop();
        }
        // SAFETY: `taken` was false and is ours now.
        let result = body(unsafe { &mut *self.value.get() });
        self.taken.store(false, Ordering::Release);
        result
    }

    /// In a forked child: whoever held the lock is not here any more.
    ///
    /// # Safety
    /// There must be one thread in the process.
    pub unsafe fn reset(&self, value: T) {
        // SAFETY: the caller's promise.
        unsafe { self.value.get().write(value) };
        self.taken.store(false, Ordering::Release);
    }
}
