//! What the kernel refuses to memlens or to the program: the program's output and status are as without memlens, what was recorded is true, and
//! what was not is said in one line.
mod recording;

use recording::observed::Totals;
use recording::{MEMLENS, Observed, Python, Recorder, Recording, any_python, is_installed, new_folder, programs, text};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

fn recorder(python: &Python, program: &str) -> Recorder {
    Recorder::new(python, "limits").program(&format!("limits/{program}"))
}

/// `memlens run` where the kernel refuses system calls: "NAME=ERRNO,NAME=ERRNO".
fn refused(calls: &str) -> Recording {
    let python = any_python();
    let launcher = programs().join("limits/refuse.py");
    recorder(&python, "hold.py").behind(&python.path, &[launcher.as_ref(), calls.as_ref()]).record()
}

/// What `block` made, and what of that is live: counts, each of 1000 bytes and a header.
#[track_caller]
fn assert_blocks(observed: &Observed, python: &Python, made: i64, live: i64) {
    let size = 1000 + python.bytes_header as i64;
    let expected =
        Totals { allocations: made, allocated_bytes: made * size, live_count: live, live_bytes: live * size };
    assert_eq!(observed.allocated_in("block"), expected);
}

/// Without what memlens needs nothing is recorded, which is said in a line that names it; the program runs on.
fn assert_unrecorded(recording: &Recording, reason: &str) {
    recording.assert_status(3);
    assert_eq!(recording.stdout(), "5000\n");
    let message = recording.stderr();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.starts_with("memlens: nothing could be recorded: ") && message.contains(reason), "{message}");
    assert!(!recording.capture.exists(), "{message}");
}

#[test]
fn system_calls_that_memlens_can_do_without() {
    let calls = [
        "process_vm_readv",
        "ptrace",
        "userfaultfd",
        "membarrier",
        "epoll_create1",
        "fallocate",
        "madvise",
        "prlimit64",
    ];
    let recording = refused(&calls.map(|name| format!("{name}=EPERM")).join(","));
    recording.assert_status(3);
    assert_eq!(recording.stderr(), "");
    let observed = recording.observed();
    assert_eq!(observed.allocated_in("block").allocations, 5000);
    assert_eq!(observed.capture.meta.unseen.lost_events, 0);
}

#[test]
fn system_calls_that_it_needs() {
    assert_unrecorded(&refused("memfd_create=ENOSYS"), "(memfd_create): Function not implemented");
    assert_unrecorded(&refused("pidfd_open=EPERM"), "(pidfd_open): Operation not permitted");
}

/// Where the tables can no longer grow, what is counted so far stays, and the rest is counted as lost.
#[test]
fn a_program_that_filters_itself() {
    let python = any_python();
    let recording = recorder(&python, "filter_oneself.py").record();
    recording.assert_status(3);
    assert_eq!((recording.stdout().as_str(), recording.stderr().as_str()), ("5000 11000\n", ""));
    let observed = recording.observed_in_part();
    let reason = &observed.capture.meta.incomplete_reason;
    assert!(reason.contains("a table of the recorder could not grow"), "{reason}");
    // Where the blocks lie decides whether a table has to grow among them already: what is not counted is lost.
    let (made, lost) = (observed.allocated_in("block").allocations, observed.capture.meta.unseen.lost_events);
    assert_blocks(&observed, &python, made, made);
    assert!((1..=5000).contains(&made) && made as u64 + lost >= 5000, "{made} blocks, {lost} events lost");
    assert!(lost > 0, "the tables grew without mremap");
    assert!(text(&recording.command(&["summary"]).stdout).contains("events not recorded"));
}

#[test]
fn a_program_that_limits_itself() {
    let python = any_python();
    let recording = recorder(&python, "limit_oneself.py").record();
    recording.assert_status(3);
    assert_eq!((recording.stdout().as_str(), recording.stderr().as_str()), ("2\n", ""));
    let observed = recording.observed();
    assert_blocks(&observed, &python, 10_000, 10_000);
    assert_eq!(observed.capture.meta.unseen.lost_events, 0);
}

/// A limit is the program's: memlens lifts its own as far as it may, and the program sees what was set.
#[test]
fn few_descriptors_and_little_data() {
    let python = any_python();
    let limited = recorder(&python, "hold.py").arguments(&["RLIMIT_NOFILE", "RLIMIT_DATA"]);
    let limited = limited.after("ulimit -S -n 8 && ulimit -S -d 200000", Path::new("-"));
    let recording = limited.record();
    recording.assert_status(3);
    assert_eq!((recording.stdout().as_str(), recording.stderr().as_str()), ("5000 8 204800000\n", ""));
    assert_blocks(&recording.observed(), &python, 5000, 5000);
}

