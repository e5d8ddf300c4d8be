//! The table.

use std::collections::BTreeMap;

use crate::measure::Figures;

/// What everything else is compared with.
pub(crate) const YARDSTICK: &str = "pass-through";

/// Prints every run, then how the means compare with the yardstick's.
pub(crate) fn print(runs: &[(String, Figures)]) {
    println!();
    println!(
        "| run | records/s from start | records/s between commits | CPU µs/record | broker's | peak MiB |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, figures) in runs {
        let Row { rate, steady, cpu, broker_cpu, memory } = Row::of(figures);
        println!("| {name} | {rate:.0} | {steady:.0} | {cpu:.2} | {broker_cpu:.2} | {memory:.0} |");
    }
    let mut sums: BTreeMap<&str, (f64, Row)> = BTreeMap::new();
    for (name, figures) in runs {
        let (count, sum) = sums.entry(name).or_default();
        *count += 1.0;
        sum.add(&Row::of(figures));
    }
    let Some((count, sum)) = sums.remove(YARDSTICK) else { return };
    let yardstick = sum.over(&Row::all(count));
    println!();
    println!("Means, as a multiple of the {YARDSTICK}'s:");
    println!();
    println!(
        "| | records/s from start | records/s between commits | CPU/record | broker's CPU | peak memory |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, (count, sum)) in sums {
        let Row { rate, steady, cpu, broker_cpu, memory } = sum.over(&Row::all(count)).over(&yardstick);
        println!("| {name} | {rate:.2} | {steady:.2} | {cpu:.2} | {broker_cpu:.2} | {memory:.2} |");
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Row {
    rate: f64,
    steady: f64,
    cpu: f64,
    broker_cpu: f64,
    memory: f64,
}

impl Row {
    #[allow(clippy::cast_precision_loss)] // counts and bytes far below 2^52
    fn of(figures: &Figures) -> Self {
        let records = figures.records as f64;
        Self {
            rate: figures.rate(),
            steady: figures.steady_rate(),
            cpu: figures.cpu.as_secs_f64() * 1e6 / records,
            broker_cpu: figures.broker_cpu.as_secs_f64() * 1e6 / records,
            memory: figures.peak_memory_bytes as f64 / f64::from(1 << 20),
        }
    }

    fn all(value: f64) -> Self {
        Self { rate: value, steady: value, cpu: value, broker_cpu: value, memory: value }
    }

    fn add(&mut self, other: &Self) {
        self.rate += other.rate;
        self.steady += other.steady;
        self.cpu += other.cpu;
        self.broker_cpu += other.broker_cpu;
        self.memory += other.memory;
    }

    fn over(&self, other: &Self) -> Self {
        Self {
            rate: self.rate / other.rate,
            steady: self.steady / other.steady,
            cpu: self.cpu / other.cpu,
            broker_cpu: self.broker_cpu / other.broker_cpu,
            memory: self.memory / other.memory,
        }
    }
}
