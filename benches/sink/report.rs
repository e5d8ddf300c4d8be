//! The table.

use crate::{Contender, TURNS, measure::Figures};

/// Prints every run, then the sink's rate as a part of each loop's: in each round, and of the means.
#[allow(clippy::cast_precision_loss)] // counts and bytes far below 2^52
pub(crate) fn print(runs: &[(Contender, Figures)], rows: u64) {
    println!();
    println!("| run | rows/s | CPU µs/row | peak MiB |");
    println!("|---|---|---|---|");
    for (contender, figures) in runs {
        println!(
            "| {} | {:.0} | {:.1} | {:.0} |",
            contender.name(),
            figures.rate(rows),
            figures.cpu.as_secs_f64() * 1e6 / rows as f64,
            figures.peak_memory_bytes as f64 / f64::from(1 << 20)
        );
    }
    let rates = |of: Contender| -> Vec<f64> {
        let its = runs.iter().filter(|(contender, _)| *contender == of);
        its.map(|(_, figures)| figures.rate(rows)).collect()
    };
    let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64;
    let sink = rates(Contender::Sink);
    println!();
    println!("The sink's rows/s as a part of the loop's:");
    println!();
    println!("| against | of the means | by round |");
    println!("|---|---|---|");
    for contender in TURNS.into_iter().filter(|contender| *contender != Contender::Sink) {
        let bare = rates(contender);
        let by_round = sink.iter().zip(&bare).map(|(sink, bare)| format!("{:.2}", sink / bare));
        let by_round = by_round.collect::<Vec<_>>().join(", ");
        println!("| {} | {:.2} | {by_round} |", contender.name(), mean(&sink) / mean(&bare));
    }
}
