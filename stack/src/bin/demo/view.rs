//! What the demo shows: lines of text made from what the roles' `/metrics` said.

use std::fmt::Write;

use super::scrape::Samples;

/// All that was read at one time.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Seconds since the demo began to watch.
    pub seconds: f64,
    /// The gate's instances, added up.
    pub gate: Samples,
    /// What `ingest` said.
    pub ingest: Samples,
    /// Each instance's name and the partitions it owns; `None` when it did not answer.
    pub instances: Vec<(String, Option<Vec<u32>>)>,
}

/// A reading beside an earlier one, for rates and recent quantiles.
pub struct View<'a> {
    /// The later reading.
    pub now: &'a Reading,
    /// The earlier one.
    pub before: &'a Reading,
}

impl View<'_> {
    /// For a terminal: several lines.
    pub fn screen(&self) -> String {
        let gate = &self.now.gate;
        let mut text = String::new();
        let mut line = |name: &str, what: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {name:<10} {what}");
        };
        let rate = |per_second: f64| format!("{:>10} /s", grouped(per_second));
        let count = |result: &str| gate.of("tickgate_records_total", result);
        let result_rate = |result: &str| rate(self.rate(|r| r.gate.of("tickgate_records_total", result)));
        line("received", &format!("{:>14}", grouped(self.now.ingest.sum("tickgate_ingest_trades_total"))));
        line("records in", &format!("{:>14} {}", grouped(records(self.now)), rate(self.rate(records))));
        line("good", &format!("{:>14} {}", grouped(count("accepted")), result_rate("accepted")));
        line("bad", &format!("{:>14} {}", grouped(count("rejected")), result_rate("rejected")));
        for (rule, count) in by_size(gate.by_label("tickgate_rejections_total")) {
            line("", &format!("{:>14}  {rule}", grouped(count)));
        }
        line("rounds", &format!("{:>14} {}", grouped(rounds(self.now)), rate(self.rate(rounds))));
        line(
            "latency",
            &format!(
                "p50 {}, p99 {}, from a trade's time to its commit",
                self.latency(0.5),
                self.latency(0.99)
            ),
        );
        line("lag", &format!("{:>14}", grouped(gate.sum("tickgate_lag_records"))));
        line("stale", &format!("{:>14}  {}", grouped(gate.sum("tickgate_stale_symbols")), self.events()));
        for (name, partitions) in &self.now.instances {
            let owned = match partitions {
                None => "does not answer".to_owned(),
                Some(partitions) if partitions.is_empty() => "no partitions".to_owned(),
                Some(partitions) => {
                    let list: Vec<String> = partitions.iter().map(ToString::to_string).collect();
                    format!("partitions {}", list.join(" "))
                }
            };
            line(name, &owned);
        }
        text
    }

    /// Without a terminal: one line.
    pub fn line(&self) -> String {
        let gate = &self.now.gate;
        let count = |result: &str| grouped(gate.of("tickgate_records_total", result));
        let owned: Vec<String> = self
            .now
            .instances
            .iter()
            .map(|(_, partitions)| partitions.as_ref().map_or("?".to_owned(), |list| list.len().to_string()))
            .collect();
        format!(
            "{:>4.0} s  in {} ({}/s)  good {}  bad {}  rounds {}/s  p50 {}  p99 {}  lag {}  stale {}  partitions {}",
            self.now.seconds,
            grouped(records(self.now)),
            grouped(self.rate(records)),
            count("accepted"),
            count("rejected"),
            grouped(self.rate(rounds)),
            self.latency(0.5),
            self.latency(0.99),
            grouped(gate.sum("tickgate_lag_records")),
            grouped(gate.sum("tickgate_stale_symbols")),
            owned.join("+"),
        )
    }

    fn rate(&self, of: impl Fn(&Reading) -> f64) -> f64 {
        let seconds = self.now.seconds - self.before.seconds;
        if seconds > 0.0 { (of(self.now) - of(self.before)) / seconds } else { 0.0 }
    }

    fn latency(&self, quantile: f64) -> String {
        let histogram = "tickgate_event_to_commit_seconds";
        match self.now.gate.quantile(histogram, &self.before.gate, quantile) {
            Some(seconds) if seconds < 1.0 => format!("{:.0} ms", seconds * 1000.0),
            Some(seconds) => format!("{seconds:.1} s"),
            None => "-".to_owned(),
        }
    }

    fn events(&self) -> String {
        let events = self.now.gate.by_label("tickgate_events_total");
        let counts: Vec<String> = events
            .into_iter()
            .filter(|(_, count)| *count > 0.0)
            .map(|(kind, count)| format!("{kind} {}", grouped(count)))
            .collect();
        if counts.is_empty() { String::new() } else { format!("events: {}", counts.join(", ")) }
    }
}

/// Records in committed rounds.
pub fn records(reading: &Reading) -> f64 {
    reading.gate.sum("tickgate_records_total")
}

fn rounds(reading: &Reading) -> f64 {
    reading.gate.of("tickgate_rounds_total", "committed")
}

/// Only what happened, the most frequent first.
fn by_size(mut counts: Vec<(String, f64)>) -> Vec<(String, f64)> {
    counts.retain(|(_, count)| *count > 0.0);
    counts.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts
}

/// A whole number with commas between thousands.
fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(seconds: f64, accepted: u32, rejected: u32) -> Reading {
        let gate = Samples::parse(&format!(
            "tickgate_records_total{{result=\"accepted\"}} {accepted}\n\
             tickgate_records_total{{result=\"rejected\"}} {rejected}\n\
             tickgate_rejections_total{{rule=\"bad_time\"}} {rejected}\n\
             tickgate_rejections_total{{rule=\"not_json\"}} 0\n\
             tickgate_event_to_commit_seconds_bucket{{le=\"0.1\"}} {accepted}\n\
             tickgate_event_to_commit_seconds_bucket{{le=\"+Inf\"}} {accepted}\n"
        ));
        let instances = vec![("process-1".to_owned(), Some(vec![0, 1])), ("process-2".to_owned(), None)];
        Reading { seconds, gate, ingest: Samples::default(), instances }
    }

    #[test]
    fn a_view_shows_counts_rates_and_quantiles() {
        let (before, now) = (reading(10.0, 1000, 50), reading(12.0, 3000, 150));
        let view = View { now: &now, before: &before };
        let line = view.line();
        for part in
            ["in 3,150 (1,050/s)", "good 3,000", "bad 150", "p50 50 ms", "p99 99 ms", "partitions 2+?"]
        {
            assert!(line.contains(part), "`{part}` is missing in `{line}`");
        }
        let screen = view.screen();
        for part in ["150  bad_time", "partitions 0 1", "does not answer"] {
            assert!(screen.contains(part), "`{part}` is missing in\n{screen}");
        }
        assert!(!screen.contains("not_json"), "{screen}");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(0.0), "0");
        assert_eq!(grouped(999.4), "999");
        assert_eq!(grouped(1_234_567.0), "1,234,567");
    }
}
