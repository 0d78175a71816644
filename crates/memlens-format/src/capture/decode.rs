//! Bytes to a capture's sections. The bytes may be anything: whatever is wrong with them ends in a [`DecodeError`], never
//! in a panic, a loop without end, or an allocation that the payload's length does not justify.
//!
//! The layout is told in the `encode` module.
use super::varint::PayloadReader;
use super::{
    Capture, Change, Exit, Frame, FrameId, Meta, Node, NodeId, Point, Process, Region, Release, Section, Shortage,
    Site, SiteId, Slice, StringId, Unseen,
};
use crate::Allocator;
use alloc::vec::Vec;
use core::fmt;

/// Most rows of one table: four times what the tables of one recorded process can hold.
pub const MAX_ROWS: usize = 1 << 24;

/// Builds a capture from the payloads of its sections, in the order of the file.
///
/// A section whose ids point into another one is accepted only if that other one was, so that every id in the capture
/// that comes out is valid.
#[derive(Debug, Default)]
pub struct Decoder {
    capture: Capture,
    accepted: Vec<Section>,
}

impl Decoder {
    /// A decoder for the payloads of a file of this version, which must be one of
    /// [`super::container::CAPTURE_VERSIONS`].
    pub fn new(version: u32) -> Self {
        debug_assert_eq!(version, 1, "there is one version so far");
        Self::default()
    }

    /// Takes the decompressed payload of one section.
    pub fn section(&mut self, section: Section, payload: &[u8]) -> Result<(), DecodeError> {
        let mut reader = PayloadReader::new(payload);
        let result = self.take(section, &mut reader);
        let trailing = reader.remaining() > 0;
        let kind = match result {
            Err(kind) => kind,
            Ok(()) if trailing => DecodeErrorKind::TrailingBytes,
            Ok(()) => {
                self.accepted.push(section);
                return Ok(());
            }
        };
        self.discard(section);
        Err(DecodeError { section, offset: reader.offset(), kind })
    }

    /// Whether a section was taken without an error.
    pub fn has(&self, section: Section) -> bool {
        self.accepted.contains(&section)
    }

    /// What was decoded; a section that was not accepted is empty.
    pub fn finish(self) -> Capture {
        self.capture
    }

    fn take(&mut self, section: Section, reader: &mut PayloadReader<'_>) -> Result<(), DecodeErrorKind> {
        if self.has(section) {
            return Err(DecodeErrorKind::Repeated);
        }
        if let Some(missing) = needs(section).iter().find(|needed| !self.has(**needed)) {
            return Err(DecodeErrorKind::Needs(*missing));
        }
        let capture = &mut self.capture;
        match section {
            Section::Meta => capture.meta = decode_meta(reader)?,
            Section::Processes => capture.processes = decode_processes(reader)?,
            Section::Strings => capture.strings = reader.strings()?,
            Section::Frames => capture.frames = decode_frames(reader, capture.strings.len())?,
            Section::Nodes => capture.nodes = decode_nodes(reader, capture.frames.len())?,
            Section::Sites => capture.sites = decode_sites(reader, capture.processes.len(), capture.nodes.len())?,
            Section::Releases => {
                capture.releases = decode_releases(reader, capture.processes.len(), capture.nodes.len())?;
            }
            Section::Timeline => capture.timeline = decode_timeline(reader)?,
            Section::Slices => capture.slices = decode_slices(reader, capture.sites.len())?,
            Section::Proportional => capture.meta.pss_peak_bytes = decode_proportional(reader, &mut capture.timeline)?,
            Section::Shortage => capture.meta.shortage = decode_shortage(reader)?,
            Section::Regions => {
                capture.regions = decode_regions(reader, capture.processes.len())?;
                capture.meta.shared_mapped_bytes = reader.u64()?;
            }
            Section::End => {}
        }
        Ok(())
    }

    /// Forgets a section that turned out wrong after its table was stored. A repeated section keeps the first.
    fn discard(&mut self, section: Section) {
        if self.has(section) {
            return;
        }
        let capture = &mut self.capture;
        match section {
            Section::Meta => capture.meta = Meta::default(),
            Section::Processes => capture.processes.clear(),
            Section::Strings => capture.strings.clear(),
            Section::Frames => capture.frames.clear(),
            Section::Nodes => capture.nodes.clear(),
            Section::Sites => capture.sites.clear(),
            Section::Releases => capture.releases.clear(),
            Section::Timeline => capture.timeline.clear(),
            Section::Slices => capture.slices.clear(),
            Section::Proportional => capture.timeline.iter_mut().for_each(|point| point.pss_bytes = 0),
            Section::Shortage => capture.meta.shortage = None,
            Section::Regions => {
                capture.regions.clear();
                capture.meta.shared_mapped_bytes = 0;
            }
            Section::End => {}
        }
    }
}

