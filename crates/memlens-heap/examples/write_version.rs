//! Writes the file that stands for the current version of the format in `tests/heaps`: run it once when a version is new; its file then
//! stays for ever. `cargo run -p memlens-heap --example write_version`
#[path = "../tests/model/mod.rs"]
mod model;

use memlens_heap::HEAP_VERSION;
use std::fs::{self, File};
use std::path::Path;

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/heaps/v{HEAP_VERSION}"));
    fs::create_dir_all(&folder).expect("the folder");
    let mut file = File::create_new(folder.join("rich.mlheap")).expect("a new file");
    model::rich().save(&mut file).expect("to write");
}
