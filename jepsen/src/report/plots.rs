//! Plots over time: latency, throughput, and how late the machine was.

use super::time_chart::{LEFT, TOP, TimeChart};
use crate::{checker::recorded_run::RecordedRun, history::EventType};

const BUCKETS: usize = 240;
const HEIGHT: f64 = 150.0;

/// Draws how long operations took that were done: the middle, nineteen of twenty, and the longest.
pub fn latency(run: &RecordedRun) -> String {
    let end = run.end();
    let mut buckets: Vec<Vec<f64>> = vec![Vec::new(); BUCKETS];
    for it in run
        .operations
        .iter()
        .filter(|it| it.is_ok() && !it.is_final())
    {
        buckets[bucket(it.told, end)].push((it.told - it.start) as f64 / 1e6);
    }
    for bucket in &mut buckets {
        bucket.sort_by(f64::total_cmp);
    }
    let most = buckets
        .iter()
        .filter_map(|it| it.last())
        .fold(10.0_f64, |a, b| a.max(*b));
    // Decades, from 0.1 ms on.
    let (low, high) = (-1.0, most.log10().ceil().max(1.0));
    let y = |ms: f64| {
        let share = (ms.max(0.1).log10() - low) / (high - low);
        TOP + HEIGHT - share * HEIGHT
    };
    let mut picture = TimeChart::new("latency over time", 0, end, HEIGHT);
    picture.faults(&run.faults);
    let mut decade = low;
    while decade <= high {
        let ms = 10_f64.powf(decade);
        let name = if ms >= 1.0 {
            format!("{ms:.0} ms")
        } else {
            format!("{ms:.1} ms")
        };
        picture.lane(y(ms), &name);
        picture.across(y(ms));
        decade += 1.0;
    }
    for (class, share) in [
        ("plot bad soft", 1.0),
        ("plot info", 0.95),
        ("plot ok", 0.5),
    ] {
        let at = |n: usize, sorted: &Vec<f64>| {
            let place = ((sorted.len().checked_sub(1)?) as f64 * share) as usize;
            Some((time(n, end), y(sorted[place])))
        };
        let points: Vec<Option<(u64, f64)>> = buckets
            .iter()
            .enumerate()
            .map(|(n, it)| at(n, it))
            .collect();
        let d = line(&picture, &points);
        picture.path(class, &d);
    }
    picture.finish()
}

/// Draws how many a second were done, failed, or are not known of.
pub fn throughput(run: &RecordedRun) -> String {
    let end = run.end();
    let mut counts = [[0_u64; BUCKETS]; 3];
    for it in run.operations.iter().filter(|it| !it.is_final()) {
        let row = match it.kind {
            EventType::Ok => 0,
            EventType::Fail => 1,
            _ => 2,
        };
        counts[row][bucket(it.told, end)] += 1;
    }
    let a_second = |count: u64| count as f64 / (end as f64 / 1e9 / BUCKETS as f64).max(1e-9);
    let most = counts.iter().flatten().copied().max().unwrap_or(0);
    let most = a_second(most).max(1.0);
    let y = |rate: f64| TOP + HEIGHT - rate / most * HEIGHT;
    let mut picture = TimeChart::new("operations a second over time", 0, end, HEIGHT);
    picture.faults(&run.faults);
    for share in [0.0, 0.5, 1.0] {
        picture.lane(y(most * share), &format!("{:.0} a second", most * share));
        picture.across(y(most * share));
    }
    for (class, row) in [("plot fail", 1), ("plot info", 2), ("plot ok", 0)] {
        let points: Vec<Option<(u64, f64)>> = counts[row]
            .iter()
            .enumerate()
            .map(|(n, count)| Some((time(n, end), y(a_second(*count)))))
            .collect();
        let d = line(&picture, &points);
        picture.path(class, &d);
    }
    picture.finish()
}

/// Draws by how much a task that slept woke up too late, and what the hypervisor took.
pub fn machine(run: &RecordedRun) -> String {
    let samples = run.host.as_ref().map_or(&[][..], |host| &host.samples);
    if samples.is_empty() {
        return String::new();
    }
    let height = 70.0;
    let most = samples.iter().map(|it| it.lag_ms).fold(10.0, f64::max);
    let mut picture = TimeChart::new("how late the machine was", 0, run.end(), height);
    picture.faults(&run.faults);
    let y = |share: f64| TOP + height - share.clamp(0.0, 1.0) * height;
    picture.lane(y(1.0), &format!("{most:.0} ms, 100 % steal"));
    picture.lane(y(0.0), "0");
    picture.across(y(1.0));
    let lag: Vec<Option<(u64, f64)>> = samples
        .iter()
        .map(|it| Some((it.time, y(it.lag_ms / most))))
        .collect();
    let steal: Vec<Option<(u64, f64)>> = samples
        .iter()
        .map(|it| Some((it.time, y(it.steal / 100.0))))
        .collect();
    for (class, points) in [("plot info", steal), ("plot bad", lag)] {
        let d = line(&picture, &thinned(&points));
        picture.path(class, &d);
    }
    picture.finish()
}

/// Keeps the highest of each few points, so that no peak is lost.
fn thinned(points: &[Option<(u64, f64)>]) -> Vec<Option<(u64, f64)>> {
    let some = points.len().div_ceil(BUCKETS * 4).max(1);
    let highest = |points: &[Option<(u64, f64)>]| {
        points
            .iter()
            .flatten()
            .copied()
            .min_by(|a, b| a.1.total_cmp(&b.1))
    };
    points.chunks(some).map(highest).collect()
}

fn bucket(time: u64, end: u64) -> usize {
    let share = time as f64 / end.max(1) as f64;
    ((share * BUCKETS as f64) as usize).min(BUCKETS - 1)
}

fn time(bucket: usize, end: u64) -> u64 {
    ((bucket as f64 + 0.5) / BUCKETS as f64 * end as f64) as u64
}

/// Draws a line through points; it is broken where there is none.
fn line(picture: &TimeChart, points: &[Option<(u64, f64)>]) -> String {
    let mut d = String::new();
    let mut down = false;
    for point in points {
        let Some((time, y)) = point else {
            down = false;
            continue;
        };
        let x = picture.x(*time).max(LEFT);
        // A point alone is a mark of its own.
        d += &if down {
            format!("L{x:.1} {y:.1}")
        } else {
            format!("M{x:.1} {y:.1}h.8")
        };
        down = true;
    }
    d
}
