//! One tiny program a hazard (`tests/programs/hazards`): each behaves as without memlens and leaves a capture that is true.
mod recording;

use memlens_format::Allocator;
use memlens_format::shared::Header;
use recording::{Observed, Python, Recorder, Recording, any_python, compile_library, programs, pythons, text};
use std::ffi::OsStr;
use std::mem::offset_of;
use std::os::unix::process::ExitStatusExt;

/// Records a hazard and compares what it prints and how it ends with a plain run.
fn same_as_plain(python: &Python, name: &str) -> Recording {
    let recording = Recorder::new(python, "hazard").program(&format!("hazards/{name}")).record();
    let script = programs().join("hazards").join(name);
    let plain = python.run(&[script.as_os_str()], &recording.folder);
    // 128+N for signal N, as a shell has it.
    let expected = plain.status.code().or_else(|| plain.status.signal().map(|signal| 128 + signal));
    assert_eq!(recording.stdout(), text(&plain.stdout), "{name} on {}\n{}", python.name(), recording.stderr());
    assert_eq!(recording.output.status.code(), expected, "{name} on {}\n{}", python.name(), recording.stderr());
    recording
}

fn everywhere(name: &str, check: impl Fn(&Observed)) {
    for python in pythons() {
        check(&same_as_plain(&python, name).observed());
    }
}

/// A bytes object costs its length and at least this.
const BYTES_HEADER: i64 = 33;

/// Whole bytes objects of `size` that a function made. (An interpreter that ends in an orderly way releases them.) All
/// other objects of the function together are smaller than one of them.
fn assert_made(observed: &Observed, function: &str, count: i64, size: i64) {
    assert_blocks_made(observed, function, count, size + BYTES_HEADER);
}

/// The same of blocks of `bytes`, headers included: many headers of a build without the GIL are more than a block.
fn assert_blocks_made(observed: &Observed, function: &str, count: i64, bytes: i64) {
    let found = observed.allocated_in(function).allocated_bytes;
    let expected = count * bytes;
    assert!((expected..expected + bytes).contains(&found), "{function}: {found} bytes, expected {expected}");
}

#[test]
fn fork() {
    everywhere("fork.py", |observed| {
        assert_made(observed, "in_parent", 1, 7_000_000);
        let in_main_process = |site: &recording::observed::ObservedSite| site.site.process == 0;
        assert!(!observed.in_function("in_child").any(in_main_process), "the child's allocations are not the parent's");
    });
}

#[test]
fn exec() {
    for python in pythons() {
        same_as_plain(&python, "exec.py");
    }
}

#[test]
fn many_threads() {
    everywhere("threads.py", |observed| {
        let found = observed.allocated_in("in_thread").allocations
            + observed.allocated_in("in_thread.<locals>.<listcomp>").allocations;
        let inner =
            observed.allocated_in("<listcomp>").allocations + observed.allocated_in("in_thread.<listcomp>").allocations;
        assert!(found + inner >= 20 * 10 * 100, "{found} + {inner} allocations in threads");
    });
}

/// What tells the collector early that a program ends lies in memory that the program can write to.
#[test]
fn a_notice_of_the_end_that_is_wrong_changes_nothing() {
    let offset = offset_of!(Header, end_notice).to_string();
    for python in pythons() {
        let recorder = Recorder::new(&python, "notice").program("hazards/wrong_notice.py").argument(&offset);
        let recording = recorder.succeed();
        assert_eq!(recording.stdout(), "held by the main thread: True\n30\n", "{}", python.name());
        assert_made(&recording.observed(), "afterwards", 30, 100_000);
    }
}

/// The kernel takes tens of milliseconds for half a gigabyte, and memlens, when it has waited for that, well below one for what it does then.
#[test]
fn what_is_recorded_is_read_before_the_program_has_quite_gone() {
    for python in pythons() {
        let capture = same_as_plain(&python, "large_end.py").observed().capture;
        let latest = capture.timeline.last().expect("a point");
        assert!(latest.live_bytes >= 512 << 20, "on {}: {} bytes live at the end", python.name(), latest.live_bytes);
        let later_ns = capture.meta.duration_ns.saturating_sub(latest.time_ns);
        assert!(later_ns > 5_000_000, "on {}: read {later_ns} ns before the end", python.name());
    }
}

/// 200 threads of Python without the GIL and 16 of their own, at full speed: every block is counted, at the line of Python that waits for
/// it, or under the name of its thread.
#[test]
fn two_hundred_threads_and_sixteen_native_ones() {
    let library = compile_library("cc", "native_threads.c", &[]);
    let rounds = 4000;
    let python = any_python();
    let recorder = Recorder::new(&python, "threads").program("native_threads.py").argument(&library);
    let observed = recorder.arguments(&["200", "16", &rounds.to_string()]).succeed().observed();
    let names = (0..15).map(|number| format!("worker-{number}")).chain(["(unnamed)".to_owned()]);
    for (function, threads) in names.map(|name| (name, 1)).chain([("in_python_thread".to_owned(), 200)]) {
        let sites = observed.in_function(&function).map(|observed| observed.site);
        let sites: Vec<_> = sites.filter(|site| site.allocator == Allocator::AlignedAlloc).collect();
        let sum = |field: fn(&memlens_format::capture::Site) -> u64| sites.iter().map(field).sum::<u64>();
        let found = [sum(|site| site.allocations), sum(|site| site.allocated_bytes), sum(|site| site.live_bytes)];
        let blocks = threads * rounds;
        assert_eq!(found, [blocks, blocks / 4 * 640, blocks / 4 * 256], "{function} on {}", python.name());
    }
    assert_eq!(observed.capture.meta.unseen.lost_events, 0, "{}", python.name());
}

