//! Leak suspects by the rules of Eclipse Memory Analyzer ("Automated Heap Dump Analysis", its leak suspects report): what
//! retains at least a tenth of the heap, the point where that much gathers, and many small objects of one type.
use crate::{DominatorTree, Graph, ObjectId, TypeFlags, TypeId};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;

/// Share of the heap that makes a suspect.
const SUSPECT_PERCENT: u64 = 10;

/// A child that retains less than this share of its dominator is a big drop: the dominator is where memory gathers.
const DROP_PERCENT: u64 = 70;

/// Something that retains much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// The topmost object that stands for it; `None` for objects of one type that no single object keeps alive.
    pub object: Option<ObjectId>,
    /// Where the memory gathers: the object itself or one that it dominates.
    pub accumulation: Option<ObjectId>,
    /// What is retained at the point where it gathers, without that of other suspects below it.
    pub retained_bytes: u64,
    /// The objects right below that point which are no suspects themselves, by type: type, objects, retained bytes. Largest
    /// first.
    pub children: Vec<(TypeId, u64, u64)>,
}

impl Graph {
    /// The suspects, largest first.
    pub fn suspects(&self) -> Vec<Suspect> {
        let tree = self.dominator_tree();
        let least_bytes = (self.total().bytes / 100).saturating_mul(SUSPECT_PERCENT).max(1);
        let mut search = Search { graph: self, tree: &tree, least_bytes, found: Vec::new(), heads: Vec::new() };
        search.run();
        let mut found = search.found;
        found.sort_by_key(|suspect| (Reverse(suspect.retained_bytes), suspect.object));
        found
    }
}

struct Search<'g> {
    graph: &'g Graph,
    tree: &'g DominatorTree,
    least_bytes: u64,
    found: Vec<Suspect>,
    /// Large objects that have not been looked at.
    heads: Vec<ObjectId>,
}

impl Search<'_> {
    fn run(&mut self) {
        // Classes and modules are the program itself. Each is held from several sides, and small ones are no leak.
        let namespaces = self.graph.module_dicts();
        let is_program = |top: &ObjectId| {
            let is_class = self.graph.is_a(*top, TypeFlags::CLASS) || self.graph.is_a(*top, TypeFlags::MODULE);
            is_class || namespaces.contains(top)
        };
        let is_wanted = |top: &ObjectId| !is_program(top) || self.retained(*top) >= self.least_bytes;
        let tops: Vec<ObjectId> = self.tree.tops().filter(is_wanted).collect();
        let (small, _) = self.split(&tops);
        let many = small.first().is_some_and(|(_, _, bytes)| *bytes >= self.least_bytes);
        if many {
            let retained_bytes = small[0].2;
            self.found.push(Suspect {
                object: None,
                accumulation: None,
                retained_bytes,
                children: small[..1].to_vec(),
            });
        }
        while let Some(head) = self.heads.pop() {
            self.look_at(head);
        }
    }

    /// Large objects become heads; the others are summed by type.
    fn split(&mut self, objects: &[ObjectId]) -> (Vec<(TypeId, u64, u64)>, u64) {
        let mut by_type: FxHashMap<TypeId, (u64, u64)> = FxHashMap::default();
        let mut large_bytes = 0_u64;
        for object in objects {
            let bytes = self.retained(*object);
            if bytes >= self.least_bytes {
                self.heads.push(*object);
                large_bytes = large_bytes.saturating_add(bytes);
            } else {
                let (count, sum) = by_type.entry(self.graph.type_id(*object)).or_default();
                *count += 1;
                *sum = sum.saturating_add(bytes);
            }
        }
        let mut small: Vec<(TypeId, u64, u64)> =
            by_type.into_iter().map(|(id, (count, sum))| (id, count, sum)).collect();
        small.sort_by_key(|(id, _, bytes)| (Reverse(*bytes), *id));
        (small, large_bytes)
    }

    fn retained(&self, object: ObjectId) -> u64 {
        self.graph.dominators().retained_bytes(object)
    }

    fn look_at(&mut self, head: ObjectId) {
        let point = self.gathering_point(head);
        let is_chain = !self.is_most(self.retained(point), self.retained(head));
        // A chain that thins out slowly (a linked list) gathers nowhere: its head stands for it, and nothing below.
        let point = if is_chain { head } else { point };
        let children: Vec<ObjectId> = self.tree.children(point).collect();
        let waiting = self.heads.len();
        let (small, mut large_bytes) = self.split(&children);
        if is_chain {
            self.heads.truncate(waiting);
            large_bytes = 0;
        }
        let retained_bytes = self.retained(point) - large_bytes;
        if retained_bytes >= self.least_bytes || large_bytes == 0 {
            let (object, accumulation) = (Some(head), Some(self.whole(point)));
            self.found.push(Suspect { object, accumulation, retained_bytes, children: small });
        }
    }

    /// What the object is the inside of, if it is.
    fn whole(&self, object: ObjectId) -> ObjectId {
        let above = self.graph.dominators().immediate(object);
        above.filter(|_| self.graph.is_part(object)).map_or(object, |above| self.whole(above))
    }

    fn is_most(&self, part: u64, whole: u64) -> bool {
        u128::from(part) * 100 >= u128::from(whole) * u128::from(DROP_PERCENT)
    }

    /// Down along the largest child, as long as it retains most of its dominator. Other large children on the way are heads.
    fn gathering_point(&mut self, head: ObjectId) -> ObjectId {
        let mut point = head;
        while let Some(largest) = self.tree.children(point).max_by_key(|child| self.retained(*child)) {
            let bytes = self.retained(largest);
            if bytes < self.least_bytes || !self.is_most(bytes, self.retained(point)) {
                break;
            }
            let others = self.tree.children(point).filter(|child| *child != largest);
            let large: Vec<ObjectId> = others.filter(|child| self.retained(*child) >= self.least_bytes).collect();
            self.heads.extend(large);
            point = largest;
        }
        point
    }
}
