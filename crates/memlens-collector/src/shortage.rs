//! Whether a program ended for want of memory: what the kernel killed, what the allocators refused, and which bound that was.
use crate::shared_view::SharedView;
use crate::text;
use memlens_format::capture::{Exit, Shortage};
use memlens_format::shared::{NODE_ROOT, NODES_PER_CHUNK, SITES_PER_CHUNK, Text};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

/// A refused allocation is taken for the cause of a failure that came this soon after it. An interpreter that ends has a heap to release first:
/// on a machine with much else to do 2 seconds were once too few.
const SOON_NS: u64 = 10_000_000_000;
/// Most frames of a refused allocation that are kept.
const MAX_FRAMES: usize = 64;
const SIGKILL: i32 = 9;

/// The bounds on a process' memory as they were when it started.
pub struct Bounds {
    group: Option<Group>,
    group_kills: u64,
    machine_kills: u64,
    address_space: Option<(&'static str, u64)>,
}

impl Bounds {
    /// Those of the process `pid`.
    pub fn of(pid: u32) -> Self {
        let group = Group::of(pid);
        let group_kills = group.as_ref().map_or(0, Group::kills);
        Self { group, group_kills, machine_kills: machine_kills(), address_space: None }
    }

    /// Reads what the program may have set itself; call it when it has failed, and before it is waited for.
    pub fn read_limits(&mut self, pid: u32) {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        let limit = |(name, words)| limit_of(&limits, name).map(|bytes| (words, bytes));
        let known = [("Max address space", "on the address space"), ("Max data size", "on data")];
        self.address_space = known.into_iter().filter_map(limit).min_by_key(|(_, bytes)| *bytes);
    }

    /// What there is to say of a program that ended so; `None` if memory was not the matter.
    pub fn shortage(&self, exit: Exit, refusal: Option<Refusal>, end_ns: u64) -> Option<Shortage> {
        let has_failed = exit.signal.is_some() || exit.code.is_some_and(|code| code != 0);
        if !has_failed {
            return None;
        }
        let refusal = refusal.unwrap_or_default();
        let killed = self.killed(exit);
        let is_cause = killed > 0 || refusal.count > 0 && refusal.time_ns.saturating_add(SOON_NS) >= end_ns;
        is_cause.then(|| {
            let (bound, limit_bytes) = self.bound(killed > 0).unwrap_or_default();
            Shortage {
                bound: bound.to_owned(),
                limit_bytes,
                killed,
                refused: refusal.count,
                refused_bytes: refusal.bytes,
                time_ns: if killed > 0 { end_ns } else { refusal.time_ns },
                refused_stack: refusal.stack,
            }
        })
    }

    /// Processes that the kernel killed since: of the control group, or of the whole machine if the program was one of them.
    fn killed(&self, exit: Exit) -> u64 {
        let in_group = self.group.as_ref().map_or(0, |group| group.kills().saturating_sub(self.group_kills));
        if in_group > 0 || exit.signal != Some(SIGKILL) {
            return in_group;
        }
        machine_kills().saturating_sub(self.machine_kills)
    }

    fn bound(&self, is_killed: bool) -> Option<(&'static str, u64)> {
        let group = self.group.as_ref().and_then(Group::limit).map(|bytes| ("of the control group", bytes));
        if is_killed { group.or_else(machine_memory) } else { self.address_space.or(group).or_else(machine_memory) }
    }
}

/// The last allocation that a process was refused.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    /// How many were.
    pub count: u64,
    /// Bytes of the last.
    pub bytes: u64,
    /// When that was.
    pub time_ns: u64,
    /// Where: function, file, line, innermost first.
    pub stack: Vec<(String, String, u32)>,
}

impl Refusal {
    /// What the tables say; `None` if nothing was refused.
    pub fn read(view: &SharedView) -> Option<Self> {
        let header = view.header();
        let count = header.refused_count.load(Relaxed);
        (count > 0).then(|| Self {
            count,
            bytes: header.refused_bytes.load(Relaxed),
            time_ns: header.refused_time_ns.load(Relaxed),
            stack: stack_of(view, header.refused_site.load(Relaxed)),
        })
    }
}

/// The frames of a site; none where the tables are damaged. A parent stands before its children, so that this ends.
fn stack_of(view: &SharedView, site: u32) -> Vec<(String, String, u32)> {
    let site = site as usize;
    let record = view.sites(site / SITES_PER_CHUNK).and_then(|sites| sites.get(site % SITES_PER_CHUNK));
    let mut node = record.map_or(NODE_ROOT, |record| record.node.load(Relaxed));
    let mut stack = Vec::new();
    while node != NODE_ROOT && stack.len() < MAX_FRAMES {
        let index = node as usize;
        let Some(record) = view.nodes(index / NODES_PER_CHUNK).and_then(|nodes| nodes.get(index % NODES_PER_CHUNK))
        else {
            break;
        };
        let Some(code) = view.code(record.code.load(Relaxed) as usize) else { break };
        stack.push((text_of(view, &code.name), text_of(view, &code.file), record.line.load(Relaxed)));
        let parent = record.parent.load(Relaxed);
        node = if parent < node { parent } else { NODE_ROOT };
    }
    stack
}

