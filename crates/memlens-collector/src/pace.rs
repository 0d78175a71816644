//! How often to look, so that looking stays cheap: by the CPU time that this process has really used, wake-ups included.
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Ticks may take this part of the time: 1 / 500 of a core (a tick and its wake-up cost some 100 µs: 20 a second).
const TICK_SHARE: u32 = 500;
/// Scans may take this part of the time: 1 / 600. They also disturb the program's caches.
const SCAN_SHARE: u32 = 600;
/// While nothing happens, ticks become rarer by up to this factor.
const MOST_PATIENCE: u32 = 4;

/// Costs so far, and what follows from them.
pub struct Pace {
    used: Duration,
    tick_cost: Duration,
    patience: u32,
    live_bytes: u64,
}

impl Pace {
    /// To begin with.
    pub fn new() -> Self {
        Self { used: cpu_time(), tick_cost: Duration::ZERO, patience: 1, live_bytes: 0 }
    }

    /// Something has begun: whatever was quiet before need not stay so.
    pub fn hurry(&mut self) {
        self.patience = 1;
        self.used = cpu_time();
    }

    /// How long to wait after a tick that found `live_bytes`, no less than `interval`.
    pub fn next_tick(&mut self, interval: Duration, live_bytes: u64) -> Duration {
        let cost = self.lap();
        self.tick_cost = (self.tick_cost * 7 + cost) / 8;
        let is_quiet = std::mem::replace(&mut self.live_bytes, live_bytes) == live_bytes;
        self.patience = if is_quiet { (self.patience * 2).min(MOST_PATIENCE) } else { 1 };
        (interval * self.patience).max(self.tick_cost * TICK_SHARE)
    }

    /// How long to wait after a scan that has just been made.
    pub fn scan_is_done(&mut self) -> Duration {
        self.lap() * SCAN_SHARE
    }

    /// CPU time that has an account of its own.
    pub fn leave_out(&mut self, cost: Duration) {
        self.used += cost;
    }

    /// CPU time used since the latest call.
    fn lap(&mut self) -> Duration {
        let now = cpu_time();
        now.saturating_sub(std::mem::replace(&mut self.used, now))
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_program_is_looked_at_less_often() {
        let interval = Duration::from_secs(1);
        let mut pace = Pace::new();
        let waits: Vec<u64> = [5, 5, 5, 5, 6].map(|live| pace.next_tick(interval, live).as_secs()).to_vec();
        assert_eq!(waits, [1, 2, 4, 4, 1]);
    }
}
