//! `tickgate config`: what settings are in force.

use std::io::{self, Write};

use super::{Exit, Failure};
use crate::{config::Config, journal::kafka::client};

/// Arguments of `tickgate config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Ends with 0 if the settings are right, else says what is wrong and ends with 2
    Check,
    /// Prints every setting and where it came from, as TOML; secrets are hidden
    Show,
}

/// Loading has found what is wrong already, but for the properties that only librdkafka knows.
pub fn run(args: &Args, config: &Config) -> Result<Exit, Failure> {
    client::check_properties(&config.kafka).map_err(Failure::settings)?;
    let mut out = io::stdout().lock();
    let written = match args.action {
        Action::Check => writeln!(out, "the settings are right"),
        Action::Show => show(config, &mut out),
    };
    written.map_err(Failure::breach)?;
    Ok(Exit::Whole)
}

fn show(config: &Config, out: &mut impl Write) -> io::Result<()> {
    let mut section = "";
    for setting in config.settings() {
        let (of, name) = setting.key.split_once('.').expect("keys in this program have a section");
        if of != section {
            writeln!(out, "{}[{of}]", if section.is_empty() { "" } else { "\n" })?;
            section = of;
        }
        writeln!(out, "{name} = {}  # {}", setting.value, setting.source)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_toml_that_means_the_same() {
        let environment = [("TICKGATE_PROCESS__GROUP".to_owned(), "other".to_owned())];
        let config = Config::load(None, environment).unwrap();
        let mut text = Vec::new();
        show(&config, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("group = \"other\"  # TICKGATE_PROCESS__GROUP\n"), "{text}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shown.toml");
        std::fs::write(&path, text).unwrap();
        let again = Config::load(Some(&path), []).unwrap();
        let values = |config: &Config| {
            config
                .settings()
                .iter()
                .map(|setting| (setting.key.clone(), setting.value.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(values(&again), values(&config));
    }
}
