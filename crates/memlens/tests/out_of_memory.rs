//! Programs that end for want of memory: the capture says so, with the limit, what was asked for and where.
mod recording;

use memlens_format::capture::Shortage;
use recording::{Python, Recorder, Recording, pythons, text};
use std::path::{Path, PathBuf};
use std::process::Command;

fn frames(shortage: &Shortage) -> Vec<(&str, u32)> {
    shortage.refused_stack.iter().map(|(function, _, line)| (function.as_str(), *line)).collect()
}

/// What the program can hold under its limit when it is not recorded: nearly all, but where there is no GIL two thirds, for the allocator takes
/// addresses by the gigabyte.
fn bytes_without_memlens(python: &Python, recording: &Recording) -> u64 {
    if !python.is_free_threaded() {
        return 2 << 30;
    }
    let code = "import resource; limit = 2 << 30; resource.setrlimit(resource.RLIMIT_AS, (limit, limit)); kept = []\n\
                try:\n    while True: kept.append(bytes(16 << 20))\n\
                except MemoryError: print(len(kept) * (16 << 20))";
    let plain = python.run(&["-c".as_ref(), code.as_ref()], &recording.folder);
    text(&plain.stdout).trim_end().parse().unwrap_or_else(|error| panic!("{}: {error}: {plain:?}", python.name()))
}

#[test]
fn a_limit_on_the_address_space() {
    for python in pythons() {
        let recording = Recorder::new(&python, "limit").program("hazards/limit_address_space.py").record();
        recording.assert_status(1);
        assert!(recording.stderr().contains("MemoryError"), "{}: {}", python.name(), recording.stderr());
        let observed = recording.observed();
        let shortage = observed.capture.meta.shortage.as_ref().expect("a shortage");
        assert_eq!((shortage.bound.as_str(), shortage.limit_bytes), ("on the address space", 2 << 30));
        assert_eq!(
            (shortage.killed, shortage.refused_bytes),
            (0, (16 << 20) + python.bytes_header),
            "{}",
            python.name()
        );
        let outermost = *frames(shortage).last().expect("a frame");
        assert_eq!((&frames(shortage)[..2], outermost), (&[("hold", 10), ("grow", 16)][..], ("<module>", 19)));
        assert!(observed.capture.meta.exit.out_of_memory);
        // The bug: the tables took a quarter of a heap of large blocks as well, and the program got 1.34 GiB.
        let (peak_bytes, plain_bytes) = (observed.capture.meta.peak_bytes, bytes_without_memlens(&python, &recording));
        assert!(peak_bytes + (148 << 20) > plain_bytes, "{}: {peak_bytes} bytes of {plain_bytes}", python.name());
    }
}

/// A program that lives on after an allocation was refused has not ended for that.
#[test]
fn a_refused_allocation_that_is_handled() {
    for python in pythons() {
        let recording = Recorder::new(&python, "handled").program("hazards/huge_alloc.py").succeed();
        assert_eq!(recording.observed().capture.meta.shortage, None, "{}", python.name());
    }
}

/// A control group with a limit, removed when dropped.
struct Group(PathBuf);

impl Group {
    /// `None` where none can be made.
    fn new(limit: &str) -> Option<Self> {
        let name = format!("memlens-test-{}", std::process::id());
        let kinds = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        let made = kinds.into_iter().find_map(|(root, limit_file)| {
            let folder = Path::new(root).join(&name);
            std::fs::create_dir(&folder).ok()?;
            let group = Self(folder);
            std::fs::write(group.0.join(limit_file), limit).ok().map(|()| group)
        });
        if made.is_none() {
            eprintln!("skipped: cannot make a control group with a limit here");
        }
        made
    }

    /// `memlens run` of the hazard from within the group.
    fn record(&self, python: &Python) -> recording::Recording {
        Recorder::new(python, "group").within(&self.0.join("cgroup.procs")).program("hazards/limit_group.py").record()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // All in it have ended; should one not have, the group stays.
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_limit_of_the_control_group() {
    let Some(group) = Group::new("268435456") else { return };
    for python in pythons() {
        let recording = group.record(&python);
        recording.assert_status(137);
        let observed = recording.observed();
        let meta = &observed.capture.meta;
        assert_eq!((meta.exit.signal, meta.exit.out_of_memory), (Some(9), true), "{}", python.name());
        let shortage = meta.shortage.as_ref().expect("a shortage");
        assert_eq!((shortage.bound.as_str(), shortage.limit_bytes), ("of the control group", 268_435_456));
        assert_eq!(shortage.killed, 1, "{}", python.name());
        let live: u64 = observed.in_function("hold").map(|site| site.site.live_bytes).sum();
        assert!((200 << 20..256 << 20).contains(&live), "{}: {live} bytes", python.name());
        let printed =
            Command::new(recording::MEMLENS).arg("summary").arg(&recording.capture).output().expect("memlens");
        let printed = recording::text(&printed.stdout);
        // The bug: lines that had grown by some hundred bytes stood beside the one that had by 248 MiB.
        let grown = printed.lines().filter(|line| line.trim_start().starts_with('+'));
        assert!(grown.clone().count() > 0 && grown.clone().all(|line| line.contains(" MiB  ")), "{printed}");
        for line in ["killed for want of memory", "The limit of the control group was 256 MiB.", "limit_group.py:5"] {
            assert!(printed.contains(line), "{line} is missing:\n{printed}");
        }
    }
}
