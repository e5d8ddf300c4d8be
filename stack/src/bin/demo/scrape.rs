//! Reading a role's http address: Prometheus' text and JSON, over plain HTTP on loopback.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};

const TIMEOUT: Duration = Duration::from_secs(1);

/// What `/metrics` said: every sample by its name with labels.
#[derive(Debug, Clone, Default)]
pub struct Samples(BTreeMap<String, f64>);

/// Answers of 2xx as text.
pub fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // HTTP/1.0: the body ends where the connection does.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no end of headers")?;
    if !head.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
        bail!("`http://{address}{path}` answered `{}`", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}

impl Samples {
    /// Reads `/metrics`.
    pub fn scrape(address: SocketAddr) -> Result<Self> {
        Ok(Self::parse(&get(address, "/metrics")?))
    }

    /// Reads Prometheus' text format.
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(samples.collect())
    }

    /// Adds another process's samples, name by name.
    pub fn add(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            *self.0.entry(name.clone()).or_default() += value;
        }
    }

    /// The sample of a metric with at most one label's value given: `("tickgate_records_total", "accepted")`.
    pub fn of(&self, metric: &str, label: &str) -> f64 {
        self.by_label(metric).into_iter().find(|(found, _)| found == label).map_or(0.0, |(_, value)| value)
    }

    /// The sum of a metric over its labels.
    pub fn sum(&self, metric: &str) -> f64 {
        self.by_label(metric).into_iter().map(|(_, value)| value).sum()
    }

    /// A metric's samples by the value of its only label; an empty one when it has none.
    pub fn by_label(&self, metric: &str) -> Vec<(String, f64)> {
        let samples = self.0.range(metric.to_owned()..).take_while(|(name, _)| name.starts_with(metric));
        samples
            .filter_map(|(name, value)| {
                let labels = &name[metric.len()..];
                let label = match labels.strip_prefix('{') {
                    Some(labels) => labels.split('"').nth(1)?,
                    None if labels.is_empty() => "",
                    None => return None, // a longer name
                };
                Some((label.to_owned(), *value))
            })
            .collect()
    }

    /// The quantile of what a histogram counted since `before`, in its unit; `None` when it counted nothing.
    /// Within a bucket, linear.
    pub fn quantile(&self, histogram: &str, before: &Self, quantile: f64) -> Option<f64> {
        let metric = format!("{histogram}_bucket");
        let mut buckets: Vec<(f64, f64)> = self
            .by_label(&metric)
            .into_iter()
            .map(|(bound, count)| (parse_bound(&bound), count - before.of(&metric, &bound)))
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
}

fn parse_bound(bound: &str) -> f64 {
    if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap_or(f64::INFINITY) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a_total Things.\n# TYPE a_total counter\n\
        a_total{kind=\"x\"} 3\na_total{kind=\"y\"} 4\na_total_more 9\nb 2.5\n\
        h_bucket{le=\"1\"} 50\nh_bucket{le=\"2\"} 90\nh_bucket{le=\"+Inf\"} 100\n";

    #[test]
    #[allow(clippy::float_cmp)] // small whole numbers are exact
    fn samples_are_found_by_metric_and_label() {
        let mut samples = Samples::parse(TEXT);
        assert_eq!(samples.sum("a_total"), 7.0);
        assert_eq!(samples.of("a_total", "y"), 4.0);
        assert_eq!(samples.sum("b"), 2.5);
        assert_eq!(samples.sum("absent"), 0.0);
        samples.add(&Samples::parse("b 1\n"));
        assert_eq!(samples.sum("b"), 3.5);
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let none = Samples::default();
        let samples = Samples::parse(TEXT);
        assert_eq!(samples.quantile("h", &none, 0.25), Some(0.5));
        assert_eq!(samples.quantile("h", &none, 0.7), Some(1.5));
        assert_eq!(samples.quantile("h", &none, 0.99), Some(2.0)); // beyond the last bound
        assert_eq!(samples.quantile("h", &samples, 0.5), None);
        assert_eq!(samples.quantile("absent", &none, 0.5), None);
    }
}
