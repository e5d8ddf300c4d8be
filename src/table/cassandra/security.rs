//! TLS to the nodes.
//!
//! The driver itself holds a node's certificate against the node's IP address and nothing else. With
//! `sink.tls_name` the certificate must bear that name instead: `OpenSSL` compares the name, and only the
//! missing address is forgiven.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVerifyMode};
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509CheckFlags;
use openssl::x509::{X509, X509StoreContextRef, X509VerifyResult};

use crate::config::TlsConfig;

/// `X509_V_ERR_IP_ADDRESS_MISMATCH` of `OpenSSL`.
const ADDRESS_MISMATCH: i32 = 64;

/// Files that TLS can't be set up with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("`{}` ({key}) can't be read: {cause}", path.display())]
    Unreadable {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// A file holds something else.
    #[error("`{}` ({key}): expected {expected}; {cause}", path.display())]
    NotPem {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What it is to hold.
        expected: &'static str,
        /// `OpenSSL`'s words.
        cause: ErrorStack,
    },
    /// `OpenSSL` can't be set up.
    #[error("TLS can't be set up: {0}")]
    OpenSsl(#[from] ErrorStack),
}

/// Why a node's certificate was last refused. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusals(Arc<Mutex<Option<String>>>);

impl Refusals {
    /// The last refusal in words, once.
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, result: X509VerifyResult, subject: &str) {
        let text = format!("{} (certificate of `{subject}`)", result.error_string());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
}

/// What connections are made with; why certificates are refused goes to `refusals`.
pub(super) fn context(tls: &TlsConfig, refusals: &Refusals) -> Result<SslConnectorBuilder, TlsError> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    if let Some(path) = &tls.authorities {
        builder.set_cert_store(authorities(path)?);
    }
    if let Some((certificate, key)) = &tls.identity {
        identify(&mut builder, certificate, key)?;
    }
    if let Some(name) = &tls.name {
        let parameters = builder.verify_param_mut();
        parameters.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
        parameters.set_host(name)?;
    }
    let (has_name, refusals) = (tls.name.is_some(), refusals.clone());
    builder.set_verify_callback(SslVerifyMode::PEER, move |is_good, certificate| {
        is_good || forgive(has_name, certificate, &refusals)
    });
    Ok(builder)
}

/// Whether a connection that broke did so for our own certificate, or the lack of one: a node says it by an alert of
/// TLS, which the driver hands on in `OpenSSL`'s words alone.
pub(super) fn is_about_our_certificate(cause: &str) -> bool {
    const ALERTS: [&str; 7] = [
        "certificate required",
        "bad certificate",
        "unsupported certificate",
        "certificate revoked",
        "certificate expired",
        "certificate unknown",
        "unknown ca",
    ];
    ALERTS.iter().any(|alert| cause.contains(&format!("alert {alert}")))
}

/// Our own certificate, with what vouches for it behind it, and its key.
fn identify(builder: &mut SslConnectorBuilder, certificate: &Path, key: &Path) -> Result<(), TlsError> {
    let mut chain = certificates("sink.tls_certificate", certificate)?.into_iter();
    if let Some(own) = chain.next() {
        builder.set_certificate(&own)?;
    }
    for above in chain {
        builder.add_extra_chain_cert(above)?;
    }
    let not = not_pem("sink.tls_key", key, "the PEM key of `sink.tls_certificate`, without a passphrase");
    let read = PKey::private_key_from_pem_passphrase(&read("sink.tls_key", key)?, b"").map_err(&not)?;
    builder.set_private_key(&read).and_then(|()| builder.check_private_key()).map_err(&not)
}

fn authorities(path: &Path) -> Result<X509Store, TlsError> {
    let mut store = X509StoreBuilder::new()?;
    for certificate in certificates("sink.tls_ca", path)? {
        store.add_cert(certificate)?;
    }
    Ok(store.build())
}

/// The certificates of a file, one at least.
fn certificates(key: &'static str, path: &Path) -> Result<Vec<X509>, TlsError> {
    let not = not_pem(key, path, "PEM certificates");
    let found = X509::stack_from_pem(&read(key, path)?).map_err(&not)?;
    if found.is_empty() { Err(not(ErrorStack::get())) } else { Ok(found) }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|cause| TlsError::Unreadable { key, path: path.to_owned(), cause })
}

fn not_pem(key: &'static str, path: &Path, expected: &'static str) -> impl Fn(ErrorStack) -> TlsError {
    let path = path.to_owned();
    move |cause| TlsError::NotPem { key, path: path.clone(), expected, cause }
}

/// Whether a certificate that `OpenSSL` objects to is good all the same.
fn forgive(has_name: bool, certificate: &mut X509StoreContextRef, refusals: &Refusals) -> bool {
    let result = certificate.error();
    // Where both are asked for, `OpenSSL` has compared the name by itself: a wrong one is another objection.
    if has_name && result.as_raw() == ADDRESS_MISMATCH {
        certificate.set_error(X509VerifyResult::OK);
        return true;
    }
    let subject = certificate.current_cert().map(|found| format!("{:?}", found.subject_name()));
    refusals.note(result, &subject.unwrap_or_default());
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_certificates_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let tls = TlsConfig { authorities: Some(path.clone()), ..TlsConfig::default() };
        let said = |tls: &TlsConfig| context(tls, &Refusals::default()).map(drop).unwrap_err().to_string();
        assert!(said(&tls).contains("ca.pem` (sink.tls_ca) can't be read"), "{}", said(&tls));
        fs::write(&path, "nothing").unwrap();
        assert!(said(&tls).contains("expected PEM certificates"), "{}", said(&tls));
        let identity = Some((path.clone(), path));
        let tls = TlsConfig { identity, ..TlsConfig::default() };
        assert!(said(&tls).contains("sink.tls_certificate"), "{}", said(&tls));
    }
}
