//! What was measured: a line a run while it goes on, tables at the end.

use std::fmt;
use std::time::Duration;

use crate::Scenario;
use crate::breakdown::Step;
use crate::latency::Latency;
use crate::memory::Peaks;
use crate::observe::Observed;

/// The figures of one run.
#[derive(Debug, Clone)]
pub(crate) enum Figures {
    Recovery {
        observed: Observed,
        steps: Vec<Step>,
    },
    Restore {
        /// Records of the changelog, and how long the bare reader's process took for them.
        rows: u64,
        bare: Duration,
        /// How long the restore alone took, as whoever did it says.
        phase: Option<Duration>,
        observed: Observed,
        steps: Vec<Step>,
    },
    Latency(Latency),
    Memory(Peaks),
}

/// Everything that was measured, in the order in which it was.
#[derive(Debug, Default)]
pub(crate) struct Report {
    runs: Vec<(Scenario, &'static str, Figures)>,
}

impl Report {
    pub(crate) fn add(&mut self, scenario: Scenario, name: &'static str, figures: Figures) {
        self.runs.push((scenario, name, figures));
    }

    /// Prints a table for each kind of figures that there is.
    pub(crate) fn print(&self) {
        self.print_recoveries();
        self.print_restores();
        self.print_latencies();
        self.print_memory();
        self.print_steps();
    }

    fn print_recoveries(&self) {
        let groups = self.groups(|figures| matches!(figures, Figures::Recovery { .. }));
        if groups.is_empty() {
            return;
        }
        println!("\nSeconds after the fault, median (least to most):\n");
        println!(
            "| scenario | who | runs | every partition moved | first partition moved | longest standstill |"
        );
        println!("|---|---|---|---|---|---|");
        for (scenario, name, runs) in groups {
            let of = |pick: fn(&Observed) -> Duration| {
                spread(
                    runs.iter().filter_map(|run| match run {
                        Figures::Recovery { observed, .. } => Some(pick(observed).as_secs_f64()),
                        _ => None,
                    }),
                    2,
                )
            };
            println!(
                "| {scenario} | {name} | {} | {} | {} | {} |",
                runs.len(),
                of(|seen| seen.all_moved),
                of(|seen| seen.first_moved),
                of(|seen| seen.stood_still)
            );
        }
    }

    fn print_restores(&self) {
        let groups = self.groups(|figures| matches!(figures, Figures::Restore { .. }));
        if groups.is_empty() {
            return;
        }
        println!("\nFrom an empty state directory, median (least to most):\n");
        println!(
            "| who | runs | changelog records | s until every partition moved | s of restoring alone \
             | bare reader's s | records/s until then | of restoring | bare reader's |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        for (_, name, runs) in groups {
            let of = |digits, pick: fn(f64, Duration, Option<Duration>, Duration) -> Option<f64>| {
                spread(
                    runs.iter().filter_map(|run| match run {
                        Figures::Restore { rows, bare, phase, observed, .. } => {
                            pick(number(*rows), *bare, *phase, observed.all_moved)
                        }
                        _ => None,
                    }),
                    digits,
                )
            };
            println!(
                "| {name} | {} | {} | {} | {} | {} | {} | {} | {} |",
                runs.len(),
                of(0, |rows, _, _, _| Some(rows)),
                of(2, |_, _, _, whole| Some(whole.as_secs_f64())),
                of(2, |_, _, phase, _| Some(phase?.as_secs_f64())),
                of(2, |_, bare, _, _| Some(bare.as_secs_f64())),
                of(0, |rows, _, _, whole| Some(rows / whole.as_secs_f64())),
                of(0, |rows, _, phase, _| Some(rows / phase?.as_secs_f64())),
                of(0, |rows, bare, _, _| Some(rows / bare.as_secs_f64())),
            );
        }
    }

    fn print_latencies(&self) {
        let groups = self.groups(|figures| matches!(figures, Figures::Latency(_)));
        if groups.is_empty() {
            return;
        }
        println!(
            "\nFrom staging to a reader of committed records, ms, median of the runs (least to most):\n"
        );
        println!("| who | runs | half of the records | 99 of 100 | all |");
        println!("|---|---|---|---|---|");
        for (_, name, runs) in groups {
            let of = |pick: fn(&Latency) -> u64| {
                let latencies = runs.iter().filter_map(|run| match run {
                    Figures::Latency(latency) => Some(number(pick(latency))),
                    _ => None,
                });
                spread(latencies, 0)
            };
            let (half, of_100) = (of(|latency| latency.half), of(|latency| latency.of_100));
            println!("| {name} | {} | {half} | {of_100} | {} |", runs.len(), of(|latency| latency.most));
        }
    }

