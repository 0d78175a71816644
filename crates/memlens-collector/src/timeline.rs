//! The whole program over time, in a bounded number of points.
use memlens_format::capture::Point;
use std::time::Duration;

/// Most points kept. When there are more, neighbours are merged and points come half as often.
const MAX_POINTS: usize = 1000;
/// Time between two points at first.
const FIRST_INTERVAL: Duration = Duration::from_millis(10);

/// Live heap and resident set over time: at most [`MAX_POINTS`] points, of which every maximum is kept.
pub struct Timeline {
    points: Vec<Point>,
    interval: Duration,
    /// When the latest point was begun; what comes soon after becomes part of it.
    latest_start_ns: u64,
}

impl Timeline {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { points: Vec::new(), interval: FIRST_INTERVAL, latest_start_ns: 0 }
    }

    /// How long to wait between two points.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Adds a point, not earlier than any before. Points that come faster than the interval (each process that begins brings
    /// one) become one.
    pub fn push(&mut self, point: Point) {
        let since_latest = Duration::from_nanos(point.time_ns.saturating_sub(self.latest_start_ns));
        if let (Some(latest), true) = (self.points.last_mut(), since_latest < self.interval / 2) {
            *latest = merge(&[*latest, point]);
            return;
        }
        self.latest_start_ns = point.time_ns;
        self.points.push(point);
        if self.points.len() > MAX_POINTS {
            self.points = self.points.chunks(2).map(merge).collect();
            self.interval *= 2;
        }
    }

    /// Raises the point nearest to `time_ns` to a live heap that is known from elsewhere (the exact peak falls between two
    /// points).
    pub fn raise(&mut self, time_ns: u64, live_bytes: u64) {
        let nearest = self.points.iter_mut().min_by_key(|point| point.time_ns.abs_diff(time_ns));
        if let Some(point) = nearest {
            point.live_bytes = point.live_bytes.max(live_bytes);
        }
    }

    /// The largest resident set of all points.
    pub fn resident_peak(&self) -> u64 {
        self.points.iter().map(|point| point.rss_bytes).max().unwrap_or(0)
    }

    /// The same with each shared page once.
    pub fn proportional_peak(&self) -> u64 {
        self.points.iter().map(|point| point.pss_bytes).max().unwrap_or(0)
    }

    /// The live heap of the latest point.
    pub fn latest_live_bytes(&self) -> u64 {
        self.points.last().map_or(0, |point| point.live_bytes)
    }

    /// The highest point.
    pub fn highest(&self) -> Option<Point> {
        self.points.iter().copied().reduce(|best, point| if point.live_bytes > best.live_bytes { point } else { best })
    }

    /// The points, in order of time.
    pub fn into_points(self) -> Vec<Point> {
        self.points
    }
}

/// One point for neighbours: at the time of the largest live heap, with the largest of either figure.
fn merge(neighbours: &[Point]) -> Point {
    let mut merged = neighbours[0];
    for point in &neighbours[1..] {
        let rss_bytes = merged.rss_bytes.max(point.rss_bytes);
        let pss_bytes = merged.pss_bytes.max(point.pss_bytes);
        if point.live_bytes > merged.live_bytes {
            merged = *point;
        }
        (merged.rss_bytes, merged.pss_bytes) = (rss_bytes, pss_bytes);
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_of_points_stay_bounded_and_keep_both_maxima() {
        let mut timeline = Timeline::new();
        for step in 0..100_000 {
            let live_bytes = if step == 54_321 { 1_000 } else { 10 };
            let rss_bytes = if step == 54_320 { 9_000 } else { 20 };
            timeline.push(Point { time_ns: step * 10_000_000, live_bytes, rss_bytes, pss_bytes: rss_bytes / 2 });
        }
        assert!(timeline.interval() <= FIRST_INTERVAL * 256);
        assert_eq!(timeline.resident_peak(), 9_000);
        assert_eq!(timeline.proportional_peak(), 4_500);
        assert_eq!(timeline.highest().unwrap().time_ns, 543_210_000_000);
        let points = timeline.into_points();
        assert!((MAX_POINTS / 2..=MAX_POINTS).contains(&points.len()));
        assert!(points.is_sorted_by_key(|point| point.time_ns));
    }
}
