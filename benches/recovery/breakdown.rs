//! Where the time goes, as tickgate's own log tells it: what was done when after the fault.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What a takeover does, in its order; the names of the effects.
const TAKEOVER: [&str; 7] =
    ["read owners", "fence", "await stable", "claim", "read targets", "restore", "resume"];

/// Something that was done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// After the fault.
    pub(crate) done: Duration,
    /// How long it took; unknown for what was only heard of.
    pub(crate) took: Option<Duration>,
}

/// The steps of the worker that heard last of partitions, up to the first commit after that.
pub(crate) fn steps(told: &[Value], fault: SystemTime, all_moved: Duration) -> anyhow::Result<Vec<Step>> {
    let mut lines = Vec::with_capacity(told.len());
    for line in told {
        lines.push((since(line, fault)?, line));
    }
    // Lines of an instance that was killed may be written behind the fault's instant.
    lines.retain(|(at, _)| at.is_some_and(|at| at <= all_moved));
    let assigned = lines.iter().rposition(|(_, line)| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with("the group said: Assigned([") && !message.contains("[]")
    });
    let Some(assigned) = assigned else { return Ok(Vec::new()) };
    let worker = &lines[assigned].1["worker"];
    let (before, after) = lines.split_at(assigned);
    let mut steps = Vec::new();
    let mut heard = |name, line: Option<&(Option<Duration>, &Value)>| {
        steps.extend(line.and_then(|(at, _)| Some(Step { name, done: (*at)?, took: None })));
    };
    let says = |text: &'static str| {
        before
            .iter()
            .rfind(move |(_, line)| line["message"].as_str().is_some_and(|message| message.starts_with(text)))
    };
    let joining = says("joining the group");
    heard("first line of the log", before.first().filter(|_| joining.is_some()));
    heard("producer ready, joining", joining);
    heard("revoked by the group", says("the group said: Revoked"));
    heard("assigned by the group", after.first());
    let mut done = |name: &'static str, from: usize| {
        let found = after.iter().enumerate().skip(from).find(|(_, (_, line))| {
            line["worker"] == *worker
                && line["effect"].as_str().is_some_and(|effect| effect_name(effect) == name)
        });
        let (at, (when, line)) = found?;
        let took = line["ms"].as_f64().map(|ms| Duration::from_secs_f64(ms / 1e3));
        steps.push(Step { name, done: (*when)?, took });
        Some(at)
    };
    let mut resumed = 0;
    for name in TAKEOVER {
        resumed = done(name, 0).unwrap_or(resumed);
    }
    done("commit", resumed);
    steps.push(Step { name: "every partition moved (seen from outside)", done: all_moved, took: None });
    Ok(steps)
}

/// An effect's name without what it is about.
fn effect_name(effect: &str) -> &str {
    let end = effect.find(|c: char| c.is_ascii_digit()).unwrap_or(effect.len());
    effect[..end].trim_end()
}

/// How long after the fault a line was written; `None` when it was before.
fn since(line: &Value, fault: SystemTime) -> anyhow::Result<Option<Duration>> {
    let text = line["timestamp"].as_str().context("a line of the log without a time")?;
    let at = SystemTime::from(OffsetDateTime::parse(text, &Rfc3339)?);
    Ok(at.duration_since(fault).ok())
}