/// The sections that a section's ids point into.
fn needs(section: Section) -> &'static [Section] {
    match section {
        Section::Frames => &[Section::Strings],
        Section::Nodes => &[Section::Frames],
        Section::Sites | Section::Releases => &[Section::Processes, Section::Nodes],
        Section::Slices => &[Section::Sites],
        Section::Proportional => &[Section::Meta, Section::Timeline],
        Section::Shortage => &[Section::Meta],
        Section::Regions => &[Section::Meta, Section::Processes],
        _ => &[],
    }
}

fn decode_meta(reader: &mut PayloadReader<'_>) -> Result<Meta, DecodeErrorKind> {
    Ok(Meta {
        command: reader.strings()?,
        interpreter: reader.string()?,
        python_version: reader.string()?,
        memlens_version: reader.string()?,
        working_directory: reader.string()?,
        started_unix_ns: reader.u64()?,
        duration_ns: reader.u64()?,
        exit: Exit { code: optional_i32(reader)?, signal: optional_i32(reader)?, out_of_memory: flag(reader)? },
        complete: flag(reader)?,
        incomplete_reason: reader.string()?,
        peak_bytes: reader.u64()?,
        peak_time_ns: reader.u64()?,
        rss_peak_bytes: reader.u64()?,
        pss_peak_bytes: 0,
        file_mapped_bytes: reader.u64()?,
        shared_mapped_bytes: 0,
        unseen: Unseen {
            lost_events: reader.u64()?,
            lost_bytes: reader.u64()?,
            unreadable_stacks: reader.u64()?,
            unknown_releases: reader.u64()?,
            unrecorded_processes: reader.u64()?,
        },
        overhead_ns: reader.u64()?,
        shortage: None,
    })
}

fn decode_shortage(reader: &mut PayloadReader<'_>) -> Result<Option<Shortage>, DecodeErrorKind> {
    if !flag(reader)? {
        return Ok(None);
    }
    let mut shortage = Shortage {
        bound: reader.string()?,
        limit_bytes: reader.u64()?,
        killed: reader.u64()?,
        refused: reader.u64()?,
        refused_bytes: reader.u64()?,
        time_ns: reader.u64()?,
        refused_stack: Vec::new(),
    };
    let count = reader.count(3)?;
    for _ in 0..count {
        shortage.refused_stack.push((reader.string()?, reader.string()?, reader.u32()?));
    }
    Ok(Some(shortage))
}

fn optional_i32(reader: &mut PayloadReader<'_>) -> Result<Option<i32>, DecodeErrorKind> {
    let is_some = flag(reader)?;
    let value = i32::try_from(reader.i64()?).map_err(|_| DecodeErrorKind::NumberTooLarge)?;
    Ok(is_some.then_some(value))
}

fn flag(reader: &mut PayloadReader<'_>) -> Result<bool, DecodeErrorKind> {
    match reader.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeErrorKind::OutOfRange("flag")),
    }
}

fn decode_processes(reader: &mut PayloadReader<'_>) -> Result<Vec<Process>, DecodeErrorKind> {
    let count = reader.count(5)?;
    (0..count)
        .map(|_| {
            Ok(Process {
                pid: reader.u32()?,
                parent_pid: reader.u32()?,
                command: reader.strings()?,
                peak_bytes: reader.u64()?,
                rss_peak_bytes: reader.u64()?,
            })
        })
        .collect()
}

fn decode_regions(reader: &mut PayloadReader<'_>, processes: usize) -> Result<Vec<Region>, DecodeErrorKind> {
    let count = reader.count(4)?;
    (0..count)
        .map(|_| {
            Ok(Region {
                process: id(reader.u64()?, processes, "process")?,
                library: reader.string()?,
                mapped_bytes: reader.u64()?,
                resident_bytes: reader.u64()?.checked_sub(1),
            })
        })
        .collect()
}

fn decode_frames(reader: &mut PayloadReader<'_>, strings: usize) -> Result<Vec<Frame>, DecodeErrorKind> {
    let count = reader.count(4)?;
    let empty = Frame { function: StringId(0), file: StringId(0), line: 0, first_line: 0 };
    let mut frames = alloc::vec![empty; count];
    for frame in &mut frames {
        frame.function = StringId(id(reader.u64()?, strings, "function name")?);
    }
    let mut files = Differences::default();
    for frame in &mut frames {
        frame.file = StringId(id(files.next(reader)?, strings, "file name")?);
    }
    for frame in &mut frames {
        frame.line = reader.u32()?;
    }
    for frame in &mut frames {
        let first = i64::from(frame.line).wrapping_sub(reader.i64()?);
        frame.first_line = u32::try_from(first).map_err(|_| DecodeErrorKind::OutOfRange("first line"))?;
    }
    Ok(frames)
}

