//! Every byte and every count of the allocation drivers' own books agrees with the capture.
//!
//! A driver is recorded twice, once doing everything and once doing nothing; the difference is what it did.
mod recording;

use memlens_format::capture::Region;
use recording::observed::{ObservedSite, Totals};
use recording::{Observed, Python, Recorder, any_python, compile_library, is_installed, pythons, text};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

type Books = BTreeMap<String, Totals>;

struct Run {
    observed: Observed,
    books: Books,
}

fn record(python: &Python, library: &Path, mode: &str, seed: &str) -> Run {
    let recorder = Recorder::new(python, "driver").program("driver.py").argument(library);
    let recording = recorder.arguments(&[mode, seed]).succeed();
    let field = |book: &serde_json::Value, name: &str| book[name].as_i64().expect("a number");
    let totals = |book: &serde_json::Value| Totals {
        allocations: field(book, "allocations"),
        allocated_bytes: field(book, "allocated_bytes"),
        live_count: field(book, "live_count"),
        live_bytes: field(book, "live_bytes"),
    };
    let answer = recording.answer();
    let books = answer.as_object().expect("an object").iter().map(|(name, book)| (name.clone(), totals(book)));
    Run { observed: recording.observed(), books: books.collect() }
}

/// What the driver did, by allocator: one recording minus the other. A name may be "one or another", where libraries differ.
fn difference(python: &Python, on: &Observed, off: &Observed, names: &str) -> Totals {
    let by_allocator = |observed: &Observed| {
        if python.is_free_threaded() { observed.by_allocator_in("driver.py") } else { observed.by_allocator() }
    };
    let of = |observed: &Observed, name| by_allocator(observed).get(name).copied().unwrap_or_default();
    let each = names.split(" or ").map(|name| of(on, name).minus(of(off, name)));
    each.fold(Totals::default(), |sum, more| sum.minus(Totals::default().minus(more)))
}

fn assert_books_agree(python: &Python, library: &Path, seed: &str) {
    let on = record(python, library, "1", seed);
    let off = record(python, library, "0", seed);
    let mut expected = on.books;
    let mut found: Books =
        expected.keys().map(|name| (name.clone(), difference(python, &on.observed, &off.observed, name))).collect();
    for books in [&mut expected, &mut found] {
        forget_pieces(books);
    }
    assert_eq!(found, expected, "{}, seed {seed}", python.name());
}

/// As how many pieces a mapping counts that was released in part is no promise: live counts of mappings are not compared.
fn forget_pieces(books: &mut Books) {
    for name in ["mmap", "mremap", "brk", "mmap_file", "mmap_shared"] {
        if let Some(book) = books.get_mut(name) {
            book.live_count = 0;
        }
    }
}

#[test]
fn every_c_function_from_several_threads() {
    let library = compile_library("cc", "driver.c", &[]);
    for python in pythons() {
        assert_books_agree(&python, &library, "42");
    }
}

#[test]
fn every_c_function_with_other_seeds() {
    let library = compile_library("cc", "driver.c", &[]);
    for seed in ["1", "2", "3"] {
        assert_books_agree(&any_python(), &library, seed);
    }
}

/// jemalloc's and mimalloc's functions inside a library, which only its symbols show.
#[test]
fn allocators_inside_a_library() {
    for (level, seed) in [("-O2", "1"), ("-O3", "2")] {
        let library = compile_library("cc", "driver_static.c", &[level]);
        assert_books_agree(&any_python(), &library, seed);
    }
}

/// Without symbols the allocators' own mappings are counted, whole.
#[test]
fn allocators_inside_a_stripped_library() {
    let library = compile_library("cc", "driver_static.c", &["-O2", "-s"]);
    let run = record(&any_python(), &library, "1", "1");
    let found = run.observed.by_allocator();
    assert_eq!(found.get("jemalloc").or(found.get("mimalloc")), None);
    assert!(found["mmap"].allocated_bytes - run.books["mmap"].allocated_bytes >= 2 * (8 << 20));
    let shown: Vec<_> =
        run.observed.capture.regions.iter().map(|region| (&*region.library, region.mapped_bytes)).collect();
    assert_eq!(shown, [(library.to_str().expect("a path"), 2 * (8 << 20) + (3 << 20))]);
}

/// What a library maps for an allocator that cannot be told is in the summary with its size, and how much of it was used: of this process when
/// it unmaps, at 12 MiB, and of its child at the end.
#[test]
fn regions_of_a_library() {
    let library = compile_library("cc", "regions.c", &[]);
    let recording = Recorder::new(&any_python(), "regions").program("regions.py").argument(&library).succeed();
    let (mapped, resident) = ((12 << 20) + (1 << 20), (3 << 19) + (100 << 10));
    let expected = serde_json::json!([{ "library": library, "mapped_bytes": mapped, "resident_bytes": resident }]);
    assert_eq!(recording.json("summary")["regions"], expected);
    let summary = text(&recording.command(&["summary"]).stdout);
    assert!(summary.contains("\n  13.0 MiB  1.60 MiB  libprogram.so\n"), "{summary}");
}

