//! The reading commands as a user sees them: the real binary on recorded captures.
use memlens_capture::{open, write_to};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/captures/v1")
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memlens"));
    command.args(arguments).current_dir(folder).env_remove("COLUMNS").env_remove("NO_COLOR");
    command
}

fn run_in(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Standard output of a command that succeeds and says nothing on standard error.
fn stdout(arguments: &[&str]) -> String {
    let output = run_in(&captures(), arguments);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    text(&output.stdout)
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(arguments)).unwrap()
}

/// The one line on standard error of a command that fails with status 2 and prints nothing.
fn complaint(folder: &Path, arguments: &[&str]) -> String {
    let output = run_in(folder, arguments);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()));
    let stderr = text(&output.stderr);
    assert_eq!(stderr.matches('\n').count(), 1, "{stderr}");
    stderr.trim_end().to_owned()
}

#[test]
fn summary() {
    insta::assert_snapshot!(stdout(&["summary", "job.mlens"]), @r#"
    job.py --fast
    CPython 3.12.1, ran 1.50 s, exit status 0

    Peak heap         95.0 MiB   at 1.20 s
    Peak resident      120 MiB   as the kernel counts
    Live at the end   10.0 MiB   in 24 blocks
    Allocated          102 MiB   in 1,527 allocations
    Released          92.0 MiB   in 1,503 releases
    Mapped files      12.0 MiB   at most, not heap

    Held at the peak, by your own line
         BYTES   SHARE      BLOCKS  LINE
      54.0 MiB   56.8%         900  job.py:6  load
      40.0 MiB   42.1%           4  job.py:7  load
      1.00 MiB    1.1%         250  job.py:12  walk
      1.95 KiB   <0.1%          20  job.py:2  <module>
      3.91 KiB   <0.1%           3  (none of your lines)

    Held at the peak, by call stack and allocator
         BYTES   SHARE      BLOCKS  ALLOCATOR       INNERMOST LINE, ITS CALLER
      54.0 MiB   56.8%         900  pyobject        job.py:6  load
                                                    ← job.py:20  <module>
      40.0 MiB   42.1%           4  malloc          pandas/core/generic.py:6811
                                                    ← job.py:7  load
      1.00 MiB    1.1%         250  pymem           job.py:12  walk
                                                    ← job.py:11  walk
      3.91 KiB   <0.1%           3  pymem_raw       (no Python frame)
      1.95 KiB   <0.1%          20  pyobject        …ozen importlib._bootstrap>:1360
                                                    ← job.py:2  <module>

    Nothing was lost: every call counted, every stack read.
    "#);
}

#[test]
fn summary_of_several_processes_that_is_incomplete() {
    insta::assert_snapshot!(stdout(&["summary", "processes.mlens"]), @r#"
    job.py --fast
    CPython 3.12.1, ran 1.50 s, killed by signal 9

    Peak heap         27.0 MiB   at 1.20 s
    Peak resident      120 MiB   as the kernel counts
    Live at the end   5.00 MiB   in 5 blocks
    Allocated         27.0 MiB   in 16 allocations
    Released          12.0 MiB   in 1 release

    Held at the peak of each process, by your own line
         BYTES   SHARE      BLOCKS  LINE
      15.0 MiB   55.6%          15  job.py:6  load
      12.0 MiB   44.4%           1  job.py:7  load

    Held at the peak of each process, by call stack and allocator
         BYTES   SHARE      BLOCKS  ALLOCATOR       INNERMOST LINE, ITS CALLER
      15.0 MiB   55.6%          15  pyobject        job.py:6  load
                                                    ← job.py:20  <module>
      12.0 MiB   44.4%           1  malloc          pandas/core/generic.py:6811
                                                    ← job.py:7  load

    Processes
     PEAK HEAP  RESIDENT      PID  COMMAND
      10.0 MiB   120 MiB     4711  job.py --fast
      17.0 MiB  30.0 MiB     4712    job.py --worker

    Not seen
      The recording is incomplete: a table was full.
      1 event not recorded (64 B)
      2 stacks could not be read
      1,234 releases of blocks allocated before the recording
      3 child processes not recorded
    "#);
}

#[test]
fn summary_with_few_rows() {
    let output = stdout(&["summary", "-n", "1", "job.mlens"]);
    assert!(output.contains("  41.0 MiB  in 4 more lines; --all shows them\n"), "{output}");
    assert!(output.contains("  41.0 MiB  in 4 more stacks; --all shows them\n"), "{output}");
}

#[test]
fn lines() {
    insta::assert_snapshot!(stdout(&["lines", "job.mlens"]), @r#"
    job.py
     LINE  ALLOCATED      FREED        NET    AT PEAK  COUNT  SOURCE
      in <module>, which held 95.0 MiB
        2   1.95 KiB          -   1.95 KiB   1.95 KiB     20
       20    100 MiB          -    100 MiB   94.0 MiB  1.00k
       21   2.00 MiB   92.0 MiB  -90.0 MiB   1.00 MiB    500
      in load, which held 94.0 MiB
        6   60.0 MiB          -   60.0 MiB   54.0 MiB  1.00k
        7   40.0 MiB          -   40.0 MiB   40.0 MiB      4
      in walk, which held 1.00 MiB
       11   2.00 MiB   2.00 MiB        0 B   1.00 MiB    500
       12   2.00 MiB   2.00 MiB        0 B   1.00 MiB    500

    helpers.py
     LINE  ALLOCATED      FREED        NET    AT PEAK  COUNT  SOURCE
      in shrink, which held 0 B
        3          -   90.0 MiB  -90.0 MiB          -      0

    Outside these lines: 3.91 KiB at the peak, 3.91 KiB allocated, 0 B freed
    "#);
}

#[test]
fn lines_of_a_library_function() {
    insta::assert_snapshot!(stdout(&["lines", "--function", "Data*.copy", "job.mlens"]), @r#"
    pandas/core/generic.py
     LINE  ALLOCATED      FREED        NET    AT PEAK  COUNT  SOURCE
      in DataFrame.copy, which held 40.0 MiB
     6811   40.0 MiB          -   40.0 MiB   40.0 MiB      4

    Outside these lines: 55.0 MiB at the peak, 62.0 MiB allocated, 92.0 MiB freed
    "#);
}

#[test]
fn tree() {
    insta::assert_snapshot!(stdout(&["tree", "job.mlens"]), @r#"
    Call tree at the peak: 95.0 MiB at 1.20 s
         BYTES   SHARE  CALLS
      94.0 MiB   98.9%  job.py:20  <module>
      54.0 MiB   56.8%  ├ job.py:6  load
      40.0 MiB   42.1%  ├ job.py:7  load
                        │ pandas/core/generic.py:6811  DataFrame.copy
      1.00 MiB    1.1%  job.py:21  <module>
                        … 2 calls
                        job.py:12  walk
      3.91 KiB   <0.1%  (no Python frame)

    Hidden: 1 branch of less than 973 KiB, 1.95 KiB in all; --all shows them
    "#);
}

#[test]
fn tree_with_all_branches() {
    insta::assert_snapshot!(stdout(&["tree", "--all", "job.mlens"]), @r#"
    Call tree at the peak: 95.0 MiB at 1.20 s
         BYTES   SHARE  CALLS
      94.0 MiB   98.9%  job.py:20  <module>
      54.0 MiB   56.8%  ├ job.py:6  load
      40.0 MiB   42.1%  ├ job.py:7  load
                        │ pandas/core/generic.py:6811  DataFrame.copy
      1.00 MiB    1.1%  job.py:21  <module>
                        job.py:11  walk
                        job.py:11  walk
                        job.py:12  walk
      1.95 KiB   <0.1%  job.py:2  <module>
                        <frozen importlib._bootstrap>:1360  _find_and_load
      3.91 KiB   <0.1%  (no Python frame)
    "#);
}

#[test]
fn collapsed() {
    insta::assert_snapshot!(stdout(&["export", "--to", "collapsed", "job.mlens"]), @r#"
    <module> (/srv/app1/job.py:20);load (/srv/app1/job.py:6) 56623104
    <module> (/srv/app1/job.py:20);load (/srv/app1/job.py:7);DataFrame.copy (/usr/lib/python3.12/site-packages/pandas/core/generic.py:6811) 41943040
    <module> (/srv/app1/job.py:21);walk (/srv/app1/job.py:11);walk (/srv/app1/job.py:11);walk (/srv/app1/job.py:12) 1048576
    <module> (/srv/app1/job.py:2);_find_and_load (<frozen importlib._bootstrap>:1360) 2000
    (no Python frame) 4000
    "#);
    let end = stdout(&["export", "--to", "collapsed", "--by", "end", "job.mlens"]);
    assert!(end.ends_with("(no Python frame) 4000\n"), "{end}");
}

#[test]
fn source_text_is_read_when_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("job.py");
    fs::write(&source, "\n\n\n\n\n    rows = [x * 2 for x in data]\n    copy = frame.copy()\n").unwrap();
    let mut capture = open(&captures().join("job.mlens")).unwrap().into_capture();
    capture.meta.working_directory = folder.path().to_str().unwrap().to_owned();
    for name in capture.strings.iter_mut().filter(|name| name.ends_with("/job.py")) {
        *name = source.to_str().unwrap().to_owned();
    }
    write_to(&mut File::create(folder.path().join("x.mlens")).unwrap(), &capture).unwrap();
    let lines = text(&run_in(folder.path(), &["lines", "x.mlens"]).stdout);
    let row = "    6   60.0 MiB          -   60.0 MiB   54.0 MiB  1.00k      rows = [x * 2 fo…";
    assert!(lines.contains(row), "{lines}");
    let wide = command(folder.path(), &["summary", "x.mlens"]).env("COLUMNS", "120").output().unwrap();
    assert!(text(&wide.stdout).contains("rows = [x * 2 for x in data]\n"));
    let output = run_in(folder.path(), &["lines", "--json", "x.mlens"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let load = &json["files"][0]["functions"][1];
    assert_eq!(load["lines"][0]["source"], "    rows = [x * 2 for x in data]");
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for arguments in [["summary", "job.mlens"], ["lines", "job.mlens"], ["tree", "job.mlens"]] {
        for columns in [60, 80] {
            let output = command(&captures(), &arguments).env("COLUMNS", columns.to_string()).output().unwrap();
            for line in text(&output.stdout).lines() {
                assert!(line.chars().count() <= columns, "{columns}: {line}");
            }
        }
    }
}

#[test]
fn one_process_of_several() {
    let worker = json(&["summary", "--processes", "4712", "--json", "processes.mlens"]);
    assert_eq!(worker["recorded_processes"], 2);
    assert_eq!(worker["processes"][0]["pid"], 4712);
    assert_eq!(worker["peak"]["bytes"], worker["processes"][0]["peak_bytes"]);
    assert_eq!(worker["rss_peak_bytes"], worker["processes"][0]["rss_peak_bytes"]);
    for pattern in ["worker", "*--work??"] {
        assert_eq!(json(&["summary", "--processes", pattern, "--json", "processes.mlens"]), worker, "{pattern}");
    }
    let both = ["summary", "--processes=4711,worker", "processes.mlens"];
    assert_eq!(stdout(&both), stdout(&["summary", "processes.mlens"]));
    let heading = stdout(&["summary", "--processes", "4712", "processes.mlens"]);
    assert!(heading.lines().nth(1).is_some_and(|line| line.ends_with(", 1 of 2 processes")), "{heading}");
}

#[test]
fn every_reading_command_picks_processes() {
    for command in [&["lines", "--all"][..], &["tree"], &["export", "--to", "collapsed"], &["export", "--to", "json"]] {
        let of = |processes: &str| stdout(&[command, &["--processes", processes, "processes.mlens"]].concat());
        assert_ne!(of("4711"), of("4712"), "{command:?}");
    }
}

#[test]
fn no_such_process() {
    for pattern in ["471", "nobody"] {
        let found = complaint(&captures(), &["tree", "--processes", pattern, "processes.mlens"]);
        assert_eq!(found, format!("memlens: no process in the capture matches '{pattern}'"));
    }
}

#[test]
fn summary_json() {
    let json = json(&["summary", "--json", "job.mlens"]);
    let expected = serde_json::json!({
        "schema": "memlens.summary/1",
        "command": ["job.py", "--fast"],
        "python": "3.12.1",
        "mode": "exact",
        "duration_s": 1.5,
        "exit": { "code": 0, "signal": null, "oom": false },
        "out_of_memory": null,
        "complete": true,
        "incomplete_reason": "",
        "peak": { "bytes": 99620720, "time_s": 1.2 },
        "end": { "bytes": 10491760 },
        "rss_peak_bytes": 125829120,
        "pss_peak_bytes": null,
        "recorded_processes": 1,
        "file_mapped_bytes": 12582912,
        "shared_mapped_bytes": 0,
        "allocations": 1527,
        "frees": 1503,
        "allocated_bytes": 106960752,
        "freed_bytes": 96468992,
        "unseen": {
            "lost_events": 0, "lost_bytes": 0, "unreadable_stacks": 0, "unknown_releases": 0, "unrecorded_processes": 0
        },
        "regions": [],
        "processes": [{
            "pid": 4711, "ppid": 1, "command": ["job.py", "--fast"], "peak_bytes": 99620720, "rss_peak_bytes": 125829120
        }],
    });
    let (sites, mut rest) = (json["sites"].clone(), json);
    rest.as_object_mut().unwrap().remove("sites");
    assert_eq!(rest, expected);
    assert_eq!(sites.as_array().unwrap().len(), 5);
    assert_eq!(
        sites[1],
        serde_json::json!({
            "bytes": 41943040, "count": 4, "allocator": "malloc",
            "stack": [
                {
                    "function": "DataFrame.copy",
                    "file": "/usr/lib/python3.12/site-packages/pandas/core/generic.py",
                    "line": 6811
                },
                { "function": "load", "file": "/srv/app1/job.py", "line": 7 },
                { "function": "<module>", "file": "/srv/app1/job.py", "line": 20 },
            ]
        })
    );
    assert_eq!(sites[3]["stack"], serde_json::json!([]));
}

#[test]
fn lines_json() {
    let json = json(&["lines", "--json", "--function", "walk", "job.mlens"]);
    assert_eq!(json["schema"], "memlens.lines/1");
    let figures = |own: bool| {
        let (bytes, count) = if own { (0, 0) } else { (2097152, 500) };
        serde_json::json!({
            "allocated_bytes": bytes, "freed_bytes": bytes, "net_bytes": 0, "peak_bytes": bytes / 2,
            "allocations": count, "frees": count, "temporary_bytes": bytes / 2,
        })
    };
    // walk calls itself at line 11: what it allocates at line 12 counts once there.
    let mut calls = serde_json::json!({ "line": 11, "source": null, "self": figures(true) });
    let mut allocates = serde_json::json!({ "line": 12, "source": null, "self": figures(false) });
    for line in [&mut calls, &mut allocates] {
        line.as_object_mut().unwrap().extend(figures(false).as_object().unwrap().clone());
    }
    let expected = serde_json::json!([{
        "file": "/srv/app1/job.py",
        "functions": [{ "function": "walk", "line": 10, "lines": [calls, allocates] }],
    }]);
    assert_eq!(json["files"], expected);
}

#[test]
fn tree_json() {
    let json = json(&["tree", "--json", "job.mlens"]);
    assert_eq!(json["schema"], "memlens.tree/1");
    assert_eq!(json["bytes"], 99620720);
    assert_eq!(json["no_frame_bytes"], 4000);
    let nodes = json["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 10);
    assert_eq!(
        nodes[1],
        serde_json::json!({
            "parent": 0, "function": "load", "file": "/srv/app1/job.py", "line": 6,
            "bytes": 56623104, "count": 900, "self_bytes": 56623104
        })
    );
}

#[test]
fn profile_json_has_everything() {
    let json = json(&["export", "--to", "json", "job.mlens"]);
    assert_eq!(json["schema"], "memlens.profile/1");
    for (table, rows) in [
        ("files", 4),
        ("functions", 6),
        ("lines", 10),
        ("nodes", 11),
        ("sites", 6),
        ("releases", 3),
        ("timeline", 3),
        ("slices", 2),
    ] {
        assert_eq!(json[table].as_array().unwrap().len(), rows, "{table}");
    }
    assert_eq!(json["slices"][1]["changes"][0], serde_json::json!([0, 0, 0, -900, -56623104]));
}

#[test]
fn speedscope() {
    let json = json(&["export", "--to", "speedscope", "job.mlens"]);
    assert_eq!(json["$schema"], "https://www.speedscope.app/file-format-schema.json");
    let frames = json["shared"]["frames"].as_array().unwrap();
    let names: Vec<&str> =
        json["profiles"].as_array().unwrap().iter().map(|profile| profile["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["at peak", "allocated", "live at end"]);
    for profile in json["profiles"].as_array().unwrap() {
        assert_eq!((&profile["type"], &profile["unit"]), (&"sampled".into(), &"bytes".into()));
        let weights = profile["weights"].as_array().unwrap();
        let samples = profile["samples"].as_array().unwrap();
        assert_eq!(samples.len(), weights.len());
        let sum: u64 = weights.iter().map(|weight| weight.as_u64().unwrap()).sum();
        assert_eq!(profile["endValue"], sum);
        let frame_ids = samples.iter().flat_map(|sample| sample.as_array().unwrap());
        assert!(frame_ids.into_iter().all(|id| (id.as_u64().unwrap() as usize) < frames.len()));
    }
    assert_eq!(json["profiles"][0]["endValue"], 99620720);
}

#[test]
fn bad_input_gets_one_line_and_status_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let job = fs::read(captures().join("job.mlens")).unwrap();
    fs::write(path.join("text.mlens"), "hello").unwrap();
    fs::write(path.join("stump.mlens"), &job[..30]).unwrap();
    let mut newer = job.clone();
    newer[8] = 9;
    fs::write(path.join("newer.mlens"), newer).unwrap();
    for verb in ["summary", "lines", "tree"] {
        assert_eq!(
            complaint(path, &[verb, "none.mlens"]),
            "memlens: cannot open none.mlens: No such file or directory"
        );
        assert_eq!(complaint(path, &[verb, "."]), "memlens: cannot open .: it is a folder");
        assert_eq!(complaint(path, &[verb, "text.mlens"]), "memlens: text.mlens is not a memlens capture");
        assert_eq!(
            complaint(path, &[verb, "newer.mlens"]),
            "memlens: newer.mlens has capture format version 9, newer than this memlens can read (1): use a newer memlens"
        );
        let stump = complaint(path, &[verb, "stump.mlens"]);
        assert!(stump.starts_with("memlens: stump.mlens is damaged: nothing can be read"), "{stump}");
    }
    let wrong_usage = run_in(path, &["export", "text.mlens"]);
    assert_eq!(wrong_usage.status.code(), Some(2));
}

#[test]
fn a_truncated_capture_is_read_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let job = fs::read(captures().join("job.mlens")).unwrap();
    fs::write(folder.path().join("cut.mlens"), &job[..job.len() - 40]).unwrap();
    let output = run_in(folder.path(), &["summary", "cut.mlens"]);
    assert_eq!(output.status.code(), Some(0));
    let stderr = text(&output.stderr);
    assert_eq!(stderr.matches('\n').count(), 1);
    assert!(stderr.starts_with("memlens: cut.mlens: the capture is truncated ("), "{stderr}");
    let stdout = text(&output.stdout);
    assert!(stdout.contains("  54.0 MiB   56.8%         900  job.py:6  load\n"), "{stdout}");
    assert!(stdout.contains("The recording is incomplete: "), "{stdout}");
}

#[test]
fn a_pattern_that_matches_nothing_is_named() {
    let complaint = |arguments: &[&str]| complaint(&captures(), &[&["lines", "job.mlens"], arguments].concat());
    assert_eq!(complaint(&["--file", "nope.py"]), "memlens: no file in the capture matches 'nope.py'");
    assert_eq!(complaint(&["--function", "nope*"]), "memlens: no function in the capture matches 'nope*'");
    assert_eq!(
        complaint(&["--file", "helpers", "--function", "walk"]),
        "memlens: no function that matches 'walk' is in a file that matches 'helpers'"
    );
}

#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let mut child = command(&captures(), &["export", "--to", "json", "job.mlens"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr), (Some(0), String::new()));
}