fn decode_nodes(reader: &mut PayloadReader<'_>, frames: usize) -> Result<Vec<Node>, DecodeErrorKind> {
    let count = reader.count(2)?;
    let mut nodes = alloc::vec![Node { parent: None, frame: FrameId(0) }; count];
    for (index, node) in nodes.iter_mut().enumerate() {
        let distance = reader.u64()?;
        let index = index as u64;
        if distance > index {
            return Err(DecodeErrorKind::OutOfRange("parent node"));
        }
        // A parent is smaller than the node itself by construction: its distance is at least 1.
        node.parent = (distance > 0).then_some(NodeId((index - distance) as u32));
    }
    let mut ids = Differences::default();
    for node in &mut nodes {
        node.frame = FrameId(id(ids.next(reader)?, frames, "frame")?);
    }
    Ok(nodes)
}

const EMPTY_SITE: Site = Site {
    process: 0,
    node: None,
    allocator: Allocator::Malloc,
    allocations: 0,
    allocated_bytes: 0,
    live_count: 0,
    live_bytes: 0,
    peak_count: 0,
    peak_bytes: 0,
    temporary_count: 0,
    temporary_bytes: 0,
};

fn decode_sites(reader: &mut PayloadReader<'_>, processes: usize, nodes: usize) -> Result<Vec<Site>, DecodeErrorKind> {
    let count = reader.count(11)?;
    let mut sites = alloc::vec![EMPTY_SITE; count];
    let mut ids = Differences::default();
    for site in &mut sites {
        site.process = id(ids.next(reader)?, processes, "process")?;
    }
    let mut ids = Differences::default();
    for site in &mut sites {
        site.node = optional_node(ids.next(reader)?, nodes)?;
    }
    for site in &mut sites {
        site.allocator = Allocator::from_u8(reader.byte()?).ok_or(DecodeErrorKind::OutOfRange("allocator"))?;
    }
    column(reader, &mut sites, |site| &mut site.allocations)?;
    column(reader, &mut sites, |site| &mut site.allocated_bytes)?;
    column(reader, &mut sites, |site| &mut site.live_count)?;
    column(reader, &mut sites, |site| &mut site.live_bytes)?;
    column(reader, &mut sites, |site| &mut site.peak_count)?;
    column(reader, &mut sites, |site| &mut site.peak_bytes)?;
    column(reader, &mut sites, |site| &mut site.temporary_count)?;
    column(reader, &mut sites, |site| &mut site.temporary_bytes)?;
    Ok(sites)
}

fn decode_releases(
    reader: &mut PayloadReader<'_>,
    processes: usize,
    nodes: usize,
) -> Result<Vec<Release>, DecodeErrorKind> {
    let count = reader.count(5)?;
    let empty = Release { process: 0, node: None, count: 0, bytes: 0, is_file: false };
    let mut releases = alloc::vec![empty; count];
    let mut ids = Differences::default();
    for release in &mut releases {
        release.process = id(ids.next(reader)?, processes, "process")?;
    }
    let mut ids = Differences::default();
    for release in &mut releases {
        release.node = optional_node(ids.next(reader)?, nodes)?;
    }
    for release in &mut releases {
        release.is_file = flag(reader)?;
    }
    column(reader, &mut releases, |release| &mut release.count)?;
    column(reader, &mut releases, |release| &mut release.bytes)?;
    Ok(releases)
}

fn decode_timeline(reader: &mut PayloadReader<'_>) -> Result<Vec<Point>, DecodeErrorKind> {
    let count = reader.count(3)?;
    let mut timeline = alloc::vec![Point::default(); count];
    let mut values = Differences::default();
    for point in &mut timeline {
        point.time_ns = values.next(reader)?;
    }
    let mut values = Differences::default();
    for point in &mut timeline {
        point.live_bytes = values.next(reader)?;
    }
    let mut values = Differences::default();
    for point in &mut timeline {
        point.rss_bytes = values.next(reader)?;
    }
    Ok(timeline)
}

/// Adds the proportional set sizes to `timeline`; returns their peak.
fn decode_proportional(reader: &mut PayloadReader<'_>, timeline: &mut [Point]) -> Result<u64, DecodeErrorKind> {
    let count = reader.count(1)?;
    if count != 0 && count != timeline.len() {
        return Err(DecodeErrorKind::OutOfRange("number of points"));
    }
    for point in &mut timeline[..count] {
        point.pss_bytes = point.rss_bytes.wrapping_add(reader.i64()? as u64);
    }
    reader.u64()
}

