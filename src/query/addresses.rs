//! Which instances a name stands for.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// Addresses of one name that are asked.
pub(crate) const ADDRESSES_MAX: usize = 64;
/// How long the look-up of a name may take.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// The addresses that a name with a port has now. An instance that has one of each kind is one instance.
pub(crate) async fn look_up(name: &str) -> Result<BTreeSet<SocketAddr>, String> {
    let found = tokio::time::timeout(LOOK_UP_TIMEOUT, tokio::net::lookup_host(name)).await;
    let found = found.map_err(|_| format!("no address of `{name}` within {LOOK_UP_TIMEOUT:?}"))?;
    let found: Vec<SocketAddr> = found.map_err(|error| format!("no address of `{name}`: {error}"))?.collect();
    let has_v4 = found.iter().any(SocketAddr::is_ipv4);
    Ok(found.into_iter().filter(|address| address.is_ipv4() == has_v4).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_listens_by_both_kinds_of_address_is_one() {
        let found = look_up("localhost:9464").await.unwrap();
        assert_eq!(found, BTreeSet::from([SocketAddr::from(([127, 0, 0, 1], 9464))]));
        assert_eq!(look_up("[::1]:1").await.unwrap().len(), 1);
        assert!(look_up("nobody.invalid:1").await.unwrap_err().contains("nobody.invalid"));
    }
}
