//! Line tables against the interpreters themselves: every byte offset of every code object of some modules.
use memlens_cpython::line_table::line_at;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn every_offset_has_the_interpreters_own_line() {
    let interpreters = interpreters();
    assert!(!interpreters.is_empty(), "no python3 to test with: set MEMLENS_TEST_PYTHONS");
    for interpreter in interpreters {
        check(&interpreter);
    }
}

fn check(interpreter: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/line_tables.py");
    let output = Command::new(interpreter).arg(script).output().unwrap();
    assert!(output.status.success(), "{interpreter:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut rows = text.lines();
    let version: u32 = rows.next().unwrap().parse().unwrap();
    let mut offsets = 0;
    for row in rows {
        offsets += check_code(row, version, interpreter);
    }
    assert!(offsets > 50_000, "{interpreter:?}: only {offsets} offsets");
}

/// Checks one code object, as printed by `line_tables.py`; returns how many offsets it has.
fn check_code(row: &str, version: u32, interpreter: &Path) -> usize {
    let [first_line, table, lines] = row.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let first_line: u32 = first_line.parse().unwrap();
    let table = from_hex(table.trim_matches('-'));
    let mut count = 0;
    for (line, instruction) in lines.split(',').zip(-1i32..) {
        let expected = line.parse::<u32>().ok();
        let found = line_at(&table, first_line, version, instruction as u32);
        assert_eq!(found, expected, "{interpreter:?}, offset {instruction}: {row}");
        count += 1;
    }
    count
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// `MEMLENS_TEST_PYTHONS` (separated by colons) or else what pyenv and PATH have of 3.9 to 3.14.
fn interpreters() -> BTreeSet<PathBuf> {
    if let Some(list) = std::env::var_os("MEMLENS_TEST_PYTHONS") {
        return std::env::split_paths(&list).collect();
    }
    let mut found = BTreeSet::new();
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    for entry in std::fs::read_dir(home.join(".pyenv/versions")).into_iter().flatten() {
        found.insert(entry.unwrap().path().join("bin/python3"));
    }
    for folder in std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()) {
        found.insert(folder.join("python3"));
    }
    found.retain(|path| is_tested_version(path));
    found
}

fn is_tested_version(interpreter: &Path) -> bool {
    let code = "import sys; print((3, 9) <= sys.version_info[:2] <= (3, 14) and sys.implementation.name == 'cpython')";
    Command::new(interpreter).args(["-c", code]).output().is_ok_and(|output| output.stdout.starts_with(b"True"))
}
