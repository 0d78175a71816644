//! Tables about a heap: 80 columns unless told otherwise, readable without colour.
use super::Described;
use super::describe::address;
use crate::human::{bytes, count, counted, share, signed_bytes};
use crate::label::{cut_end, cut_start, one_line};
use crate::terminal::Options;
use crate::terminal::paint::{Ink, paint};
use memlens_heap::{Cycle, Diff, Duplicates, Fact, FactKind, ObjectId, Paths, Suspect, Total, TypeChange};
use std::io::{self, Write};

/// Columns left of a name in tables with two figures.
const INDENT: usize = 20;

/// One table being written.
struct Table<'a> {
    options: &'a Options,
    out: &'a mut dyn Write,
}

impl Table<'_> {
    fn heading(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", paint(self.options, Ink::Bold, &cut_end(text, self.options.width())))
    }

    fn columns(&mut self, text: &str) -> io::Result<()> {
        self.dim(text)
    }

    fn dim(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", paint(self.options, Ink::Dim, &cut_end(text, self.options.width())))
    }

    /// Figures, and behind them a text that is cut at its end.
    fn row(&mut self, figures: &str, text: &str) -> io::Result<()> {
        let room = self.options.width().saturating_sub(figures.chars().count());
        writeln!(self.out, "{figures}{}", cut_end(text, room))
    }

    /// A line under a row, cut at its start, where a path says least.
    fn under(&mut self, indent: usize, text: &str) -> io::Result<()> {
        let room = self.options.width().saturating_sub(indent);
        writeln!(self.out, "{:indent$}{}", "", paint(self.options, Ink::Dim, &cut_start(text, room)))
    }

    /// How many rows of a list are shown.
    fn shown(&self, all: usize) -> usize {
        self.options.rows.unwrap_or(all).min(all)
    }

    /// What is not shown, if anything.
    fn more(&mut self, left_out: usize, sum: Option<u64>) -> io::Result<()> {
        match (left_out, sum) {
            (0, _) => Ok(()),
            (rows, Some(sum)) => {
                self.dim(&format!("{:>10}  in {} more; --all shows them", bytes(sum), count(rows as u64)))
            }
            (rows, None) => self.dim(&format!("{:12}{} more; --all shows them", "", count(rows as u64))),
        }
    }
}

fn sum(values: impl Iterator<Item = u64>) -> u64 {
    values.fold(0, u64::saturating_add)
}

/// What is there in all, by type, and what retains most.
pub fn write_overview(heap: &Described<'_>, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table { options, out };
    write_head(heap, &mut table)?;
    writeln!(table.out)?;
    write_types(heap, options, table.out)?;
    writeln!(out)?;
    write_top(heap, &heap.graph.top_without_wrappers(options.rows.unwrap_or(100)), options, out)
}

fn write_head(heap: &Described<'_>, table: &mut Table<'_>) -> io::Result<()> {
    let graph = heap.graph;
    let meta = graph.meta();
    let command = one_line(&meta.command.join(" "));
    table.heading(if command.is_empty() { "(command not known)" } else { &command })?;
    writeln!(table.out, "CPython {}, process {}\n", one_line(&meta.python), meta.pid)?;
    let total = graph.total();
    let line = |name: &str, figure: u64, note: &str| format!("{name:<16}{:>10}   {note}", bytes(figure));
    let references = counted(graph.edge_count() as u64, "reference");
    table.row(&line("Objects", total.bytes, &format!("in {}, {references}", counted(total.count, "object"))), "")?;
    let opaque = sum(graph.all_opaque().map(|(_, bytes)| bytes));
    if opaque > 0 {
        table.row(&line("Of it opaque", opaque, "held in ways that no reference explains"), "")?;
    }
    let file_bytes = graph.file_bytes();
    if file_bytes > 0 {
        table.row(&line("Mapped files", file_bytes, "held by objects; not heap, and in no other figure"), "")?;
    }
    if let Some(heap_bytes) = meta.heap_bytes {
        let explained = share(total.bytes, heap_bytes);
        table.row(
            &line("Live heap", heap_bytes, &format!("as the allocators count; objects are {explained} of it")),
            "",
        )?;
    }
    meta.rss_bytes.map_or(Ok(()), |rss| table.row(&line("Resident", rss, "as the kernel counts"), ""))
}