/// The child of a fork once waited in vain for the look that another thread had begun before it: no library was looked at in it any more.
#[test]
fn fork_while_a_library_is_looked_at() {
    let [first, second] = [0, 1].map(|_| compile_library("cc", "regions.c", &[]));
    let recorder = Recorder::new(&any_python(), "looking").program("hazards/fork_while_looking.py");
    let recording = recorder.argument(&first).argument(&second).succeed();
    let regions = recording.observed().capture.regions;
    let figures = |region: &Region| (region.process, PathBuf::from(&region.library), region.mapped_bytes >> 20);
    assert_eq!(regions.iter().map(figures).collect::<Vec<_>>(), [(0, first, 2), (1, second, 1)]);
    // Nothing of it was touched, which is not the same as unknown.
    assert!(regions.iter().all(|region| region.resident_bytes == Some(0)), "{regions:?}");
}

/// A file that is mapped, shared memory under a name, and heap: three classes. The capture's total of shared memory is the most at a time.
#[test]
fn files_and_shared_memory_are_no_heap() {
    let recording = Recorder::new(&any_python(), "shared").program("hazards/shared_memory.py").succeed();
    let observed = recording.observed();
    for (function, allocator, bytes) in [
        ("shared", "mmap_shared", 5_000_000),
        ("mapped_file", "mmap_file", 3_000_000),
        ("anonymous", "mmap", 7_000_000),
    ] {
        let is_meant = |site: &&ObservedSite| {
            site.site.allocator.name() == allocator && site.stack.iter().any(|frame| frame.function == function)
        };
        let sites = observed.sites.iter().filter(is_meant);
        let found: Vec<_> = sites.map(|site| (site.site.allocations, site.site.allocated_bytes)).collect();
        assert_eq!(found, [(1, bytes)], "{function}");
    }
    let summary = recording.json("summary");
    assert_eq!(summary["shared_mapped_bytes"], 5_000_000);
    let is_heap = |site: &serde_json::Value| site["allocator"] != "mmap_shared" && site["allocator"] != "mmap_file";
    assert!(summary["sites"].as_array().expect("sites").iter().all(is_heap));
}

/// What looks `malloc` up by its name, what `ctypes` calls, and what is bound to the C library first: every block, at its line.
#[test]
fn callers_by_name() {
    let [library, needed] = [0, 1].map(|_| compile_library("cc", "callers.c", &[]));
    let outer = compile_library("cc", "callers_outer.c", &["-Wl,--no-as-needed", needed.to_str().expect("a path")]);
    let python = any_python();
    let recorder = Recorder::new(&python, "callers").program("hazards/callers.py").argument(&library);
    let recording = recorder.argument(&outer).succeed();
    let observed = recording.observed();
    for function in [
        "through_ctypes",
        "through_the_c_library",
        "through_dlsym",
        "through_a_later_library",
        "through_a_library_bound_first",
        "through_a_library_bound_late",
        "through_what_it_needs",
    ] {
        let of = |name: &str| {
            let is_meant = |site: &&ObservedSite| {
                site.site.allocator.name() == name && site.stack.iter().any(|frame| frame.function == function)
            };
            let sites = observed.sites.iter().filter(is_meant);
            let figures = sites.map(|site| [site.site.allocations, site.site.allocated_bytes, site.site.live_bytes]);
            figures.fold([0; 3], |sum, more| [0, 1, 2].map(|index| sum[index] + more[index]))
        };
        let expected = ([3, 3_000, 0], [1, 40_000, 0], [1, 6_000, 6_000]);
        assert_eq!((of("malloc"), of("realloc"), of("calloc")), expected, "{function} on {}", python.name());
    }
}

/// The same objects with the same sizes, whatever serves the interpreter's domains.
#[test]
fn every_allocator_of_the_interpreter() {
    let python = any_python();
    let names = if python.is_free_threaded() {
        ["mimalloc", "debug", "mimalloc_debug"]
    } else {
        ["malloc", "debug", "malloc_debug"]
    };
    for name in names {
        let recorder = Recorder::new(&python, "pythonmalloc").program("hazards/interpreter_allocator.py");
        let observed = recorder.variable("PYTHONMALLOC", name).succeed().observed();
        let found = observed.allocated_in("kept");
        let size = 1000 + python.bytes_header as i64;
        assert_eq!((found.live_count, found.live_bytes), (250, 250 * size), "PYTHONMALLOC={name} on {}", python.name());
    }
}

#[test]
fn every_form_of_cxx_new() {
    if !is_installed("c++") {
        eprintln!("skipped: there is no C++ compiler");
        return;
    }
    let library = compile_library("c++", "driver_cxx.cpp", &["-std=c++17"]);
    assert_books_agree(&any_python(), &library, "0");
}

/// Allocated minus freed is what is live, over all allocators and in the summary's own figures.
#[test]
fn the_books_balance() {
    let library = compile_library("cc", "driver.c", &[]);
    for python in pythons() {
        let recorder = Recorder::new(&python, "balance").program("driver.py").argument(&library);
        let recording = recorder.arguments(&["1", "7"]).succeed();
        let summary = recording.json("summary");
        let number = |value: &serde_json::Value| value.as_i64().unwrap_or_else(|| panic!("not a number: {value}"));
        let live = number(&summary["allocated_bytes"]) - number(&summary["freed_bytes"]);
        assert_eq!(live, number(&summary["end"]["bytes"]), "{}", python.name());
        assert!(number(&summary["peak"]["bytes"]) >= live, "{}", python.name());
    }
}
