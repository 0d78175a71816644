//! Depth-first search: the numbering of the graph's objects.
//!
//! It is a true depth-first search (an object's number is followed by those of everything first reached through it), for the
//! dominators are computed on it; the stack is explicit, since a linked list is as deep as it is long.
use crate::graph::Columns;
use crate::{Root, RootKind, Type};

/// No object.
pub(crate) const NONE: u32 = u32::MAX;

/// What an object refers to: its references, then its class.
#[inline]
pub(crate) fn successor(columns: &Columns, types: &[Type], object: u32, position: u32) -> Option<u32> {
    let targets = columns.targets_of(object as usize);
    match targets.get(position as usize) {
        Some(target) => Some(*target),
        None if position as usize == targets.len() => {
            types[columns.types[object as usize] as usize].class.map(|class| class.0)
        }
        None => None,
    }
}

/// A search under way, whose visitor is told each object and the one that it was reached from.
pub(crate) struct Search<'g> {
    columns: &'g Columns,
    types: &'g [Type],
    /// Objects whose references are being followed, with the position of the next one.
    stack: Vec<(u32, u32)>,
}

impl<'g> Search<'g> {
    pub(crate) fn new(columns: &'g Columns, types: &'g [Type]) -> Self {
        Self { columns, types, stack: Vec::new() }
    }

    /// Visits what is reachable from `root`. `enter(object, parent)` says whether the object is new; the parent of the
    /// root is [`NONE`].
    pub(crate) fn run(&mut self, root: u32, mut enter: impl FnMut(u32, u32) -> bool) {
        if !enter(root, NONE) {
            return;
        }
        self.stack.push((root, 0));
        while let Some((object, position)) = self.stack.pop() {
            let Some(next) = successor(self.columns, self.types, object, position) else {
                continue;
            };
            self.stack.push((object, position + 1));
            if enter(next, object) {
                self.stack.push((next, 0));
            }
        }
    }
}

/// The numbering of all objects: by new number the old one, and the other way round. Roots of what no given root reaches
/// are added to `roots`.
pub(crate) struct Numbering {
    /// Old numbers in the new order.
    pub(crate) order: Vec<u32>,
    /// New number of each old one.
    pub(crate) number: Vec<u32>,
}

impl Numbering {
    pub(crate) fn new(columns: &Columns, types: &[Type], roots: &mut Vec<Root>) -> Self {
        let length = columns.len();
        let mut numbering = Self { order: Vec::with_capacity(length), number: vec![NONE; length] };
        let mut search = Search::new(columns, types);
        for root in roots.iter() {
            search.run(root.object.0, |object, _| numbering.take(object));
        }
        if numbering.order.len() < length {
            numbering.take_unreachable(&mut search, roots);
        }
        numbering
    }

    #[inline]
    fn take(&mut self, object: u32) -> bool {
        let number = &mut self.number[object as usize];
        let is_new = *number == NONE;
        if is_new {
            *number = self.order.len() as u32;
            self.order.push(object);
        }
        is_new
    }

    /// First the objects that nothing refers to, then one object of each cycle that is left.
    fn take_unreachable(&mut self, search: &mut Search<'_>, roots: &mut Vec<Root>) {
        let unreachable: Vec<u32> =
            (0..self.number.len() as u32).filter(|object| self.number[*object as usize] == NONE).collect();
        let mut is_referred_to = vec![false; self.number.len()];
        for object in &unreachable {
            let successors = (0..).map_while(|position| successor(search.columns, search.types, *object, position));
            successors.filter(|to| to != object).for_each(|to| is_referred_to[to as usize] = true);
        }
        let firsts = unreachable.iter().filter(|object| !is_referred_to[**object as usize]);
        for object in firsts.chain(&unreachable) {
            if self.number[*object as usize] == NONE {
                roots.push(Root { object: crate::ObjectId(*object), kind: RootKind::Unreachable });
                search.run(*object, |object, _| self.take(object));
            }
        }
    }
}
