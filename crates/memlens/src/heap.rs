//! `memlens heap`: what a heap snapshot, or a running program, says about objects.
use crate::heap_request::{self, Taken};
use crate::output::{terminal_options, write_out};
use crate::output_file::OutputFile;
use anyhow::{Context, bail};
use clap::ValueEnum;
use memlens_heap::{Cycle, Graph, ObjectId, Paths, load};
use memlens_report::heap::{Described, heapsnapshot, json, page, terminal};
use memlens_report::terminal::Options;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Paths shown of one object.
const PATHS: usize = 5;

/// Objects shown of one type.
const OBJECTS_OF_TYPE: usize = 3;

/// What `memlens heap` is told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// File that `memlens.snapshot().save()` wrote, or the number of a running process (CPython 3.14 and newer)
    #[arg(value_name = "SNAPSHOT|PID")]
    path: PathBuf,
    #[command(flatten)]
    question: Question,
    /// Rows of each table
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    rows: usize,
    /// Every row; also cycles of classes and modules, and objects that only hand on
    #[arg(long, conflicts_with = "rows")]
    all: bool,
    /// Write JSON, with all rows
    #[arg(long)]
    json: bool,
    /// Write a page to look at (.html), a Chrome heap snapshot (.heapsnapshot), or the snapshot of a process (.mlheap)
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["json", "Question"])]
    output: Option<PathBuf>,
    /// Format of the output file, whatever its name
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["json", "Question"])]
    to: Option<Format>,
    /// Replace the output file
    #[arg(long)]
    force: bool,
    /// How long a process may take until it comes to run Python code
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u32,
}

/// One question; without any, an overview.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Question {
    /// Totals by type or by module
    #[arg(long, value_name = "WHAT")]
    by: Option<By>,
    /// The N objects that retain most
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// What keeps an object alive: its address, or a type for its largest objects
    #[arg(long, value_name = "OBJECT")]
    why: Option<String>,
    /// Reference cycles
    #[arg(long)]
    cycles: bool,
    /// Objects with equal contents
    #[arg(long)]
    duplicates: bool,
    /// Room that is not used
    #[arg(long)]
    sparse: bool,
    /// What may be a leak
    #[arg(long)]
    suspects: bool,
    /// What changed since an earlier snapshot of the same process
    #[arg(long, value_name = "EARLIER")]
    diff: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// The objects' types
    Type,
    /// The nearest module
    Module,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A self-contained page
    Html,
    /// For the Memory panel of Chrome's DevTools
    Heapsnapshot,
    /// The snapshot itself
    Mlheap,
}

/// Where the objects come from.
enum Source {
    File(PathBuf),
    Process(Taken),
}

impl Source {
    fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Process(taken) => taken.path(),
        }
    }

    /// The graph; what a process has left is removed.
    fn into_graph(self) -> anyhow::Result<Graph> {
        Ok(load(&self.path())?)
    }
}

