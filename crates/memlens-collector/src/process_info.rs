//! A process as `/proc` shows it.
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Of a thread's flags in the kernel: it is on its way out (`PF_EXITING`).
const PF_EXITING: u32 = 4;

/// What `/proc/PID` says about a process. Everything is `None` or empty once it has ended.
pub struct ProcessInfo {
    pid: u32,
    statm: Option<File>,
}

/// Resident set, shared pages included.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resident {
    /// All pages.
    pub all_bytes: u64,
    /// Those of neither files nor shared memory.
    pub anonymous_bytes: u64,
}

/// Proportional set sizes: each page divided by the number of processes that map it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Proportional {
    /// All pages.
    pub all_bytes: u64,
    /// Those of shared memory.
    pub shared_memory_bytes: u64,
}

impl ProcessInfo {
    /// The process `pid`.
    pub fn new(pid: u32) -> Self {
        Self { pid, statm: File::open(format!("/proc/{pid}/statm")).ok() }
    }

    /// Resident set, shared pages included. Costs one system call.
    pub fn resident_bytes(&self) -> Option<u64> {
        self.resident().map(|resident| resident.all_bytes)
    }

    /// Resident set and its parts. Costs one system call.
    pub fn resident(&self) -> Option<Resident> {
        let mut buffer = [0; 128];
        let length = self.statm.as_ref()?.read_at(&mut buffer, 0).ok()?;
        let text = std::str::from_utf8(&buffer[..length]).ok()?;
        let mut numbers = text.split(' ').skip(1).map(|number| number.parse::<u64>().ok());
        let (all, not_anonymous) = (numbers.next()??, numbers.next()??);
        let page = rustix::param::page_size() as u64;
        Some(Resident { all_bytes: all * page, anonymous_bytes: all.saturating_sub(not_anonymous) * page })
    }

    /// Whether the process' last thread is exiting: it will execute nothing any more. False where that cannot be known.
    pub fn is_exiting(&self) -> bool {
        let [flags, threads] = self.numbers([9, 20]);
        flags.is_some_and(|flags| flags & PF_EXITING != 0) && threads == Some(1)
    }

    /// The processor that the main thread is on, or was on last.
    pub fn processor(&self) -> Option<usize> {
        let [processor] = self.numbers([39]);
        usize::try_from(processor?).ok()
    }

    /// Fields of `/proc/PID/stat` from the third on, as they are counted in proc(5).
    fn numbers<const COUNT: usize>(&self, fields: [usize; COUNT]) -> [Option<u32>; COUNT] {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // The second, a name in parentheses, may have any characters in it.
        let numbers = stat.rsplit_once(')').map_or("", |(_, numbers)| numbers);
        fields.map(|field| numbers.split_whitespace().nth(field - 3)?.parse().ok())
    }

    /// The kernel's own high-water mark of the resident set (`VmHWM`), shared pages included. Costs some 20 µs.
    pub fn resident_peak_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        kibibytes(&status, "VmHWM:")
    }

    /// Proportional set sizes. Costs a walk over the page tables: 12 ms for each GiB that is resident.
    pub fn proportional(&self) -> Option<Proportional> {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).ok()?;
        let all_bytes = kibibytes(&text, "Pss:")?;
        // Kernels before 5.9 do not tell it apart.
        Some(Proportional { all_bytes, shared_memory_bytes: kibibytes(&text, "Pss_Shmem:").unwrap_or(0) })
    }

    /// The command line.
    pub fn command(&self) -> Vec<String> {
        let bytes = std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let text = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
        if text.is_empty() {
            return Vec::new();
        }
        let word = |bytes: &[u8]| OsString::from_vec(bytes.to_vec()).to_string_lossy().into_owned();
        text.split(|&byte| byte == 0).map(word).collect()
    }

    /// The executable.
    pub fn executable(&self) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{}/exe", self.pid)).ok()
    }
}

/// The figure of the line that begins with `name`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    use std::process::{Command, Stdio};

    #[test]
    fn who_is_exiting_is_told_from_who_runs() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let info = ProcessInfo::new(child.id());
        assert!(!info.is_exiting());
        drop(child.stdin.take());
        // As far gone as it can be before it is waited for.
        let pid = WaitId::Pid(Pid::from_child(&child));
        waitid(pid, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        assert!(info.is_exiting());
        child.wait().unwrap();
        assert!(!info.is_exiting());
    }
}
