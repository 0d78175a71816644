//! The news that a process' main thread has ended, a while before the process has.
//!
//! A descriptor tells of a process' end when the kernel has taken it apart: for `python -c pass` that takes a millisecond, for a large program
//! many, in which its tables can be read already. What tells of it sooner is a futex in the shared memory ([`Header::end_notice`]), for which a
//! thread has to wait. That thread does nothing else.
use crate::mapping::Mapping;
use crate::server::SharedFile;
use memlens_format::shared::{END_NOTICE_DIED, Header};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::thread::futex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Relaxed};
use std::thread;

/// The word changes twice or three times. A program that overwrites it again and again is not listened to.
const MOST_CHANGES: u32 = 1000;
/// The thread needs next to nothing.
const STACK_BYTES: usize = 64 << 10;

/// Waits for a process' main thread to end.
pub struct EndWatch {
    shared: Arc<Shared>,
}

struct Shared {
    header: Mapping,
    news: OwnedFd,
}

impl EndWatch {
    /// Begins to wait. `None` if there is no thread to be had: then the end is known when it is over.
    pub fn begin(file: &SharedFile) -> Option<Self> {
        let header = Mapping::writable(&file.file, size_of::<Header>()).ok()?;
        let news = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
        let shared = Arc::new(Shared { header, news });
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("end".to_owned()).stack_size(STACK_BYTES);
        thread.spawn(move || of_thread.wait()).ok()?;
        Some(Self { shared })
    }

    /// Becomes readable with the news, or when the word in the shared memory says so wrongly: it has to be asked whether it is true.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.shared.news.as_fd()
    }
}

impl Drop for EndWatch {
    /// Ends the thread, for which nobody waits: who still has the memory could write over the word and keep it. Nobody else ever looks at the
    /// word's other bits: the program holds the mutex until it ends.
    fn drop(&mut self) {
        if let Some(word) = self.shared.word() {
            word.fetch_or(END_NOTICE_DIED, Relaxed);
            let _ = futex::wake(word, futex::Flags::empty(), u32::MAX >> 1);
        }
    }
}

impl Shared {
    fn word(&self) -> Option<&AtomicU32> {
        self.header.record::<Header>(0).map(|header| &header.end_notice[0])
    }

    fn wait(&self) {
        let Some(word) = self.word() else { return };
        for _ in 0..MOST_CHANGES {
            let value = word.load(Acquire);
            if value & END_NOTICE_DIED != 0 {
                // Fails only if it was told already.
                let _ = rustix::io::write(&self.news, &1u64.to_ne_bytes());
                return;
            }
            match futex::wait(word, futex::Flags::empty(), value, None) {
                Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn has_news(watch: &EndWatch, patience_s: i64) -> bool {
        let mut entries = [PollFd::from_borrowed_fd(watch.descriptor(), PollFlags::IN)];
        poll(&mut entries, Some(&Timespec { tv_sec: patience_s, tv_nsec: 0 })).unwrap() == 1
    }

    #[test]
    fn the_news_comes_with_the_bit_and_the_thread_ends_without_it() {
        let file = SharedFile::new().unwrap();
        let header = Mapping::writable(&file.file, size_of::<Header>()).unwrap();
        let word = &header.record::<Header>(0).unwrap().end_notice[0];
        let watch = EndWatch::begin(&file).unwrap();
        word.store(0x8000_1234, Relaxed);
        futex::wake(word, futex::Flags::empty(), 1).unwrap();
        assert!(!has_news(&watch, 0));
        word.store(0xc000_0000, Relaxed);
        futex::wake(word, futex::Flags::empty(), 1).unwrap();
        assert!(has_news(&watch, 60));
        word.store(0, Relaxed);
        // Its thread ends with it, although nobody gave notice: else this would go on for ever.
        let watch = EndWatch::begin(&file).unwrap();
        let shared = Arc::downgrade(&watch.shared);
        drop(watch);
        while shared.strong_count() > 0 {
            thread::yield_now();
        }
    }
}
