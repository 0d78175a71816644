//! `memlens heap` as a user sees it: the real binary on a snapshot of a small service.
mod heap_program;

use heap_program::Program;
use memlens_heap::{HeapBuilder, Meta, RootKind, TypeFlags};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// A folder with the snapshots `before.mlheap` and `after.mlheap`, made once.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("heap");
        fs::create_dir_all(&folder).expect("a folder");
        for (name, sessions) in [("before", 50), ("after", 60)] {
            let mut file = File::create(folder.join(name).with_extension("mlheap")).expect("a file");
            Program::service(sessions).save(&mut file).expect("to save");
        }
        folder
    })
}

fn memlens(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memlens"));
    command.args(arguments).current_dir(folder()).env_remove("COLUMNS").env_remove("NO_COLOR");
    command.output().expect("memlens")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Standard output of `memlens heap after.mlheap …`, which says nothing on standard error and stays within 80 columns.
fn heap(arguments: &[&str]) -> String {
    let output = memlens(&[&["heap", "after.mlheap"], arguments].concat());
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let printed = text(&output.stdout);
    let longest = printed.lines().map(|line| line.chars().count()).max();
    assert!(arguments.contains(&"--json") || longest <= Some(80), "{printed}");
    printed
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&heap(&[arguments, &["--json"]].concat())).expect("JSON")
}

