//! What each line did, callees included and left out.
//!
//! A line's figures are those of its subtrees in the call tree. In a recursion a line stands in its own subtree; only the
//! outermost of them is added, so that a byte is counted once. The same holds for a function and for a file. That takes
//! one pass upwards for the sums and one walk that knows which lines are on the stack: its time does not depend on how
//! deep the stacks are.
use crate::figures::Figures;
use crate::origin::Origin;
use crate::pattern::Pattern;
use crate::profile::{FileId, FunctionId, Profile};
use crate::walk::{Callees, Step};
use std::cmp::Reverse;

/// Which files are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The user's own.
    #[default]
    Own,
    /// All.
    All,
}

/// Which lines are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineQuery {
    /// Whose files; not looked at where `file` or `function` names something.
    pub scope: Scope,
    /// Only files like this.
    pub file: Option<Pattern>,
    /// Only functions like this.
    pub function: Option<Pattern>,
}

impl LineQuery {
    fn wants(&self, profile: &Profile, function: FunctionId) -> bool {
        let function = &profile.functions()[function.0 as usize];
        let file = &profile.files()[function.file.0 as usize];
        let is_named = self.file.is_some() || self.function.is_some();
        (is_named || self.scope == Scope::All || file.origin == Origin::Own)
            && self
                .file
                .as_ref()
                .is_none_or(|pattern| pattern.matches(&file.path))
            && self
                .function
                .as_ref()
                .is_none_or(|pattern| pattern.matches(&function.name))
    }
}

/// What the lines asked for did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// The files, those that held most at the peak first.
    pub files: Vec<FileLines>,
    /// What happened in the whole program.
    pub total: Figures,
    /// What happened while none of these lines ran.
    pub elsewhere: Figures,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLines {
    /// Which.
    pub file: FileId,
    /// What happened while any of its lines ran.
    pub figures: Figures,
    /// Its functions, those that held most at the peak first.
    pub functions: Vec<FunctionLines>,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionLines {
    /// Which.
    pub function: FunctionId,
    /// What happened while it ran.
    pub figures: Figures,
    /// Its lines, in order.
    pub lines: Vec<LineFigures>,
}

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineFigures {
    /// Its number, 0 if there is none.
    pub line: u32,
    /// What happened while it ran.
    pub inclusive: Figures,
    /// The same, callees left out.
    pub own: Figures,
}

impl Lines {
    /// The figures of the lines asked for.
    pub fn new(profile: &Profile, query: &LineQuery) -> Self {
        let own = figures_of_nodes(profile);
        let places = Places::new(profile, own, query);
        Self {
            files: places.files(),
            total: places.total(),
            elsewhere: places.elsewhere,
        }
    }
}

/// What happened at each node, callees left out. The last is what happened where no Python frame was running.
fn figures_of_nodes(profile: &Profile) -> Vec<Figures> {
    let outside = profile.nodes().len();
    let mut figures = vec![Figures::default(); outside + 1];
    for site in profile
        .sites()
        .iter()
        .filter(|site| site.allocator.is_heap())
    {
        figures[site.node.map_or(outside, |node| node.0 as usize)].add(&Figures {
            allocated_bytes: site.allocated_bytes,
            peak_bytes: site.peak_bytes,
            allocations: site.allocations,
            temporary_bytes: site.temporary_bytes,
            ..Figures::default()
        });
    }
    for release in profile.releases().iter().filter(|release| !release.is_file) {
        figures[release.node.map_or(outside, |node| node.0 as usize)].add(&Figures {
            freed_bytes: release.bytes,
            frees: release.count,
            ..Figures::default()
        });
    }
    figures
}

/// The same with callees.
fn inclusive_figures(profile: &Profile, own: &[Figures]) -> Vec<Figures> {
    let mut inclusive = own.to_vec();
    for (index, node) in profile.nodes().iter().enumerate().rev() {
        if let Some(parent) = node.parent {
            let callee = inclusive[index];
            inclusive[parent.0 as usize].add(&callee);
        }
    }
    inclusive
}

/// How often a place is on the stack, and what happened while it was.
struct Place {
    depth: u32,
    figures: Figures,
}

fn places(count: usize) -> Vec<Place> {
    (0..count)
        .map(|_| Place {
            depth: 0,
            figures: Figures::default(),
        })
        .collect()
}

/// The figures of every line, function and file.
struct Places<'p> {
    profile: &'p Profile,
    wanted: Vec<bool>,
    own: Vec<Figures>,
    own_of_lines: Vec<Figures>,
    lines: Vec<Place>,
    functions: Vec<Place>,
    files: Vec<Place>,
    elsewhere: Figures,
}