/// Own and retained bytes by type.
pub fn write_types(heap: &Described<'_>, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table { options, out };
    let (rows, whole) = (heap.graph.by_type(), heap.graph.total().bytes);
    table.heading("By type")?;
    table.columns("     BYTES   SHARE       COUNT   RETAINED  TYPE")?;
    let shown = table.shown(rows.len());
    for row in &rows[..shown] {
        let figures = format!(
            "{:>10}{:>8}{:>12}{:>11}  ",
            bytes(row.own.bytes),
            share(row.own.bytes, whole),
            count(row.own.count),
            bytes(row.retained_bytes)
        );
        table.row(&figures, &one_line(&heap.graph.type_name(row.type_id)))?;
    }
    table.more(rows.len() - shown, Some(sum(rows[shown..].iter().map(|row| row.own.bytes))))
}

/// Own bytes by the nearest module.
pub fn write_modules(heap: &Described<'_>, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table { options, out };
    let (rows, whole) = (heap.graph.by_module(), heap.graph.total().bytes);
    table.heading("By module: each object with the one that it is the fewest references away from")?;
    table.columns("     BYTES   SHARE       COUNT  MODULE")?;
    let shown = table.shown(rows.len());
    for (holder, total) in &rows[..shown] {
        let figures = format!("{:>10}{:>8}{:>12}  ", bytes(total.bytes), share(total.bytes, whole), count(total.count));
        table.row(&figures, &heap.holder(*holder))?;
    }
    table.more(rows.len() - shown, Some(sum(rows[shown..].iter().map(|(_, total)| total.bytes))))
}

/// Objects with what they retain and how they are reached.
pub fn write_top(heap: &Described<'_>, objects: &[ObjectId], options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table { options, out };
    let whole = heap.graph.total().bytes;
    table.heading("What keeps most alive: bytes that would go with it")?;
    table.columns("  RETAINED   SHARE  OBJECT")?;
    for object in objects {
        let retained = heap.retained(*object);
        table.row(&format!("{:>10}{:>8}  ", bytes(retained), share(retained, whole)), &heap.label(*object))?;
        table.under(INDENT, &heap.path(*object))?;
    }
    Ok(())
}

/// Paths from roots to objects.
pub fn write_why(
    heap: &Described<'_>,
    answers: &[(ObjectId, Paths)],
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut table = Table { options, out };
    for (index, (object, paths)) in answers.iter().enumerate() {
        if index > 0 {
            writeln!(table.out)?;
        }
        let (own, retained) = (heap.graph.own_bytes(*object), heap.retained(*object));
        table.heading(&format!("{} at {}", heap.label(*object), address(heap.graph, *object)))?;
        writeln!(table.out, "{} itself, {} retained", bytes(own), bytes(retained))?;
        for path in paths.iter() {
            write_path(&one_line(&heap.graph.path_text(path)), &mut table)?;
        }
        if paths.is_cut_short {
            table.dim("  The search gave up, for most ways lead in circles: there may be more paths.")?;
        }
    }
    Ok(())
}

/// The path whole, over as many lines as it needs: it is there to be pasted.
fn write_path(text: &str, table: &mut Table<'_>) -> io::Result<()> {
    let room = table.options.width() - 4;
    let letters: Vec<char> = text.chars().collect();
    for (index, line) in letters.chunks(room).enumerate() {
        let line: String = line.iter().collect();
        writeln!(table.out, "{}{line}", if index == 0 { "  " } else { "    " })?;
    }
    Ok(())
}