/// Each thread's counts are exact to the byte, also of functions whose code objects come and go, and of blocks that another thread releases.
#[test]
fn threads_at_full_speed() {
    let (threads, blocks, made_each) = (6, 3000, 24);
    for python in pythons() {
        let observed = same_as_plain(&python, "threads_at_full_speed.py").observed();
        let size = 1000 + python.bytes_header as i64;
        let in_block = observed.allocated_in("block");
        assert_eq!((in_block.allocations, in_block.allocated_bytes), (threads * blocks, threads * blocks * size));
        assert_eq!((in_block.live_count, in_block.live_bytes), (threads / 2 * blocks, threads / 2 * blocks * size));
        for thread in 0..threads {
            for turn in 0..5 {
                let made = observed.allocated_in(&format!("made_{thread}_{turn}"));
                let size = 2000 + 100 * thread + python.bytes_header as i64;
                let found = (made.allocations, made.allocated_bytes);
                assert_eq!(found, (made_each, made_each * size), "thread {thread}, turn {turn} on {}", python.name());
            }
        }
    }
}

/// What tracemalloc noted while the words were found is gone when it stops, but for the buckets of its three tables.
#[test]
fn tracemalloc_inside() {
    everywhere("tracemalloc_inside.py", |observed| {
        let is_under_match = |site: &&recording::observed::ObservedSite| {
            site.stack.iter().any(|frame| frame.function == "match")
                && matches!(site.site.allocator, Allocator::Malloc | Allocator::PymemRaw)
        };
        let live = observed.sites.iter().filter(is_under_match).map(|site| site.site.live_count).sum::<u64>();
        assert!(live <= 3, "{live} blocks live");
    });
}

/// What a thread releases after its destructors had a lane of its own that nobody got back: with 1,023 of them gone, events were lost.
#[test]
fn ending_threads() {
    for python in pythons() {
        let observed = same_as_plain(&python, "ending_threads.py").observed();
        assert_blocks_made(&observed, "block", 500 * 10, 50_000 + python.bytes_header as i64);
        assert_eq!(observed.capture.meta.unseen.lost_events, 0, "{}", python.name());
    }
}

/// Before 3.11 each level is a block, and so a site: even with 256 frames for each, their stacks are 300 MB.
#[test]
fn deep_recursion() {
    for python in pythons() {
        let recording = same_as_plain(&python, "deep_recursion.py");
        if python.minor < 11 {
            continue;
        }
        let shown = text(&recording.command(&["export", "--to", "collapsed"]).stdout);
        // The list of one block has its place on the same line, and so has the bound method (3.15 without the GIL). Without the GIL there may
        // be 2,048 bytes more (in one of a hundred runs): as much as a piece of the queue takes by which a thread hands an object back to its owner.
        let bytes_of = |line: &str| line.rsplit(' ').next().and_then(|bytes| bytes.parse().ok());
        let others = if python.is_free_threaded() { 200 + 2048 } else { 200 };
        let is_block =
            |line: &&str| bytes_of(line).is_some_and(|bytes| (5_000_000..5_000_000 + others).contains(&bytes));
        let deepest = shown
            .lines()
            .find(is_block)
            .unwrap_or_else(|| panic!("the block: {:?}", shown.lines().filter_map(bytes_of).max()));
        let frames = deepest.split(';').count();
        assert_eq!(frames, 192 + 1 + 64, "{}", python.name());
        assert!(deepest.contains(";(frames left out);"));
    }
}

#[test]
fn os_exit() {
    everywhere("os__exit.py", |observed| assert_made(observed, "kept_to_the_end", 1, 3_000_000));
}

/// Counts 5000 blocks whether the comprehension is a frame of its own (before 3.12) or not.
fn assert_five_thousand_kept(python: &Python, observed: &Observed) {
    let under =
        observed.python_sites().filter(|site| site.stack.iter().any(|frame| frame.function == "kept_to_the_end"));
    let (count, bytes) =
        under.fold((0, 0), |(count, bytes), site| (count + site.site.live_count, bytes + site.site.live_bytes));
    assert!((5000..5020).contains(&count), "{count} blocks live at the end");
    let expected = 5000 * (1000 + python.bytes_header);
    assert!((expected..expected + 60_000).contains(&bytes), "{bytes} bytes live at the end, expected {expected}");
}

#[test]
fn kill_9_leaves_a_complete_capture() {
    for python in pythons() {
        let observed = same_as_plain(&python, "signal_kill.py").observed();
        assert_five_thousand_kept(&python, &observed);
        assert_eq!(observed.capture.meta.exit.signal, Some(9));
    }
}