fn text_of(view: &SharedView, text: &Text) -> String {
    let mut bytes = Vec::new();
    view.copy_text(text, &mut bytes).and_then(|width| text::decode(&bytes, width)).unwrap_or_else(|| "?".to_owned())
}

/// A control group with a memory controller, of version 1 or 2.
struct Group {
    folders: Vec<PathBuf>,
    limit_file: &'static str,
    kills_file: &'static str,
}

impl Group {
    fn of(pid: u32) -> Option<Self> {
        let lines = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let path_after = |prefix: fn(&str) -> bool| {
            let mut parts = lines.lines().map(|line| line.splitn(3, ':').collect::<Vec<_>>());
            parts.find(|parts| parts.len() == 3 && prefix(parts[1])).map(|parts| parts[2].to_owned())
        };
        let first = path_after(|controllers| controllers.split(',').any(|name| name == "memory"));
        if let Some(path) = first {
            let folders = folders("/sys/fs/cgroup/memory", &path);
            return Some(Self { folders, limit_file: "memory.limit_in_bytes", kills_file: "memory.oom_control" });
        }
        let path = path_after(str::is_empty)?;
        Some(Self { folders: folders("/sys/fs/cgroup", &path), limit_file: "memory.max", kills_file: "memory.events" })
    }

    /// The smallest limit of the group and those that it is in; `None` without one.
    fn limit(&self) -> Option<u64> {
        let limits = self.folders.iter().filter_map(|folder| {
            let text = std::fs::read_to_string(folder.join(self.limit_file)).ok()?;
            text.trim().parse::<u64>().ok()
        });
        // Version 1 says "no limit" by the largest number of pages.
        limits.filter(|bytes| *bytes < 1 << 60).min()
    }

    /// How many of its processes the kernel has killed for want of memory.
    fn kills(&self) -> u64 {
        let text = self.folders.first().and_then(|folder| std::fs::read_to_string(folder.join(self.kills_file)).ok());
        number_after(&text.unwrap_or_default(), "oom_kill ")
    }
}

/// The folder of a group, and of those that it is in, innermost first.
fn folders(root: &str, path: &str) -> Vec<PathBuf> {
    let root = PathBuf::from(root);
    let innermost = root.join(path.trim_start_matches('/'));
    innermost.ancestors().take_while(|folder| folder.starts_with(&root)).map(PathBuf::from).collect()
}

/// How many processes the kernel has killed for want of memory since the machine started.
fn machine_kills() -> u64 {
    number_after(&std::fs::read_to_string("/proc/vmstat").unwrap_or_default(), "oom_kill ")
}

fn machine_memory() -> Option<(&'static str, u64)> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kibibytes: u64 =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.split_whitespace().next()?.parse().ok()?;
    Some(("of the machine", kibibytes * 1024))
}

fn number_after(text: &str, name: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
}

/// The soft limit of this name in `/proc/PID/limits`, in bytes; `None` if there is none.
pub fn limit_of(limits: &str, name: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
        Max data size             unlimited            unlimited            bytes     \n\
        Max address space         2097152000           unlimited            bytes     \n";

    fn bounds() -> Bounds {
        let machine_kills = machine_kills();
        Bounds {
            group: None,
            group_kills: 0,
            machine_kills,
            address_space: Some(("on the address space", 2_097_152_000)),
        }
    }

    fn exit(code: Option<i32>) -> Exit {
        Exit { code, signal: None, out_of_memory: false }
    }

    #[test]
    fn limits_are_read_by_name() {
        assert_eq!(limit_of(LIMITS, "Max address space"), Some(2_097_152_000));
        assert_eq!(limit_of(LIMITS, "Max data size"), None);
        assert_eq!(number_after("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill "), 3);
    }

    #[test]
    fn groups_are_looked_up_to_the_root() {
        let found = folders("/sys/fs/cgroup", "/a/b");
        assert_eq!(found, ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"].map(PathBuf::from));
    }

    #[test]
    fn a_refusal_is_the_cause_of_a_failure_only_and_only_if_it_came_shortly_before() {
        let refusal = Refusal { count: 1, bytes: 8 << 30, time_ns: 5_000_000_000, stack: Vec::new() };
        let shortage = |code, end_ns| bounds().shortage(exit(code), Some(refusal.clone()), end_ns);
        assert_eq!(shortage(Some(0), 5_100_000_000), None);
        assert_eq!(shortage(Some(1), 16_000_000_000), None);
        let found = shortage(Some(1), 5_100_000_000).unwrap();
        assert_eq!((found.bound.as_str(), found.limit_bytes), ("on the address space", 2_097_152_000));
        assert_eq!((found.killed, found.refused_bytes, found.time_ns), (0, 8 << 30, 5_000_000_000));
        assert_eq!(bounds().shortage(exit(Some(1)), None, 1), None);
    }
}