#[test]
fn too_few_descriptors_are_found_out_before_the_program_runs() {
    let recording = recorder(&any_python(), "hold.py").after("ulimit -n 8", Path::new("-")).record();
    if recording.stderr().is_empty() {
        eprintln!("skipped: this user may raise limits");
        return;
    }
    recording.assert_status(2);
    assert_eq!(recording.stdout(), "");
    assert_eq!(recording.stderr(), "memlens: only 8 files may be open at once (ulimit -n); memlens needs 12\n");
    assert!(!recording.capture.exists());
}

#[test]
fn a_limit_on_data() {
    let python = any_python();
    let recording = recorder(&python, "limit_data.py").record();
    recording.assert_status(1);
    let observed = recording.observed();
    let shortage = observed.capture.meta.shortage.as_ref().expect("a shortage");
    assert_eq!((shortage.bound.as_str(), shortage.limit_bytes), ("on data", 256 << 20));
    assert_eq!((shortage.killed, shortage.refused_bytes), (0, (8 << 20) + python.bytes_header));
    let innermost = shortage.refused_stack.first().expect("a frame");
    assert_eq!((innermost.0.as_str(), innermost.2), ("hold", 10));
    assert!(observed.capture.meta.peak_bytes > 200 << 20, "{} bytes", observed.capture.meta.peak_bytes);
}

/// Shared memory is the kernel's own, of no file system.
#[test]
fn no_dev_shm() {
    let hides = "mount -t tmpfs -o ro,size=4k tmpfs /dev/shm";
    let may = Command::new("unshare").args(["--mount", "sh", "-c", hides]).stderr(Stdio::null()).status();
    if !is_installed("unshare") || !may.is_ok_and(|status| status.success()) {
        eprintln!("skipped: cannot mount in a name space of its own here");
        return;
    }
    let python = any_python();
    let shell = format!("{hides} && exec \"$@\"");
    let words = ["--mount", "sh", "-c", &shell, "-"].map(OsStr::new);
    let recording = recorder(&python, "hold.py").behind("unshare", &words).record();
    recording.assert_status(3);
    assert_eq!(recording.stderr(), "");
    assert_blocks(&recording.observed(), &python, 5000, 5000);
}

/// The program needs nobody to listen: not for its tables, nor for a thread.
#[test]
fn a_collector_that_is_stopped() {
    let python = any_python();
    let recording = recorder(&python, "stop_collector.py").record();
    recording.assert_status(3);
    assert_eq!((recording.stdout().as_str(), recording.stderr().as_str()), ("ready\n15 5000\n", ""));
    let observed = recording.observed();
    assert_blocks(&observed, &python, 30 * 5000, 15 * 5000);
    assert_eq!(observed.capture.meta.unseen.lost_events, 0);
}

/// Wherever SIGKILL meets the program, the capture is whole, and counts what the program had said it made, and at most the turn it was in.
#[test]
fn kill_9_at_any_moment() {
    let python = any_python();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(std::process::id());
    for _ in 0..5 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        kill_after(&python, (random % 1000) as usize);
    }
}

/// Kills the program as soon as it has printed so many lines. It prints on while the signal is on its way.
///
/// Of one event, the one that was being written, the count may be there and the bytes not yet (seen in 1 of 200 kills of the debug build).
fn kill_after(python: &Python, lines: usize) {
    let folder = new_folder("kill");
    let capture = folder.join("capture.mlens");
    let mut command = Command::new(MEMLENS);
    command.args(["run", "-q", "-o"]).arg(&capture).arg("--python").arg(&python.path);
    command.arg(programs().join("limits/work_until_killed.py")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut memlens = command.spawn().expect("memlens");
    let mut output = BufReader::new(memlens.stdout.take().expect("a pipe")).lines().map(|line| line.expect("text"));
    let program = output.next().expect("the process id");
    let mut last = output.by_ref().take(lines).last();
    Command::new("kill").args(["-9", &program]).status().expect("kill");
    last = output.last().or(last);
    let result = memlens.wait_with_output().expect("its end");
    assert_eq!((result.status.code(), text(&result.stderr).as_str()), (Some(137), ""), "after {lines} lines");
    let recording = Recording { output: result, capture, folder };
    let observed = recording.observed();
    let said: i64 = last.map_or(0, |line| line.parse().expect("a count"));
    let found = observed.allocated_in("block");
    assert!((said..=said + 100).contains(&found.allocations), "{} blocks, {said} said", found.allocations);
    assert!((0..=41).contains(&found.live_count), "{} blocks live", found.live_count);
    let block_bytes = 1000 + python.bytes_header as i64;
    let missing = found.allocations * block_bytes - found.allocated_bytes;
    assert!(missing == 0 || missing == block_bytes, "{} bytes of {} blocks", found.allocated_bytes, found.allocations);
    let difference = found.live_count * block_bytes - found.live_bytes;
    assert!(
        [0, block_bytes, -block_bytes].contains(&difference),
        "{} bytes in {} blocks",
        found.live_bytes,
        found.live_count
    );
    assert_eq!(observed.capture.meta.exit.signal, Some(9));
}
