//! What another process's `/metrics` said. Pure.

use std::collections::HashMap;

/// Samples that are read of one answer at most.
const SAMPLES_MAX: usize = 20_000;

/// Every sample by its name with labels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples(HashMap<String, f64>);

impl Samples {
    /// Reads Prometheus' text format; lines that are none are left out.
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(samples.take(SAMPLES_MAX).collect())
    }

    /// The sample of this name and these labels.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied().filter(|value| value.is_finite())
    }

    /// The sum of a metric over its labels; `None` where it is not there.
    pub fn sum(&self, metric: &str) -> Option<f64> {
        let of_metric = self.labelled(metric).map(|(_, value)| value);
        of_metric.fold(None, |sum: Option<f64>, value| Some(sum.unwrap_or_default() + value))
    }

    /// The value that the only label of a metric has, of its only sample: `label_of("tickgate_build_info", "version")`.
    pub fn label_of(&self, metric: &str, label: &str) -> Option<String> {
        let (labels, _) = self.labelled(metric).next()?;
        let (_, rest) = labels.split_once(&format!("{label}=\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    }

    /// The quantile of what a histogram counted since `before`, in its unit; `None` when it counted nothing.
    /// Within a bucket, linear; beyond the last bound, that bound.
    pub fn quantile(&self, histogram: &str, before: &Self, quantile: f64) -> Option<f64> {
        let metric = format!("{histogram}_bucket");
        let bound = |labels: &str| match labels.strip_prefix("{le=\"")?.strip_suffix("\"}")? {
            "+Inf" => Some(f64::INFINITY),
            bound => bound.parse().ok(),
        };
        let since = |labels: &str, count: f64| {
            count - before.0.get(&format!("{metric}{labels}")).copied().unwrap_or_default()
        };
        let mut buckets: Vec<(f64, f64)> = self
            .labelled(&metric)
            .filter_map(|(labels, count)| Some((bound(labels)?, since(labels, count))))
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let wanted = buckets.last()?.1 * quantile;
        if wanted <= 0.0 {
            return None;
        }
        let (mut lower, mut below) = (0.0, 0.0);
        for (upper, count) in buckets {
            if count >= wanted {
                let inside = (wanted - below) / (count - below);
                return Some(if upper.is_finite() { lower + (upper - lower) * inside } else { lower });
            }
            (lower, below) = (upper, count);
        }
        None
    }

    /// The labels, in braces, and values of a metric's samples, in no order.
    fn labelled<'a>(&'a self, metric: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(name, value)| {
            let labels = name.strip_prefix(metric)?;
            let is_this = labels.is_empty() || labels.starts_with('{');
            (is_this && value.is_finite()).then_some((labels, *value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a_total Things.\n# TYPE a_total counter\n\
        a_total{kind=\"x\"} 3\na_total{kind=\"y\"} 4\na_total_more 9\nb 2.5\nnot a sample\nc NaN\n\
        tickgate_build_info{for_tests=\"no\",version=\"1.2\"} 1\n\
        h_bucket{le=\"1\"} 50\nh_bucket{le=\"2\"} 90\nh_bucket{le=\"+Inf\"} 100\n";

    #[test]
    fn samples_are_found_by_metric_and_label() {
        let samples = Samples::parse(TEXT);
        assert_eq!((samples.sum("a_total"), samples.sum("absent")), (Some(7.0), None));
        assert_eq!((samples.get("b"), samples.get("c")), (Some(2.5), None));
        assert_eq!(samples.get("a_total{kind=\"y\"}"), Some(4.0));
        assert_eq!(samples.label_of("tickgate_build_info", "version").as_deref(), Some("1.2"));
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let (samples, none) = (Samples::parse(TEXT), Samples::default());
        let of = |quantile| samples.quantile("h", &none, quantile);
        assert_eq!((of(0.25), of(0.7), of(0.99)), (Some(0.5), Some(1.5), Some(2.0)));
        assert_eq!(samples.quantile("h", &samples, 0.5), None);
        assert_eq!(samples.quantile("absent", &none, 0.5), None);
    }
}