#[test]
fn a_crash_leaves_a_complete_capture() {
    for python in pythons() {
        let observed = same_as_plain(&python, "segv.py").observed();
        assert_five_thousand_kept(&python, &observed);
        assert_eq!(observed.capture.meta.exit.signal, Some(11));
    }
}

#[test]
fn aborting_interrupted_and_overflowing_the_stack() {
    for (program, signal) in [("abort.py", 6), ("interrupt.py", 2), ("stack_overflow.py", 11)] {
        everywhere(program, |observed| {
            assert_eq!(observed.capture.meta.exit.signal, Some(signal), "{program}");
            assert_eq!(observed.capture.meta.shortage, None, "{program}");
            assert!(observed.capture.meta.peak_bytes >= 5_000_000, "{program}");
        });
    }
}

#[test]
fn sigterm() {
    everywhere("signal_term.py", |observed| assert_eq!(observed.capture.meta.exit.signal, Some(15)));
}

#[test]
fn generators_that_are_abandoned() {
    everywhere("generators_abandoned.py", |_| {});
}

#[test]
fn an_allocation_that_fails_is_not_counted() {
    everywhere("huge_alloc.py", |observed| {
        assert!(observed.allocated_in("ask").allocated_bytes < 1_000_000, "a failed allocation was counted");
        assert_made(observed, "kept_to_the_end", 1, 1_234_567);
    });
}

#[test]
fn allocations_in_atexit() {
    everywhere("atexit_alloc.py", |observed| {
        let bytes = observed.allocated_in("at_exit").allocated_bytes;
        assert!(bytes >= 6_000_000 + BYTES_HEADER, "{bytes} bytes");
    });
}

#[test]
fn every_descriptor_is_closed() {
    everywhere("close_all.py", |observed| {
        let under = observed.python_sites().filter(|site| site.stack.iter().any(|frame| frame.function == "after"));
        let bytes: u64 = under.map(|site| site.site.allocated_bytes).sum();
        assert!(bytes >= 5 * 2_000_000, "{bytes} bytes");
    });
}

#[test]
fn the_standard_streams_are_closed_too() {
    everywhere("close_standard.py", |observed| assert_made(observed, "after", 1, 2_000_000));
}

#[test]
fn an_empty_script() {
    everywhere("empty.py", |observed| assert!(observed.capture.meta.peak_bytes > 0));
}

#[test]
fn names_beyond_ascii() {
    everywhere("ünïcode_名前.py", |observed| {
        assert_made(observed, "größe", 1, 2_000_000);
        assert_made(observed, "名前", 1, 3_000_000);
        // Python normalises identifiers (NFKC).
        assert_made(observed, "fun", 1, 5_000_000);
        let file = |site: &recording::observed::ObservedSite| site.stack[0].file.ends_with("ünïcode_名前.py");
        assert!(observed.in_function("größe").all(file));
    });
}

#[test]
fn the_working_directory_changes() {
    everywhere("change_folder.py", |observed| assert_made(observed, "after", 1, 2_000_000));
}

#[test]
fn an_uncaught_exception() {
    for python in pythons() {
        let recording = same_as_plain(&python, "uncaught.py");
        let script = programs().join("hazards/uncaught.py");
        let plain = python.run(&[script.as_os_str()], &recording.folder);
        assert_eq!(recording.stderr(), text(&plain.stderr), "{}", python.name());
    }
}

#[test]
fn subprocesses() {
    everywhere("subprocesses.py", |_| {});
}

#[test]
fn pools_of_processes() {
    everywhere("multiprocess.py", |_| {});
}

#[test]
fn a_signal_handler_that_allocates() {
    everywhere("signals.py", |_| {});
}

#[test]
fn finalizers_in_the_middle_of_allocations() {
    everywhere("gc_cycles.py", |_| {});
}

#[test]
fn users_of_trace_profile_and_monitoring_are_undisturbed() {
    everywhere("tracers.py", |observed| assert_made(observed, "kept_to_the_end", 1, 2_000_000));
}

/// What a program preloads itself stays preloaded, in front of memlens or behind it.
#[test]
fn a_preload_that_is_already_there() {
    let library = compile_library("cc", "preloaded.c", &[]);
    for python in pythons() {
        let recorder = Recorder::new(&python, "preload").variable("LD_PRELOAD", library.as_os_str());
        let code = "import ctypes; print(ctypes.CDLL(None).preloaded_answer()); kept = bytes(2_000_000)";
        let recording = recorder.arguments(&["-c", code]).succeed();
        assert_eq!(recording.stdout(), "42\n", "{}", python.name());
        assert_made(&recording.observed(), "<module>", 1, 2_000_000);
    }
}

/// The exit status of the program is that of `memlens run`.
#[test]
fn exit_statuses() {
    for python in pythons() {
        for status in ["0", "1", "2", "77", "255"] {
            let recorder = Recorder::new(&python, "status").program("hazards/exit_status.py");
            recorder.argument(OsStr::new(status)).record().assert_status(status.parse().expect("a number"));
        }
    }
}