/// Reference cycles.
pub fn write_cycles(
    heap: &Described<'_>,
    cycles: &[Cycle],
    left_out: usize,
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut table = Table { options, out };
    table.heading(&format!("Reference cycles: {}", count(cycles.len() as u64)))?;
    if !cycles.is_empty() {
        table.columns("     BYTES   OBJECTS  A WAY ROUND")?;
    }
    let shown = table.shown(cycles.len());
    for cycle in &cycles[..shown] {
        let (start, edges) = heap.graph.way_round(cycle);
        let figures = format!("{:>10}{:>10}  ", bytes(cycle.bytes), count(cycle.objects.len() as u64));
        table.row(&figures, &format!("{}{}", heap.type_name(start), one_line(&heap.graph.steps_text(&edges))))?;
        for note in notes(cycle) {
            table.under(22, note)?;
        }
        table.under(22, &heap.path(start))?;
    }
    table.more(cycles.len() - shown, Some(sum(cycles[shown..].iter().map(|cycle| cycle.bytes))))?;
    match left_out {
        0 => Ok(()),
        left_out => {
            table.dim(&format!("Left out: {} of classes and modules; --all shows them", count(left_out as u64)))
        }
    }
}

fn notes(cycle: &Cycle) -> impl Iterator<Item = &'static str> {
    let notes = [
        (cycle.is_unreachable && !cycle.is_unseen, "nothing else holds it: it goes at the next collection"),
        (cycle.is_unreachable && cycle.is_unseen, "nothing else holds it, and the collector never frees it"),
        (!cycle.is_unreachable && cycle.is_unseen, "the collector cannot see all of it and would never free it"),
        (cycle.has_finalizer, "with a finalizer (__del__)"),
        (cycle.has_weakref_callback, "with a weak reference's callback"),
    ];
    notes.into_iter().filter(|(holds, _)| *holds).map(|(_, note)| note)
}

/// Equal contents.
pub fn write_duplicates(
    heap: &Described<'_>,
    groups: &[Duplicates],
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut table = Table { options, out };
    let wasted = sum(groups.iter().map(|group| group.wasted_bytes));
    table.heading(&format!("Equal contents: {} in all that one copy of each would save", bytes(wasted)))?;
    table.columns("    WASTED      COPIES      EACH  CONTENT")?;
    let shown = table.shown(groups.len());
    for group in &groups[..shown] {
        let copies = count(group.objects.len() as u64);
        let figures = format!("{:>10}{:>12}{:>10}  ", bytes(group.wasted_bytes), copies, bytes(group.each_bytes));
        table.row(&figures, &heap.label(group.objects[0]))?;
        table.under(34, &heap.path(group.objects[0]))?;
    }
    table.more(groups.len() - shown, Some(sum(groups[shown..].iter().map(|group| group.wasted_bytes))))
}

/// Room that is not used.
pub fn write_sparse(heap: &Described<'_>, facts: &[Fact], options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table { options, out };
    table.heading(&format!("Sparse: {} in all", bytes(sum(facts.iter().map(|fact| fact.saved_bytes)))))?;
    table.columns("     SAVES  WHAT")?;
    let shown = table.shown(facts.len());
    for fact in &facts[..shown] {
        let what = format!("{}: {}", heap.label(fact.object), fact_text(heap, fact.kind));
        table.row(&format!("{:>10}  ", bytes(fact.saved_bytes)), &what)?;
        table.under(12, &heap.path(fact.object))?;
    }
    table.more(facts.len() - shown, Some(sum(facts[shown..].iter().map(|fact| fact.saved_bytes))))
}

pub(super) fn fact_text(heap: &Described<'_>, kind: FactKind) -> String {
    match kind {
        FactKind::OverAllocated { used, capacity } => format!("holds {}, room for {}", count(used), count(capacity)),
        FactKind::FitsSmaller { element } => format!("every value fits {}", heap.graph.name(element)),
        FactKind::UsesPartOf { used } => format!("uses {} of what it keeps alive", bytes(used)),
        FactKind::WeakrefCallback => "a weak reference to it has a callback".to_owned(),
    }
}

