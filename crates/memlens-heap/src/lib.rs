//! A Python heap as a graph: who refers to whom, by which name, and how large each object is. No Python in it: a walker
//! fills a [`HeapBuilder`], or a file is read.
//!
//! # Byte budget
//! For each object (*n*), and each reference (*e*, those to classes apart), in memory:
//!
//! | part | bytes |
//! |---|---|
//! | address (48 bits) | 6 *n* |
//! | type, shallow size | 8 *n* |
//! | shape: the names of its references, shared | 4 *n* |
//! | place of its references | 4 *n* |
//! | target of a reference | 4 *e* |
//!
//! Texts and what only few objects have come on top. Answers that are kept take more: dominators and retained sizes 8 *n*,
//! referrers 4 *n* + 4 *e*, the index by address 4 *n*, each made by the first question that needs it. With two references
//! and a quarter an object the dominators' peak is 52 bytes an object; `docs/heap.md` has the figures.
#![forbid(unsafe_code)]

mod builder;
mod column;
mod cycle;
mod diff;
mod dominator_tree;
mod dominators;
mod edge_name;
mod error;
mod file;
mod graph;
mod id;
mod kind;
mod path;
mod path_text;
mod preorder;
mod referrers;
mod retained;
mod shape_table;
mod shortest_paths;
mod suspect;
mod text_pool;
mod totals;
mod waste;

pub use builder::HeapBuilder;
pub use cycle::Cycle;
pub use diff::{Diff, Grown, HolderGrowth, TypeChange};
pub use dominator_tree::DominatorTree;
pub use dominators::Dominators;
pub use edge_name::{EdgeKind, EdgeName};
pub use error::{BuildError, Error};
pub use file::{HEAP_VERSION, HEAP_VERSIONS, load, read};
pub use graph::{Edge, Graph};
pub use id::{NameId, ObjectId, TypeId};
pub use kind::{BufferKind, Fact, FactKind, Frame, Meta, Root, RootKind, Type, TypeFlags};
pub use path::{Path, Paths};
pub use referrers::Referrers;
pub use retained::Sizes;
pub use shortest_paths::ShortestPaths;
pub use suspect::Suspect;
pub use totals::{Holder, Total, TypeTotal};
pub use waste::Duplicates;