#[test]
fn overview() {
    insta::assert_snapshot!(heap(&["-n", "5"]), @r#"
    app.py --port=80
    CPython 3.12.1, process 4711

    Objects           13.7 MiB   in 268 objects, 266 references
    Of it opaque       488 KiB   held in ways that no reference explains
    Mapped files      4.77 MiB   held by objects; not heap, and in no other figure
    Live heap         28.6 MiB   as the allocators count; objects are 47.8% of it
    Resident          64.0 MiB   as the kernel counts

    By type
         BYTES   SHARE       COUNT   RETAINED  TYPE
      7.63 MiB   55.8%           1   7.63 MiB  buffer (mmap)
      4.58 MiB   33.5%          61   4.58 MiB  buffer
       977 KiB    7.0%          10    977 KiB  bytes
       491 KiB    3.5%          61   5.07 MiB  app.cache.Session
      8.41 KiB   <0.1%           4   12.2 MiB  dict
      19.0 KiB  in 7 more; --all shows them

    What keeps most alive: bytes that would go with it
      RETAINED   SHARE  OBJECT
      7.63 MiB   55.8%  numpy.ndarray
                        __main__.ages
      4.59 MiB   33.6%  dict
                        app.cache.SESSIONS
       985 KiB    7.0%  list
                        main:12 local rows
       488 KiB    3.5%  app.cache.Session
                        <app.cache.Session held by C, 2 references>
      97.7 KiB    0.7%  bytes
                        main:12 local rows[0]
    "#);
}

#[test]
fn by_module() {
    insta::assert_snapshot!(heap(&["--by", "module"]), @r#"
    By module: each object with the one that it is the fewest references away from
         BYTES   SHARE       COUNT  MODULE
      7.63 MiB   55.9%           9  __main__
      4.59 MiB   33.6%         244  app.cache
       985 KiB    7.0%          12  (frames of MainThread)
       488 KiB    3.5%           1  (held by C)
         112 B   <0.1%           2  (nothing: waits for the collector)
    "#);
}

#[test]
fn why_by_address() {
    let address = json(&["--top", "1"])["objects"][0]["address"].as_str().expect("an address").to_owned();
    insta::assert_snapshot!(heap(&["--why", &address]), @r#"
    numpy.ndarray at 0x7f1200000480
    112 B itself, 7.63 MiB retained
      __main__.ages
    "#);
}

#[test]
fn why_by_type() {
    insta::assert_snapshot!(heap(&["--why", "Session"]), @r#"
    app.cache.Session at 0x7f12000005c0
    488 KiB itself, 488 KiB retained
      <app.cache.Session held by C, 2 references>

    app.cache.Session at 0x7f1200000680
    48 B itself, 78.3 KiB retained
      app.cache.SESSIONS['u0']
      <app.cache.Session held by C, 2 references>.__class__.__module_dict__['SESSI
        ONS']['u0']

    app.cache.Session at 0x7f1200000740
    48 B itself, 78.3 KiB retained
      app.cache.SESSIONS['u1']
      <app.cache.Session held by C, 2 references>.__class__.__module_dict__['SESSI
        ONS']['u1']
    "#);
}

#[test]
fn cycles() {
    insta::assert_snapshot!(heap(&["--cycles"]), @r#"
    Reference cycles: 2
         BYTES   OBJECTS  A WAY ROUND
         296 B         2  numpy.ndarray[0]['all']
                          the collector cannot see all of it and would never free it
                          __main__.registry['all']
         112 B         2  list[0][0]
                          nothing else holds it: it goes at the next collection
                          <unreachable list>
    Left out: 1 of classes and modules; --all shows them
    "#);
}

#[test]
fn duplicates() {
    insta::assert_snapshot!(heap(&["--duplicates"]), @r#"
    Equal contents: 78.2 KiB in all that one copy of each would save
        WASTED      COPIES      EACH  CONTENT
      78.2 KiB           2  78.2 KiB  numpy.ndarray
                                      app.cache.SESSIONS['u0'].data
    "#);
}

#[test]
fn sparse() {
    insta::assert_snapshot!(heap(&["--sparse"]), @r#"
    Sparse: 6.68 MiB in all
         SAVES  WHAT
      6.68 MiB  numpy.ndarray: every value fits int8
                __main__.ages
      7.73 KiB  list: holds 10, room for 1,000
                main:12 local rows
    "#);
}

#[test]
fn suspects() {
    insta::assert_snapshot!(heap(&["--suspects"]), @r#"
    Suspect 1: 7.63 MiB, 55.8% of the heap
      gathers in   numpy.ndarray
      reached by   __main__.ages

    Suspect 2: 4.59 MiB, 33.6% of the heap
      gathers in   dict
      reached by   app.cache.SESSIONS
      of it   4.59 MiB         60 × app.cache.Session
    "#);
}

#[test]
fn diff() {
    insta::assert_snapshot!(heap(&["--diff", "before.mlheap"]), @r#"
    From 12.9 MiB to 13.7 MiB
    New        783 KiB  in 40 objects
    Gone           0 B  in 0 objects

    By type
        GROWTH        NEW       GONE  TYPE
       781 KiB         10          0  buffer
      1.09 KiB         10          0  numpy.ndarray
         500 B         10          0  str
         480 B         10          0  app.cache.Session

    Who keeps what is new alive
           NEW     OBJECTS  HOLDER, WHICH WAS THERE BEFORE
       783 KiB          40  dict
                            app.cache.SESSIONS
    "#);
}

#[test]
fn every_json_names_its_schema() {
    let cases: [(&[&str], &str, &str); 9] = [
        (&[], "memlens.heap/1", "types"),
        (&["--by", "type"], "memlens.heap-types/1", "types"),
        (&["--by", "module"], "memlens.heap-modules/1", "modules"),
        (&["--top", "3"], "memlens.heap-top/1", "objects"),
        (&["--why", "Session"], "memlens.heap-why/1", "objects"),
        (&["--cycles"], "memlens.heap-cycles/1", "cycles"),
        (&["--duplicates"], "memlens.heap-duplicates/1", "groups"),
        (&["--sparse"], "memlens.heap-sparse/1", "findings"),
        (&["--suspects"], "memlens.heap-suspects/1", "suspects"),
    ];
    for (arguments, schema, list) in cases {
        let value = json(arguments);
        assert_eq!(value["schema"], schema);
        assert!(!value[list].as_array().expect(list).is_empty(), "{schema}");
    }
    let diff = json(&["--diff", "before.mlheap"]);
    assert_eq!(diff["new"], serde_json::json!({ "bytes": 10 * 80_210, "count": 40 }));
}

/// What the list's 80 columns cut is whole in JSON.
#[test]
fn figures_of_the_overview() {
    let value = json(&[]);
    assert_eq!(
        value["bytes"],
        72 * 2
            + 4096 * 2
            + 8056
            + 10 * 100_033
            + 184
            + 8_000_112
            + 912
            + 112
            + 112
            + 500_048
            + 1064
            + 232
            + 60 * (48 + 112 + 80_000 + 50)
    );
    assert_eq!((&value["opaque_bytes"], &value["file_bytes"]), (&500_000.into(), &5_000_000.into()));
    assert_eq!(value["objects"], 2 + 2 + 12 + 1 + 6 + 2 + 1 + 2 + 60 * 4);
}

/// The one line on standard error of a command that fails with status 2 and prints nothing.
fn complaint(arguments: &[&str]) -> String {
    let output = memlens(&[&["heap"], arguments].concat());
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()));
    let stderr = text(&output.stderr);
    assert_eq!(stderr.matches('\n').count(), 1, "{stderr}");
    stderr.trim_end().to_owned()
}

#[test]
fn bad_input_is_one_line() {
    let folder = folder();
    let whole = fs::read(folder.join("after.mlheap")).expect("the snapshot");
    fs::write(folder.join("short.mlheap"), &whole[..whole.len() / 2]).expect("to write");
    fs::write(folder.join("other.mlheap"), b"PK\x03\x04 something else").expect("to write");
    for (arguments, line) in [
        (vec!["none.mlheap"], "memlens: cannot open none.mlheap: No such file or directory"),
        (vec!["."], "memlens: cannot open .: it is a folder"),
        (vec!["other.mlheap"], "memlens: other.mlheap is not a memlens heap snapshot"),
        (vec!["after.mlheap", "--why", "Nope"], "memlens: no object of type 'Nope' is in the snapshot"),
        (vec!["after.mlheap", "--why", "0x10"], "memlens: no object is at 0x10 in the snapshot"),
        (vec!["after.mlheap", "--why", "0xzz"], "memlens: '0xzz' is no address: invalid digit found in string"),
        (
            vec!["after.mlheap", "-o", "a.txt"],
            "memlens: a.txt is neither .html nor .heapsnapshot nor .mlheap: say which by --to",
        ),
        (vec!["after.mlheap", "--diff", "other.mlheap"], "memlens: other.mlheap is not a memlens heap snapshot"),
    ] {
        assert_eq!(complaint(&arguments), line);
    }
    let short = complaint(&["short.mlheap"]);
    assert!(
        short.starts_with("memlens: short.mlheap is damaged: the file ends too early (in the part at byte "),
        "{short}"
    );
    assert!(complaint(&["after.mlheap", "--cycles", "--sparse"]).contains("cannot be used with"));
}

#[test]
fn a_file_in_the_way_stays_unless_forced() {
    let page = folder().join("in_the_way.html");
    fs::write(&page, "mine").expect("to write");
    let line = complaint(&["after.mlheap", "-o", "in_the_way.html"]);
    assert_eq!(line, "memlens: in_the_way.html exists already; --force replaces it");
    assert_eq!(fs::read_to_string(&page).expect("the file"), "mine");
    assert_eq!(memlens(&["heap", "after.mlheap", "-o", "in_the_way.html", "--force"]).status.code(), Some(0));
    assert!(fs::read_to_string(&page).expect("the page").starts_with("<!doctype html>"));
}

/// Text of the recorded program must neither steer the terminal nor end the page's script.
#[test]
fn hostile_names() {
    let mut builder = HeapBuilder::new(Meta::default());
    let type_ = builder.type_("</script>\u{1b}[31m<b>\n", "a\r\nb", TypeFlags::COLLECTED);
    let object = builder.object(16, type_, 100);
    builder.text(object, "'\u{1b}]0;x\u{7}</script><!--'");
    let module = builder.name("m\u{1b}[2J</script>");
    builder.root(object, RootKind::Module(module));
    let graph = builder.finish().expect("a graph");
    graph.save(&mut File::create(folder().join("hostile.mlheap")).expect("a file")).expect("to save");
    for arguments in [vec![], vec!["--why", "0x10"], vec!["--by", "module"], vec!["--suspects"]] {
        let printed = text(&memlens(&[&["heap", "hostile.mlheap"], arguments.as_slice()].concat()).stdout);
        assert!(printed.chars().all(|letter| letter == '\n' || !letter.is_control()), "{printed:?}");
    }
    memlens(&["heap", "hostile.mlheap", "--force", "-o", "hostile.html"]);
    let page = fs::read_to_string(folder().join("hostile.html")).expect("the page");
    assert_eq!(page.matches("</script>").count(), 2, "the data's and the code's");
    assert!(!page.contains("<!--"));
}

#[test]
fn an_empty_snapshot_has_answers() {
    let graph = HeapBuilder::new(Meta::default()).finish().expect("a graph");
    graph.save(&mut File::create(folder().join("empty.mlheap")).expect("a file")).expect("to save");
    for question in
        ["--all", "--cycles", "--duplicates", "--sparse", "--suspects", "--by=type", "--by=module", "--top=3"]
    {
        let output = memlens(&["heap", "empty.mlheap", question]);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{question}");
    }
    for file in ["empty.html", "empty.heapsnapshot"] {
        assert_eq!(memlens(&["heap", "empty.mlheap", "--force", "-o", file]).status.code(), Some(0));
    }
}

/// A snapshot that cannot be read leaves nothing behind where the page was to be.
#[test]
fn no_page_without_a_snapshot() {
    complaint(&["none.mlheap", "-o", "never.html"]);
    assert!(!folder().join("never.html").exists());
}

fn written(name: &str) -> String {
    let output = memlens(&["heap", "after.mlheap", "--force", "-o", name]);
    assert_eq!(
        (output.status.code(), text(&output.stdout), text(&output.stderr)),
        (Some(0), String::new(), String::new())
    );
    fs::read_to_string(folder().join(name)).expect("what was written")
}

#[test]
fn the_page_needs_no_network_and_holds_its_data() {
    let page = written("page.html");
    assert!(!page.contains("http://") && !page.contains("https://"), "an address of somewhere else");
    let (_, rest) = page.split_once("<script id=\"data\" type=\"application/json\">").expect("the data");
    let (data, _) = rest.split_once("</script>").expect("its end");
    let data: Value = serde_json::from_str(data).expect("JSON");
    let nodes = data["nodes"].as_array().expect("nodes");
    // Widths add up: what has no parent in the tree makes the whole heap.
    let tops = nodes.iter().filter(|node| node[0].is_null());
    let sum: u64 = tops.map(|node| node[2].as_u64().expect("bytes")).sum();
    assert_eq!(sum, data["bytes"].as_u64().expect("bytes"));
    assert!(page.len() < 200_000, "{}", page.len());
}

/// The rules of V8's format: fields as `meta` says, references in the order of their nodes, every number in range.
#[test]
fn the_heap_snapshot_keeps_the_rules_of_the_format() {
    let snapshot: Value = serde_json::from_str(&written("chrome.heapsnapshot")).expect("JSON");
    let list = |name: &str| snapshot[name].as_array().expect(name).clone();
    let (nodes, edges, strings) = (list("nodes"), list("edges"), list("strings"));
    let head = &snapshot["snapshot"];
    let number = |value: &Value| value.as_u64().expect("a number") as usize;
    assert_eq!(nodes.len(), 7 * number(&head["node_count"]));
    assert_eq!(edges.len(), 3 * number(&head["edge_count"]));
    let meta = &head["meta"];
    assert_eq!(meta["node_fields"].as_array().map(Vec::len), Some(7));
    assert_eq!(meta["node_types"].as_array().map(Vec::len), Some(7));
    let types = meta["node_types"][0].as_array().expect("types").len();
    let mut ids = std::collections::BTreeSet::new();
    let mut edge_count = 0;
    for node in nodes.chunks(7) {
        assert!(number(&node[0]) < types && number(&node[1]) < strings.len());
        assert!(ids.insert(number(&node[2])) && number(&node[2]) % 2 == 1);
        edge_count += number(&node[4]);
    }
    assert_eq!(edge_count, number(&head["edge_count"]));
    let is_element = |edge: &[Value]| number(&edge[0]) == 1;
    for edge in edges.chunks(3) {
        assert!(number(&edge[0]) < 7 && (is_element(edge) || number(&edge[1]) < strings.len()));
        assert!(number(&edge[2]) % 7 == 0 && number(&edge[2]) < nodes.len());
    }
    let sizes: usize = nodes.chunks(7).map(|node| number(&node[3])).sum();
    assert_eq!(sizes as u64, json(&[])["bytes"].as_u64().expect("bytes"));
}