/// Reads the snapshot and answers the question.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let format = arguments.format()?;
    let output = arguments.output.as_deref().map(|path| OutputFile::create(path, arguments.force)).transpose()?;
    let source = arguments.source()?;
    match (output, format) {
        (Some(output), Some(format)) => write_file(source, format, output)?,
        (None, Some(format)) => write_out(|out| write_format(source, format, out).map_err(as_io))?,
        _ => arguments.answer(&Described::new(&source.into_graph()?))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What was an error of input or output stays one, for the reader of a pipe may have gone.
fn as_io(error: anyhow::Error) -> io::Error {
    error.downcast().unwrap_or_else(io::Error::other)
}

fn write_format(source: Source, format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
    match format {
        Format::Html => page::write(&Described::new(&source.into_graph()?), out)?,
        Format::Heapsnapshot => heapsnapshot::write(&Described::new(&source.into_graph()?), out)?,
        Format::Mlheap => copy_checked(&source.path(), out)?,
    }
    Ok(())
}

/// No damaged file is handed on.
fn copy_checked(path: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    drop(load(path)?);
    io::copy(&mut File::open(path)?, out)?;
    Ok(())
}

fn write_file(source: Source, format: Format, output: OutputFile) -> anyhow::Result<()> {
    let name = output.destination().display().to_string();
    output.write_with(|file| {
        let mut out = BufWriter::with_capacity(1 << 18, file);
        write_format(source, format, &mut out)?;
        out.flush().with_context(|| format!("cannot write {name}"))
    })
}

impl Arguments {
    /// The file of this name, else the process of this number.
    fn source(&self) -> anyhow::Result<Source> {
        let number = self.path.to_str().and_then(|text| text.parse().ok()).filter(|_| !self.path.exists());
        match number {
            Some(pid) => Ok(Source::Process(heap_request::take(pid, Duration::from_secs(self.timeout.into()))?)),
            None => Ok(Source::File(self.path.clone())),
        }
    }

    /// The format of what is written, if anything is: as told, else by the file's name.
    fn format(&self) -> anyhow::Result<Option<Format>> {
        let (Some(path), None) = (&self.output, self.to) else {
            return Ok(self.to);
        };
        match path.extension().and_then(OsStr::to_str) {
            Some("html" | "htm") => Ok(Some(Format::Html)),
            Some("heapsnapshot") => Ok(Some(Format::Heapsnapshot)),
            Some("mlheap") => Ok(Some(Format::Mlheap)),
            _ => bail!("{} is neither .html nor .heapsnapshot nor .mlheap: say which by --to", path.display()),
        }
    }

    fn options(&self) -> Options {
        Options { rows: (!self.all).then_some(self.rows), ..terminal_options() }
    }

    fn answer(&self, heap: &Described<'_>) -> anyhow::Result<()> {
        let question = &self.question;
        match question {
            Question { by: Some(By::Type), .. } => self.print(json::write_types, terminal::write_types, heap),
            Question { by: Some(By::Module), .. } => self.print(json::write_modules, terminal::write_modules, heap),
            Question { top: Some(count), .. } => self.top(heap, *count),
            Question { why: Some(object), .. } => self.why(heap, object),
            Question { diff: Some(earlier), .. } => self.diff(heap, earlier),
            Question { cycles: true, .. } => self.cycles(heap),
            _ => self.waste(heap),
        }
    }

    fn print(
        &self,
        write_json: impl FnOnce(&Described<'_>, &mut dyn Write) -> io::Result<()>,
        write_table: impl FnOnce(&Described<'_>, &Options, &mut dyn Write) -> io::Result<()>,
        heap: &Described<'_>,
    ) -> anyhow::Result<()> {
        write_out(|out| if self.json { write_json(heap, out) } else { write_table(heap, &self.options(), out) })?;
        Ok(())
    }

    fn waste(&self, heap: &Described<'_>) -> anyhow::Result<()> {
        let graph = heap.graph;
        if self.question.duplicates {
            let groups = graph.duplicates();
            let write_json = |heap: &Described<'_>, out: &mut dyn Write| json::write_duplicates(heap, &groups, out);
            self.print(write_json, |heap, options, out| terminal::write_duplicates(heap, &groups, options, out), heap)
        } else if self.question.sparse {
            let facts = graph.sparse();
            let write_json = |heap: &Described<'_>, out: &mut dyn Write| json::write_sparse(heap, &facts, out);
            self.print(write_json, |heap, options, out| terminal::write_sparse(heap, &facts, options, out), heap)
        } else if self.question.suspects {
            let suspects = graph.suspects();
            let write_json = |heap: &Described<'_>, out: &mut dyn Write| json::write_suspects(heap, &suspects, out);
            self.print(write_json, |heap, options, out| terminal::write_suspects(heap, &suspects, options, out), heap)
        } else {
            let top = graph.top_without_wrappers(self.rows);
            let write_json = |heap: &Described<'_>, out: &mut dyn Write| json::write_overview(heap, &top, out);
            self.print(write_json, terminal::write_overview, heap)
        }
    }

    fn top(&self, heap: &Described<'_>, count: usize) -> anyhow::Result<()> {
        let graph = heap.graph;
        let objects = if self.all { graph.top(count) } else { graph.top_without_wrappers(count) };
        let write_json = |heap: &Described<'_>, out: &mut dyn Write| json::write_top(heap, &objects, out);
        self.print(write_json, |heap, options, out| terminal::write_top(heap, &objects, options, out), heap)
    }

    fn why(&self, heap: &Described<'_>, asked: &str) -> anyhow::Result<()> {
        let objects = find(heap.graph, asked)?;
        let answer = |object: ObjectId| (object, heap.graph.why(object, PATHS));
        let answers: Vec<(ObjectId, Paths)> = objects.into_iter().map(answer).collect();
        let write_json = |heap: &Described<'_>, out: &mut dyn Write| json::write_why(heap, &answers, out);
        self.print(write_json, |heap, options, out| terminal::write_why(heap, &answers, options, out), heap)
    }

    fn diff(&self, heap: &Described<'_>, earlier: &Path) -> anyhow::Result<()> {
        let before = load(earlier)?;
        let diff = heap.graph.diff(&before);
        drop(before);
        let write_json = |heap: &Described<'_>, out: &mut dyn Write| json::write_diff(heap, &diff, out);
        self.print(write_json, |heap, options, out| terminal::write_diff(heap, &diff, options, out), heap)
    }

    fn cycles(&self, heap: &Described<'_>) -> anyhow::Result<()> {
        let (cycles, others): (Vec<Cycle>, Vec<Cycle>) =
            heap.graph.cycles().into_iter().partition(|cycle| self.all || is_of_data(cycle));
        let write_json = |heap: &Described<'_>, out: &mut dyn Write| json::write_cycles(heap, &cycles, out);
        let left_out = others.len();
        self.print(write_json, |heap, options, out| terminal::write_cycles(heap, &cycles, left_out, options, out), heap)
    }
}

/// Every class and every module is in a cycle: such a cycle is worth showing only where something is wrong with it.
fn is_of_data(cycle: &Cycle) -> bool {
    cycle.is_unreachable || !(cycle.holds_module || cycle.holds_class)
}

/// The object at an address, or those of a type that retain most.
fn find(graph: &Graph, asked: &str) -> anyhow::Result<Vec<ObjectId>> {
    if let Some(digits) = asked.strip_prefix("0x") {
        let address = u64::from_str_radix(digits, 16).with_context(|| format!("'{asked}' is no address"))?;
        let object = graph.object_at(address);
        return Ok(vec![object.with_context(|| format!("no object is at {asked} in the snapshot"))?]);
    }
    let is_asked: Vec<bool> = (0..graph.types().len() as u32)
        .map(|id| graph.type_name(memlens_heap::TypeId(id)))
        .map(|name| name == asked || name.rsplit('.').next() == Some(asked))
        .collect();
    let mut objects: Vec<ObjectId> =
        graph.objects().filter(|object| is_asked[graph.type_id(*object).index()]).collect();
    if objects.is_empty() {
        bail!("no object of type '{asked}' is in the snapshot");
    }
    objects.sort_by_key(|object| std::cmp::Reverse(graph.dominators().retained_bytes(*object)));
    objects.truncate(OBJECTS_OF_TYPE);
    Ok(objects)
}
