//! How a metric comes into the table: registered, and noted for `docs/metrics.md`.

use std::sync::PoisonError;

use prometheus::{
    Counter, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    core::Collector,
};

use super::Metrics;

/// A metric as it stands in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name; a histogram's samples have `_bucket`, `_sum` and `_count` behind it.
    pub name: String,
    /// What its numbers mean to Prometheus.
    pub kind: Kind,
    /// What people are told.
    pub help: String,
    /// The names of its labels.
    pub labels: Vec<String>,
    /// All values that its only label can have; empty where they are numbers.
    pub values: Vec<String>,
}

/// What a metric's numbers mean to Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Kind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Metrics {
    /// What has been registered so far, in its order.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.note(name, Kind::Counter, help, &[], &[]);
        self.add(plain(IntCounter::new(name, help)))
    }

    /// A counter of fractions.
    pub(super) fn total(&self, name: &str, help: &str) -> Counter {
        self.note(name, Kind::Counter, help, &[], &[]);
        self.add(plain(Counter::new(name, help)))
    }

    /// A counter for each value of a label. All are there from the start: what appears only when it happens for
    /// the first time has never risen, as Prometheus sees it.
    pub(super) fn counters(&self, name: &str, help: &str, label: &str, values: &[&str]) -> IntCounterVec {
        self.note(name, Kind::Counter, help, &[label], values);
        let counters = self.add(plain(IntCounterVec::new(Opts::new(name, help), &[label])));
        for value in values {
            counters.with_label_values(&[value]);
        }
        counters
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.note(name, Kind::Gauge, help, &[], &[]);
        self.add(plain(IntGauge::new(name, help)))
    }

    /// A gauge for each value of a label, from the moment that it is set.
    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str], values: &[&str]) -> IntGaugeVec {
        self.note(name, Kind::Gauge, help, labels, values);
        self.add(plain(IntGaugeVec::new(Opts::new(name, help), labels)))
    }

    /// A gauge of seconds.
    pub(super) fn moment(&self, name: &str, help: &str) -> Gauge {
        self.note(name, Kind::Gauge, help, &[], &[]);
        self.add(plain(Gauge::with_opts(Opts::new(name, help))))
    }

    pub(super) fn seconds(&self, name: &str, help: &str) -> Histogram {
        self.histogram(name, help, &SECONDS)
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.note(name, Kind::Histogram, help, &[], &[]);
        self.add(plain(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))))
    }

    fn note(&self, name: &str, kind: Kind, help: &str, labels: &[&str], values: &[&str]) {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let (name, help) = (name.to_owned(), help.to_owned());
        let entry = Entry { name, kind, help, labels: owned(labels), values: owned(values) };
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        plain(self.registry.register(Box::new(collector.clone())));
        collector
    }
}

/// Upper bounds of durations: from a round on an idle machine to a backlog of hours.
const SECONDS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
    14400.0,
];

pub(super) fn plain<T>(made: prometheus::Result<T>) -> T {
    made.expect("names, labels and buckets of this table are legal, and each name is used once")
}
