//! A process as `/proc` shows it.
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// What `/proc/PID` says about a process. Everything is `None` or empty once it has ended.
pub struct ProcessInfo {
    pid: u32,
    statm: Option<File>,
}

impl ProcessInfo {
    /// The process `pid`.
    pub fn new(pid: u32) -> Self {
        Self { pid, statm: File::open(format!("/proc/{pid}/statm")).ok() }
    }

    /// Resident set, shared pages included. Costs one system call.
    pub fn resident_bytes(&self) -> Option<u64> {
        let mut buffer = [0; 128];
        let length = self.statm.as_ref()?.read_at(&mut buffer, 0).ok()?;
        let text = std::str::from_utf8(&buffer[..length]).ok()?;
        let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
        Some(pages * rustix::param::page_size() as u64)
    }

    /// The kernel's own high-water mark of the resident set (`VmHWM`), shared pages included. Costs some 20 µs.
    pub fn resident_peak_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes * 1024)
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
