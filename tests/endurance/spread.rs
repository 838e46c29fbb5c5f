//! How times are spread.

use std::time::Duration;

/// Times, sorted.
pub struct Spread(Vec<Duration>);

impl FromIterator<Duration> for Spread {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Spread {
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort();
        Spread(times)
    }
}

impl Spread {
    /// The smallest time that at least `percent` of all do not exceed.
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied()
    }

    /// `n | median | p95 | max`, in ms, as cells of a table.
    pub fn cells(&self) -> String {
        let figures = [50, 95, 100].map(|percent| self.percentile(percent).map_or("-".into(), ms));
        format!("{} | {}", self.0.len(), figures.join(" | "))
    }
}

/// In ms, with as many digits as mean something.
pub fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    match ms {
        ms if ms < 10.0 => format!("{ms:.1}"),
        ms => format!("{ms:.0}"),
    }
}
