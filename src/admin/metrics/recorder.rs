//! The metrics recorder of the process.
//!
//! Prometheus' own recorder forgets no series; the series of connectors are kept beside it and
//! freed when their connectors are deleted.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{PrometheusHandle, PrometheusRecorder};
use parking_lot::Mutex;

/// The prefix of metrics that belong to a connector, where they have the labels `kind` and
/// `channel`.
const PREFIX: &str = "quorate_connector_";

/// Records every metric: series of connectors here, the rest with Prometheus' recorder.
pub(super) struct MemberRecorder {
    rest: PrometheusRecorder,
    connectors: Arc<ConnectorSeries>,
}

/// The handle that renders what was recorded.
#[derive(Clone)]
pub struct MetricsHandle {
    rest: PrometheusHandle,
    connectors: Arc<ConnectorSeries>,
}

/// Every series of a connector.
#[derive(Default)]
struct ConnectorSeries(Mutex<BTreeMap<String, SeriesFamily>>);

/// The series of one name.
#[derive(Default)]
struct SeriesFamily {
    help: String,
    series: BTreeMap<SeriesLabels, SeriesValue>,
}

/// The labels of a series in their order; those that name the connector come first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SeriesLabels {
    kind: String,
    channel: String,
    others: Vec<(String, String)>,
}

enum SeriesValue {
    Counter(Arc<AtomicU64>),
    /// The bits of a float.
    Gauge(Arc<AtomicU64>),
}

/// A series as the caller that filters sees it.
#[derive(Clone, Copy)]
pub(super) struct SeriesName<'a> {
    pub(super) metric: &'a str,
    pub(super) kind: &'a str,
    pub(super) channel: &'a str,
    pub(super) is_counter: bool,
}

impl MemberRecorder {
    pub(super) fn new(rest: PrometheusRecorder) -> MemberRecorder {
        let connectors = Arc::default();
        MemberRecorder { rest, connectors }
    }

    pub(super) fn recorded(&self) -> MetricsHandle {
        MetricsHandle {
            rest: self.rest.handle(),
            connectors: self.connectors.clone(),
        }
    }
}

impl MetricsHandle {
    /// Renders everything in Prometheus' format; of connectors, the series for which `is_told` is
    /// true.
    pub(super) fn render(&self, is_told: impl Fn(SeriesName<'_>) -> bool) -> String {
        let mut text = self.rest.render();
        self.connectors.render(&mut text, is_told);
        text
    }

    /// Frees the series of all connectors that are not `declared`, by kind and name.
    pub fn forget(&self, declared: impl Fn(&str, &str) -> bool) {
        for family in self.connectors.0.lock().values_mut() {
            family
                .series
                .retain(|labels, _| declared(&labels.kind, &labels.channel));
        }
    }

    /// Folds old samples away.
    pub fn run_upkeep(&self) {
        self.rest.run_upkeep();
    }
}

impl ConnectorSeries {
    fn describe(&self, name: &str, help: &str) {
        if name.starts_with(PREFIX) {
            let mut families = self.0.lock();
            families.entry(name.to_owned()).or_default().help = help.to_owned();
        }
    }

    /// Returns the value of a series, made if it isn't there; `None` if the series belongs to no
    /// connector.
    fn value(&self, key: &Key, new: fn(Arc<AtomicU64>) -> SeriesValue) -> Option<Arc<AtomicU64>> {
        let labels = SeriesLabels::from_key(key)?;
        let mut families = self.0.lock();
        if !families.contains_key(key.name()) {
            families.insert(key.name().to_owned(), SeriesFamily::default());
        }
        let family = families.get_mut(key.name())?;
        let value = family
            .series
            .entry(labels)
            .or_insert_with(|| new(Arc::default()));
        let (SeriesValue::Counter(value) | SeriesValue::Gauge(value)) = value;
        Some(value.clone())
    }

