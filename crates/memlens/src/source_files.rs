//! Source text from the files where it stands now.
use memlens_report::Sources;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;

/// Largest file that is read: no source file is larger, and a capture may name any path.
const MAX_BYTES: u64 = 16 << 20;

/// Reads each file once, when a line of it is first asked for.
#[derive(Debug, Default)]
pub struct SourceFiles {
    lines: RefCell<HashMap<String, Rc<Vec<String>>>>,
}

impl Sources for SourceFiles {
    fn line(&self, file: &str, line: u32) -> Option<String> {
        let index = line.checked_sub(1)? as usize;
        let lines =
            Rc::clone(self.lines.borrow_mut().entry(file.to_owned()).or_insert_with(|| Rc::new(read_lines(file))));
        lines.get(index).cloned()
    }
}

/// The lines of a regular file; none if it cannot be read. A pipe or a device could block for ever.
fn read_lines(path: &str) -> Vec<String> {
    let is_file = path.starts_with('/') && Path::new(path).metadata().is_ok_and(|metadata| metadata.is_file());
    let Some(file) = is_file.then(|| File::open(path).ok()).flatten() else {
        return Vec::new();
    };
    let mut bytes = Vec::new();
    match file.take(MAX_BYTES).read_to_end(&mut bytes) {
        Ok(_) => String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect(),
        Err(_) => Vec::new(),
    }
}