/// Leak suspects.
pub fn write_suspects(
    heap: &Described<'_>,
    suspects: &[Suspect],
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut table = Table { options, out };
    let whole = heap.graph.total().bytes;
    if suspects.is_empty() {
        return table.heading("No suspect: nothing retains a tenth of the heap.");
    }
    for (index, suspect) in suspects.iter().enumerate() {
        if index > 0 {
            writeln!(table.out)?;
        }
        let size = format!("{}, {} of the heap", bytes(suspect.retained_bytes), share(suspect.retained_bytes, whole));
        table.heading(&format!("Suspect {}: {size}", index + 1))?;
        match suspect.accumulation {
            Some(point) => {
                writeln!(table.out, "  gathers in   {}", cut_end(&heap.label(point), options.width() - 15))?;
                writeln!(table.out, "  reached by   {}", cut_start(&heap.path(point), options.width() - 15))?;
            }
            None => writeln!(table.out, "  no single object keeps them alive")?,
        }
        for (type_id, number, retained) in suspect.children.iter().take(3) {
            let type_name = one_line(&heap.graph.type_name(*type_id));
            table.row(&format!("  of it {:>10}  {:>9} × ", bytes(*retained), count(*number)), &type_name)?;
        }
    }
    Ok(())
}

/// What changed between two snapshots.
pub fn write_diff(heap: &Described<'_>, diff: &Diff, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table { options, out };
    table.heading(&format!("From {} to {}", bytes(diff.before.bytes), bytes(diff.after.bytes)))?;
    let line = |name: &str, total: Total| {
        format!("{name:<8}{:>10}  in {}", bytes(total.bytes), counted(total.count, "object"))
    };
    writeln!(table.out, "{}\n{}\n", line("New", diff.new), line("Gone", diff.gone))?;
    write_type_changes(&diff.types, &mut table)?;
    writeln!(table.out)?;
    write_holders(heap, diff, &mut table)?;
    if !diff.grown.is_empty() {
        writeln!(table.out)?;
        write_grown(heap, diff, &mut table)?;
    }
    Ok(())
}

fn write_type_changes(types: &[TypeChange], table: &mut Table<'_>) -> io::Result<()> {
    table.heading("By type")?;
    table.columns("    GROWTH        NEW       GONE  TYPE")?;
    let shown = table.shown(types.len());
    for change in &types[..shown] {
        let growth = change.after.bytes.wrapping_sub(change.before.bytes) as i64;
        let figures = [signed_bytes(growth), count(change.new.count), count(change.gone.count)];
        let [growth, new, gone] = figures;
        table.row(&format!("{growth:>10}{new:>11}{gone:>11}  "), &one_line(&change.name))?;
    }
    table.more(types.len() - shown, None)
}

fn write_holders(heap: &Described<'_>, diff: &Diff, table: &mut Table<'_>) -> io::Result<()> {
    table.heading("Who keeps what is new alive")?;
    table.columns("       NEW     OBJECTS  HOLDER, WHICH WAS THERE BEFORE")?;
    let shown = table.shown(diff.holders.len());
    for growth in &diff.holders[..shown] {
        let figures = format!("{:>10}{:>12}  ", bytes(growth.new.bytes), count(growth.new.count));
        match growth.holder {
            Some(holder) => {
                table.row(&figures, &heap.label(holder))?;
                table.under(24, &heap.path(holder))?;
            }
            None => table.row(&figures, "(no single object)")?,
        }
    }
    table.more(diff.holders.len() - shown, Some(sum(diff.holders[shown..].iter().map(|growth| growth.new.bytes))))
}

fn write_grown(heap: &Described<'_>, diff: &Diff, table: &mut Table<'_>) -> io::Result<()> {
    table.heading("Grown themselves")?;
    table.columns("    BEFORE      AFTER  OBJECT")?;
    let shown = table.shown(diff.grown.len());
    for grown in &diff.grown[..shown] {
        let figures = format!("{:>10}{:>11}  ", bytes(grown.before_bytes), bytes(grown.after_bytes));
        table.row(&figures, &heap.label(grown.object))?;
        table.under(23, &heap.path(grown.object))?;
    }
    table.more(diff.grown.len() - shown, None)
}