    fn print_memory(&self) {
        let groups = self.groups(|figures| matches!(figures, Figures::Memory(_)));
        if groups.is_empty() {
            return;
        }
        println!("\nPeak resident memory of an instance, MiB:\n");
        println!("| who | making the state | steady | started again | started without state |");
        println!("|---|---|---|---|---|");
        for (_, name, runs) in groups {
            for run in runs {
                if let Figures::Memory(peaks) = run {
                    let [fill, steady, restart, restore] = peaks.mib();
                    println!("| {name} | {fill} | {steady} | {restart} | {restore} |");
                }
            }
        }
    }

    fn print_steps(&self) {
        let mut groups = self.groups(|figures| !figures.steps().is_empty());
        groups.retain(|(_, _, runs)| !runs.is_empty());
        if groups.is_empty() {
            return;
        }
        println!(
            "\nWhere the time goes, by the log of who took over; ms after the fault, median (least to most):\n"
        );
        println!("| scenario | who | step | done at | took |");
        println!("|---|---|---|---|---|");
        for (scenario, name, runs) in groups {
            // Nobody may have been there to be fenced.
            let Some(fullest) = runs.iter().max_by_key(|run| run.steps().len()) else { continue };
            for step in fullest.steps() {
                let same =
                    || runs.iter().filter_map(|run| run.steps().iter().find(|other| other.name == step.name));
                let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
                let done = spread(same().map(|step| ms(step.done)), 0);
                let took = spread(same().filter_map(|step| step.took.map(ms)), 0);
                println!("| {scenario} | {name} | {} | {done} | {took} |", step.name);
            }
        }
    }

    /// The runs of this kind by scenario and contender, in the order in which they came.
    fn groups(&self, kind: impl Fn(&Figures) -> bool) -> Vec<(Scenario, &'static str, Vec<&Figures>)> {
        let mut groups: Vec<(Scenario, &'static str, Vec<&Figures>)> = Vec::new();
        for (scenario, name, figures) in self.runs.iter().filter(|(_, _, figures)| kind(figures)) {
            match groups.iter_mut().find(|(of, by, _)| of == scenario && by == name) {
                Some((_, _, runs)) => runs.push(figures),
                None => groups.push((*scenario, name, vec![figures])),
            }
        }
        groups
    }
}

impl Figures {
    fn steps(&self) -> &[Step] {
        match self {
            Self::Recovery { steps, .. } | Self::Restore { steps, .. } => steps,
            Self::Latency(_) | Self::Memory(_) => &[],
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovery { observed, .. } => write!(to, "{observed}"),
            Self::Restore { rows, bare, phase, observed, .. } => {
                let phase = phase.unwrap_or_default().as_secs_f64();
                let bare = bare.as_secs_f64();
                write!(to, "{rows} records restored in {phase:.2} s, bare reader {bare:.2} s; {observed}")
            }
            Self::Latency(Latency { records, half, of_100, most }) => {
                write!(
                    to,
                    "{records} records visible after {half} ms (half), {of_100} ms (99 of 100), {most} ms (all)"
                )
            }
            Self::Memory(peaks) => {
                let [fill, steady, restart, restore] = peaks.mib();
                write!(
                    to,
                    "{fill} MiB making the state, {steady} steady, {restart} started again, {restore} without state"
                )
            }
        }
    }
}

impl Peaks {
    fn mib(&self) -> [u64; 4] {
        [self.fill, self.steady, self.restart, self.restore].map(|bytes| bytes >> 20)
    }
}

/// `median (least to most)`, the median alone of a single value, nothing of none.
fn spread(values: impl Iterator<Item = f64>, digits: usize) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (values.first(), values.last()) else { return String::new() };
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    };
    if values.len() == 1 {
        return format!("{median:.digits$}");
    }
    format!("{median:.digits$} ({least:.digits$} to {most:.digits$})")
}

#[allow(clippy::cast_precision_loss)] // counts far below 2^52
fn number(count: u64) -> f64 {
    count as f64
}