fn decode_slices(reader: &mut PayloadReader<'_>, sites: usize) -> Result<Vec<Slice>, DecodeErrorKind> {
    let count = reader.count(2)?;
    let mut times = Vec::with_capacity(count);
    let mut values = Differences::default();
    for _ in 0..count {
        times.push(values.next(reader)?);
    }
    let mut lengths = Vec::with_capacity(count);
    for _ in 0..count {
        lengths.push(reader.u64()?);
    }
    let total = reader.count(5)?;
    let claimed = lengths.iter().try_fold(0u64, |sum, length| sum.checked_add(*length));
    if claimed != Some(total as u64) {
        return Err(DecodeErrorKind::OutOfRange("number of changes"));
    }
    let empty = Change { site: SiteId(0), allocations: 0, allocated_bytes: 0, live_count: 0, live_bytes: 0 };
    // The lengths sum to `total`, which the payload can hold, so each of them is small enough as well.
    let mut slices: Vec<Slice> = times
        .into_iter()
        .zip(lengths)
        .map(|(time_ns, length)| Slice { time_ns, changes: alloc::vec![empty; length as usize] })
        .collect();
    decode_changes(reader, &mut slices, sites)?;
    Ok(slices)
}

fn decode_changes(reader: &mut PayloadReader<'_>, slices: &mut [Slice], sites: usize) -> Result<(), DecodeErrorKind> {
    for slice in slices.iter_mut() {
        let mut above = 0u32;
        for change in &mut slice.changes {
            above = above.wrapping_add(reader.u32()?);
            change.site = SiteId(id(u64::from(above), sites, "site")?);
        }
    }
    for change in slices.iter_mut().flat_map(|slice| &mut slice.changes) {
        change.allocations = reader.u64()?;
    }
    for change in slices.iter_mut().flat_map(|slice| &mut slice.changes) {
        change.allocated_bytes = reader.u64()?;
    }
    for change in slices.iter_mut().flat_map(|slice| &mut slice.changes) {
        change.live_count = (change.allocations as i64).wrapping_sub(reader.i64()?);
    }
    for change in slices.iter_mut().flat_map(|slice| &mut slice.changes) {
        change.live_bytes = (change.allocated_bytes as i64).wrapping_sub(reader.i64()?);
    }
    Ok(())
}

/// Adds up a column of differences.
#[derive(Default)]
struct Differences {
    above: u64,
}

impl Differences {
    #[inline]
    fn next(&mut self, reader: &mut PayloadReader<'_>) -> Result<u64, DecodeErrorKind> {
        self.above = self.above.wrapping_add(reader.i64()? as u64);
        Ok(self.above)
    }
}

fn column<Row>(
    reader: &mut PayloadReader<'_>,
    rows: &mut [Row],
    field: impl Fn(&mut Row) -> &mut u64,
) -> Result<(), DecodeErrorKind> {
    for row in rows {
        *field(row) = reader.u64()?;
    }
    Ok(())
}

#[inline]
fn id(value: u64, rows: usize, what: &'static str) -> Result<u32, DecodeErrorKind> {
    // MAX_ROWS keeps `rows` far below 2^32, so that the cast loses nothing.
    if value < rows as u64 { Ok(value as u32) } else { Err(DecodeErrorKind::OutOfRange(what)) }
}

#[inline]
fn optional_node(value: u64, nodes: usize) -> Result<Option<NodeId>, DecodeErrorKind> {
    match value.checked_sub(1) {
        None => Ok(None),
        Some(value) => id(value, nodes, "node").map(|value| Some(NodeId(value))),
    }
}

/// Why a section could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The section.
    pub section: Section,
    /// Where in its decompressed payload.
    pub offset: usize,
    /// What was wrong.
    pub kind: DecodeErrorKind,
}

/// What was wrong with a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// It ends too early.
    Truncated,
    /// It has more bytes than its contents need.
    TrailingBytes,
    /// A count is larger than the payload can hold.
    TooMany,
    /// A number does not fit its field.
    NumberTooLarge,
    /// An id or a code names nothing.
    OutOfRange(&'static str),
    /// A name is not UTF-8.
    NotUtf8,
    /// The same section came before.
    Repeated,
    /// It refers to a section that is missing or damaged.
    Needs(Section),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "section {}, byte {}: ", self.section.name(), self.offset)?;
        match self.kind {
            DecodeErrorKind::Truncated => write!(formatter, "it ends too early"),
            DecodeErrorKind::TrailingBytes => write!(formatter, "bytes are left over"),
            DecodeErrorKind::TooMany => write!(formatter, "a count is larger than the section"),
            DecodeErrorKind::NumberTooLarge => write!(formatter, "a number is too large"),
            DecodeErrorKind::OutOfRange(what) => write!(formatter, "no such {what}"),
            DecodeErrorKind::NotUtf8 => write!(formatter, "a name is not UTF-8"),
            DecodeErrorKind::Repeated => write!(formatter, "it stands in the file twice"),
            DecodeErrorKind::Needs(section) => {
                write!(formatter, "it needs section {}", section.name())
            }
        }
    }
}

impl core::error::Error for DecodeError {}
