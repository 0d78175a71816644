//! Lets the collector know that this process is at its end, while the kernel still takes it apart.
//!
//! The main thread holds a robust mutex in the shared file for as long as it lives. When a thread ends, however it ends, the kernel
//! first of all marks the robust mutexes that it holds and wakes who waits for them; only then it gives back the memory, which
//! takes a millisecond of a small program's end. So the program makes no system call for this beyond one when it starts.
use core::ptr::{NonNull, addr_of_mut};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use libc::{pthread_mutex_t, pthread_mutexattr_t};
use memlens_format::shared::{END_NOTICE_WORDS, Header};

const _: () = assert!(size_of::<pthread_mutex_t>() == size_of::<[AtomicU32; END_NOTICE_WORDS]>());
const _: () = assert!(align_of::<pthread_mutex_t>() <= 8);

/// Has the kernel give the notice at the end of the calling thread, if that is the process' main one.
pub fn promise(header: &'static Header) {
    // SAFETY: neither call has preconditions.
    if unsafe { libc::gettid() != libc::getpid() } {
        return;
    }
    let notice = &header.end_notice;
    let mutex = NonNull::from(notice).cast::<pthread_mutex_t>();
    // SAFETY: the mutex is as large as the words (above) and nobody else's. It stays where it is: the file is mapped for ever, and a
    // forked child's C library forgets the mutexes of its parent.
    if unsafe { lock(mutex) } {
        // As if somebody waited for it already, for of others the kernel tells nobody.
        notice[0].fetch_or(libc::FUTEX_WAITERS, Relaxed);
        // SAFETY: wakes those that wait for the first word.
        unsafe { libc::syscall(libc::SYS_futex, notice.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
    }
}

/// # Safety
/// `mutex` must lead to room for one, which no other thread uses and which stays for as long as the calling thread lives.
unsafe fn lock(mutex: NonNull<pthread_mutex_t>) -> bool {
    let mut kind = core::mem::MaybeUninit::<pthread_mutexattr_t>::uninit();
    let kind = addr_of_mut!(kind).cast();
    // SAFETY: the attributes are initialised first; for the mutex the caller promises.
    unsafe {
        libc::pthread_mutexattr_init(kind) == 0
            && libc::pthread_mutexattr_setpshared(kind, libc::PTHREAD_PROCESS_SHARED) == 0
            && libc::pthread_mutexattr_setrobust(kind, libc::PTHREAD_MUTEX_ROBUST) == 0
            && libc::pthread_mutex_init(mutex.as_ptr(), kind) == 0
            && libc::pthread_mutex_lock(mutex.as_ptr()) == 0
    }
}
