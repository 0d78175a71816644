//! Holds what no compiler does: the layers of ARCHITECTURE.md, the files that a project has, and no name of any machine.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each crate and the workspace crates that it may use: the table of ARCHITECTURE.md. The towers (recording | reading)
/// meet only in the format.
const LAYERS: [(&str, &[&str]); 12] = [
    ("memlens-format", &[]),
    ("memlens-cpython", &[]),
    ("memlens-recorder", &["memlens-format"]),
    ("memlens-agent", &["memlens-format", "memlens-recorder", "memlens-cpython"]),
    ("memlens-capture", &["memlens-format"]),
    ("memlens-collector", &["memlens-format", "memlens-cpython", "memlens-capture"]),
    ("memlens-analysis", &["memlens-format", "memlens-capture"]),
    ("memlens-heap", &[]),
    ("memlens-remote", &["memlens-cpython"]),
    ("memlens-report", &["memlens-analysis", "memlens-heap"]),
    (
        "memlens",
        &[
            "memlens-format",
            "memlens-capture",
            "memlens-collector",
            "memlens-analysis",
            "memlens-heap",
            "memlens-remote",
            "memlens-report",
        ],
    ),
    ("memlens-python", &["memlens-cpython", "memlens-heap"]),
];

/// Crates of others that the agent's side may use: it lives inside somebody else's program.
const AGENT_SIDE: [(&str, &[&str]); 4] = [
    ("memlens-format", &["crc32fast", "thiserror"]),
    ("memlens-cpython", &[]),
    ("memlens-recorder", &[]),
    ("memlens-agent", &["libc"]),
];

const FILES: [&str; 8] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    ".ci/run",
    "examples/requirements.txt",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the checkout")
}

/// Normal and build dependencies of each workspace crate.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let mut command = Command::new(env!("CARGO"));
    let output =
        command.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root()).output();
    let output = output.expect("cargo metadata");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON of cargo metadata");
    let name = |value: &serde_json::Value| value["name"].as_str().expect("a name").to_owned();
    let used = |package: &serde_json::Value| {
        let all = package["dependencies"].as_array().expect("a list").iter();
        all.filter(|dependency| dependency["kind"] != "dev").map(name).collect()
    };
    let packages = metadata["packages"].as_array().expect("a list").iter();
    packages.map(|package| (name(package), used(package))).collect()
}

fn allowed_of(table: &[(&str, &[&str])], package: &str) -> Option<BTreeSet<String>> {
    let row = table.iter().find(|(name, _)| *name == package)?;
    Some(row.1.iter().map(ToString::to_string).collect())
}

#[test]
fn arrows_point_only_downward() {
    for (package, used) in dependencies().into_iter().filter(|(package, _)| package != "xtask") {
        let allowed = allowed_of(&LAYERS, &package);
        let allowed =
            allowed.unwrap_or_else(|| panic!("{package} is in no layer: add it to ARCHITECTURE.md and to this table"));
        let own: BTreeSet<String> = used.into_iter().filter(|name| name.starts_with("memlens")).collect();
        let forbidden: Vec<&String> = own.difference(&allowed).collect();
        assert!(forbidden.is_empty(), "{package} may not use {forbidden:?}");
    }
}

#[test]
fn the_agent_side_stays_lean() {
    let dependencies = dependencies();
    for (package, _) in AGENT_SIDE {
        let allowed = allowed_of(&AGENT_SIDE, package).expect("a row");
        let used = &dependencies[package];
        let others: Vec<&String> =
            used.iter().filter(|name| !name.starts_with("memlens") && !allowed.contains(*name)).collect();
        assert!(others.is_empty(), "{package} may not use {others:?}");
    }
}

#[test]
fn xtask_uses_nothing() {
    assert_eq!(dependencies()["xtask"], BTreeSet::new());
}

/// Every crate of the table stands in ARCHITECTURE.md.
#[test]
fn the_architecture_names_every_crate() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    for (package, _) in LAYERS {
        assert!(text.contains(&format!("| {package} ")), "ARCHITECTURE.md has no row for {package}");
    }
}

#[test]
fn the_project_has_its_files() {
    for file in FILES {
        assert!(root().join(file).is_file(), "{file} is missing");
    }
}

fn tracked_files() -> Vec<PathBuf> {
    let output = Command::new("git").arg("ls-files").arg("-z").current_dir(root()).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        eprintln!("skipped: not a git checkout");
        return Vec::new();
    };
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    names.split('\0').filter(|name| !name.is_empty()).map(|name| root().join(name)).collect()
}

/// Folders of a developer's machine: a file that names one works only there.
#[test]
fn no_file_names_a_machine() {
    let folders = ["root", "home/", "work/", "Users/", "tmp/wt"].map(|folder| format!("/{folder}"));
    for path in tracked_files() {
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        for (number, line) in (1..).zip(text.lines()) {
            let named = folders.iter().find(|folder| starts_a_path(line, folder));
            assert!(named.is_none(), "{}:{number} names a folder of somebody's machine: {line}", path.display());
        }
    }
}

/// Whether the folder stands in the line at the start of an absolute path, not inside of another one or of an address.
fn starts_a_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + folder.len()..].chars().next();
        let begins = before.is_none_or(|before| " \"'`(=:".contains(before));
        begins && (folder.ends_with('/') || after.is_none_or(|after| "/ \"'`)".contains(after)))
    })
}

/// Files are read from the top by people: none is longer than 800 lines.
#[test]
fn no_source_is_too_long() {
    for path in tracked_files() {
        let is_source =
            path.extension().is_some_and(|extension| ["rs", "py", "c"].iter().any(|known| extension == *known));
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let lines = text.lines().count();
        assert!(!is_source || lines <= 800, "{} has {lines} lines", path.display());
    }
}
