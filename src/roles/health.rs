//! `tickgate health`: whether the roles on this host are ready, for the health checks of containers, which have no
//! other client.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::anyhow;
use reqwest::Client;
use tokio::runtime::Handle;

use super::{Exit, Failure};
use crate::config::Config;

/// Arguments of `tickgate health`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 all roles that answer are ready, 1 one is not, 3 none answers.")]
pub struct Args {
    /// What to ask, as `http://127.0.0.1:9464/readyz`; without any, the `http` address of each role in the settings
    urls: Vec<String>,
    /// How long an answer may take
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Asks, and prints what each role waits for.
pub fn run(args: &Args, config: &Config) -> Result<Exit, Failure> {
    let urls = if args.urls.is_empty() { urls_of(config) } else { args.urls.clone() };
    let client = Client::builder().timeout(args.timeout).no_proxy().build().map_err(Failure::settings)?;
    let (mut answers, mut are_ready, mut refusals) = (0, true, Vec::new());
    let mut out = io::stdout().lock();
    for url in urls {
        match Handle::current().block_on(ask(&client, &url)) {
            Ok((status, body)) => {
                answers += 1;
                are_ready &= status == 200;
                writeln!(out, "{url}: {status}: {}", body.trim_end()).map_err(Failure::breach)?;
            }
            Err(error) if error.is_builder() => return Err(Failure::settings(error)),
            // Something is there, and hangs.
            Err(error) if error.is_timeout() => {
                answers += 1;
                are_ready = false;
                writeln!(out, "{url}: no answer in time").map_err(Failure::breach)?;
            }
            Err(_) => refusals.push(url),
        }
    }
    if answers == 0 {
        return Err(Failure::unreachable(anyhow!("nothing answers at {}", refusals.join(", "))));
    }
    Ok(if are_ready { Exit::Whole } else { Exit::Breach })
}

async fn ask(client: &Client, url: &str) -> Result<(u16, String), reqwest::Error> {
    let answer = client.get(url).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// Where each role would be ready, from this host.
fn urls_of(config: &Config) -> Vec<String> {
    let roles = [config.process.http, config.ingest.http, config.sink.http, config.serve.http];
    let all = roles.into_iter().chain([config.simulate.http]);
    all.filter(|address| address.port() != 0).map(|address| readyz(from_here(address))).collect()
}

fn readyz(address: SocketAddr) -> String {
    format!("http://{address}/readyz")
}

/// Who listens everywhere is found on the loopback.
fn from_here(address: SocketAddr) -> SocketAddr {
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(host, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_of_the_settings_is_asked_on_this_host() {
        let given = [
            ("TICKGATE_PROCESS__HTTP", "0.0.0.0:9464"),
            ("TICKGATE_INGEST__HTTP", "[::]:1"),
            ("TICKGATE_SINK__HTTP", "10.0.0.7:2"),
            ("TICKGATE_SERVE__HTTP", "127.0.0.1:8080"),
            ("TICKGATE_SIMULATE__HTTP", "127.0.0.1:0"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let urls = urls_of(&Config::load(None, given).unwrap());
        let hosts = ["127.0.0.1:9464", "[::1]:1", "10.0.0.7:2", "127.0.0.1:8080"];
        assert_eq!(urls, hosts.map(|host| format!("http://{host}/readyz")));
    }
}