impl<'p> Places<'p> {
    fn new(profile: &'p Profile, own: Vec<Figures>, query: &LineQuery) -> Self {
        let functions = profile.functions().len() as u32;
        let mut places = Self {
            profile,
            wanted: (0..functions)
                .map(|function| query.wants(profile, FunctionId(function)))
                .collect(),
            own_of_lines: vec![Figures::default(); profile.lines().len()],
            lines: places(profile.lines().len()),
            functions: places(profile.functions().len()),
            files: places(profile.files().len()),
            elsewhere: own.last().copied().unwrap_or_default(),
            own,
        };
        let inclusive = inclusive_figures(profile, &places.own);
        let callees: Callees = profile.callees();
        let mut wanted_depth = 0u32;
        callees.walk(profile.nodes(), |step| {
            places.step(step, &inclusive, &mut wanted_depth)
        });
        places
    }

    fn step(&mut self, step: Step, inclusive: &[Figures], wanted_depth: &mut u32) {
        let (Step::Enter(node) | Step::Leave(node)) = step;
        let id = self.profile.nodes()[node.0 as usize].line;
        let function = self.profile.lines()[id.0 as usize].function.0 as usize;
        let file = self.profile.functions()[function].file.0 as usize;
        let stack = [
            &mut self.lines[id.0 as usize],
            &mut self.functions[function],
            &mut self.files[file],
        ];
        if matches!(step, Step::Leave(_)) {
            stack.into_iter().for_each(|place| place.depth -= 1);
            *wanted_depth -= u32::from(self.wanted[function]);
            return;
        }
        for place in stack {
            if place.depth == 0 {
                place.figures.add(&inclusive[node.0 as usize]);
            }
            place.depth += 1;
        }
        *wanted_depth += u32::from(self.wanted[function]);
        let own = &self.own[node.0 as usize];
        self.own_of_lines[id.0 as usize].add(own);
        if *wanted_depth == 0 {
            self.elsewhere.add(own);
        }
    }

    fn total(&self) -> Figures {
        let mut total = Figures::default();
        self.own.iter().for_each(|figures| total.add(figures));
        total
    }

    fn files(&self) -> Vec<FileLines> {
        let mut lines_of_functions: Vec<Vec<LineFigures>> = vec![Vec::new(); self.functions.len()];
        for (index, line) in self.profile.lines().iter().enumerate() {
            let inclusive = self.lines[index].figures;
            if self.wanted[line.function.0 as usize] && !inclusive.is_empty() {
                let figures = LineFigures {
                    line: line.line,
                    inclusive,
                    own: self.own_of_lines[index],
                };
                lines_of_functions[line.function.0 as usize].push(figures);
            }
        }
        let mut functions_of_files: Vec<Vec<FunctionLines>> = vec![Vec::new(); self.files.len()];
        for (index, mut lines) in lines_of_functions.into_iter().enumerate() {
            if lines.is_empty() {
                continue;
            }
            lines.sort_by_key(|line| line.line);
            let file = self.profile.functions()[index].file.0 as usize;
            let function = FunctionId(index as u32);
            functions_of_files[file].push(FunctionLines {
                function,
                figures: self.functions[index].figures,
                lines,
            });
        }
        let mut files = Vec::new();
        for (index, mut functions) in functions_of_files.into_iter().enumerate() {
            if functions.is_empty() {
                continue;
            }
            functions.sort_by_key(|function| (weight(&function.figures), function.function));
            files.push(FileLines {
                file: FileId(index as u32),
                figures: self.files[index].figures,
                functions,
            });
        }
        files.sort_by_key(|file| (weight(&file.figures), file.file));
        files
    }
}

/// What matters first: what was held at the peak, then what was allocated at all.
fn weight(figures: &Figures) -> (Reverse<u64>, Reverse<u64>) {
    (
        Reverse(figures.peak_bytes),
        Reverse(figures.allocated_bytes),
    )
}