    fn render(&self, text: &mut String, is_told: impl Fn(SeriesName<'_>) -> bool) {
        for (name, SeriesFamily { help, series }) in &*self.0.lock() {
            let mut is_headed = false;
            for (labels, value) in series {
                let series = SeriesName {
                    metric: name,
                    kind: &labels.kind,
                    channel: &labels.channel,
                    is_counter: matches!(value, SeriesValue::Counter(_)),
                };
                if !is_told(series) {
                    continue;
                }
                if !is_headed {
                    is_headed = true;
                    head(text, name, help, series.is_counter);
                }
                labels.write_to(text, name);
                // Writing to a string doesn't fail.
                let _ = match value {
                    SeriesValue::Counter(value) => {
                        writeln!(text, "{}", value.load(Ordering::Acquire))
                    }
                    SeriesValue::Gauge(bits) => {
                        writeln!(text, "{}", f64::from_bits(bits.load(Ordering::Acquire)))
                    }
                };
            }
            if is_headed {
                text.push('\n');
            }
        }
    }
}

fn head(text: &mut String, name: &str, help: &str, is_counter: bool) {
    if !help.is_empty() {
        let _ = writeln!(text, "# HELP {name} {help}");
    }
    let kind = if is_counter { "counter" } else { "gauge" };
    let _ = writeln!(text, "# TYPE {name} {kind}");
}

impl SeriesLabels {
    fn from_key(key: &Key) -> Option<SeriesLabels> {
        if !key.name().starts_with(PREFIX) {
            return None;
        }
        let (mut kind, mut channel, mut others) = (None, None, Vec::new());
        for label in key.labels() {
            let value = label.value().to_owned();
            match label.key() {
                "kind" => kind = Some(value),
                "channel" => channel = Some(value),
                other => others.push((other.to_owned(), value)),
            }
        }
        Some(SeriesLabels {
            kind: kind?,
            channel: channel?,
            others,
        })
    }

    /// Kinds, names and outcomes have nothing in them to be escaped.
    fn write_to(&self, text: &mut String, name: &str) {
        let SeriesLabels {
            kind,
            channel,
            others,
        } = self;
        let _ = write!(text, "{name}{{kind=\"{kind}\",channel=\"{channel}\"");
        for (key, value) in others {
            let _ = write!(text, ",{key}=\"{value}\"");
        }
        text.push_str("} ");
    }
}

impl Recorder for MemberRecorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.connectors.describe(name.as_str(), &help);
        self.rest.describe_counter(name, unit, help);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.connectors.describe(name.as_str(), &help);
        self.rest.describe_gauge(name, unit, help);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.rest.describe_histogram(name, unit, help);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        match self.connectors.value(key, SeriesValue::Counter) {
            Some(value) => Counter::from_arc(value),
            None => self.rest.register_counter(key, metadata),
        }
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        match self.connectors.value(key, SeriesValue::Gauge) {
            Some(value) => Gauge::from_arc(value),
            None => self.rest.register_gauge(key, metadata),
        }
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.rest.register_histogram(key, metadata)
    }
}

#[cfg(test)]
mod tests {
    use metrics::{counter, describe_counter, gauge, with_local_recorder};
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    fn record(of: &MemberRecorder, channel: &str) {
        with_local_recorder(of, || {
            let (kind, channel) = ("amqp_channel", channel.to_owned());
            counter!("quorate_connector_messages_total", "kind" => kind, "channel" => channel.clone(), "outcome" => "handled")
                .increment(2);
            gauge!("quorate_connector_ready", "kind" => kind, "channel" => channel).set(1.0);
            gauge!("quorate_connector_epoch").set(9.0);
        });
    }

    fn series(recorded: &MetricsHandle) -> usize {
        let families = recorded.connectors.0.lock();
        families.values().map(|family| family.series.len()).sum()
    }

    #[test]
    fn series_are_rendered_in_prometheus_format() {
        let recorder = MemberRecorder::new(PrometheusBuilder::new().build_recorder());
        with_local_recorder(&recorder, || {
            describe_counter!("quorate_connector_messages_total", "Messages");
        });
        record(&recorder, "orders");
        record(&recorder, "orders");
        let text = recorder.recorded().render(|_| true);
        for part in [
            "# HELP quorate_connector_messages_total Messages\n# TYPE quorate_connector_messages_total counter\n",
            "quorate_connector_messages_total{kind=\"amqp_channel\",channel=\"orders\",outcome=\"handled\"} 4\n",
            "# TYPE quorate_connector_ready gauge\n",
            "quorate_connector_ready{kind=\"amqp_channel\",channel=\"orders\"} 1\n",
            "quorate_connector_epoch 9\n",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
        let counters = recorder.recorded().render(|series| series.is_counter);
        assert!(!counters.contains("quorate_connector_ready"), "{counters}");
    }

    #[test]
    fn connectors_that_come_and_go_leave_no_series() {
        let recorder = MemberRecorder::new(PrometheusBuilder::new().build_recorder());
        let recorded = recorder.recorded();
        record(&recorder, "stays");
        for n in 0..1_000 {
            record(&recorder, &format!("passing-{n}"));
            assert_eq!(series(&recorded), 4);
            recorded.forget(|kind, channel| kind == "amqp_channel" && channel == "stays");
            assert_eq!(series(&recorded), 2);
        }
        let text = recorded.render(|_| true);
        assert!(!text.contains("passing"), "{text}");
        assert!(
            text.contains("channel=\"stays\",outcome=\"handled\"} 2\n"),
            "{text}"
        );
    }
}
