//! An authority that signs certificates for servers and clients of a test, in PEM files of a folder.
//!
//! Its keys are of no use to anybody else and are not protected.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use openssl::{
    asn1::{Asn1Integer, Asn1Time},
    bn::{BigNum, MsbOption},
    ec::{EcGroup, EcKey},
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    ssl::{SslConnector, SslFiletype, SslMethod},
    x509::{
        X509, X509Builder, X509Name, X509NameRef,
        extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName},
    },
};

use crate::StackError;

/// How long its certificates hold, in days.
const DAYS: u32 = 30;
const SERIAL_BITS: i32 = 127;

/// A certificate authority of its own.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
    certificate: X509,
    key: PKey<Private>,
}

/// A certificate with its private key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// The key, in PKCS #8 and without a password.
    pub key: PathBuf,
    /// Key and certificate in one file.
    pub both: PathBuf,
}

/// What a certificate is for.
#[derive(Clone, Copy)]
enum Usage<'a> {
    /// A server with these names and addresses.
    Server(&'a [&'a str]),
    Client,
}

impl Authority {
    /// A new authority; `dir` takes its certificate and what it signs, in place of an earlier one's.
    pub fn new(dir: &Path) -> Result<Self, StackError> {
        fs::create_dir_all(dir).map_err(StackError::file("make", dir))?;
        let (certificate, key) = own_certificate().map_err(failed("make an authority"))?;
        let authority = Self { dir: dir.to_owned(), certificate, key };
        let text = authority.certificate.to_pem().map_err(failed("write an authority's certificate"))?;
        write(&authority.certificate_file(), &text)?;
        Ok(authority)
    }

    /// The file with its own certificate, which is to be trusted.
    pub fn certificate_file(&self) -> PathBuf {
        self.dir.join("authority.crt.pem")
    }

    /// A certificate for a server that is reached under `hosts`, names or addresses; the files are called
    /// after `name`.
    pub fn server(&self, name: &str, hosts: &[&str]) -> Result<Identity, StackError> {
        self.identity(name, Usage::Server(hosts))
    }

    /// A certificate for a client called `name`, as its files are.
    pub fn client(&self, name: &str) -> Result<Identity, StackError> {
        self.identity(name, Usage::Client)
    }

    /// What a client called `name` connects with: it trusts this authority alone, and shows a certificate of
    /// it if it is asked.
    pub fn connector(&self, name: &str) -> Result<SslConnector, StackError> {
        let identity = self.client(name)?;
        let connector = || {
            let mut builder = SslConnector::builder(SslMethod::tls_client())?;
            builder.set_ca_file(self.certificate_file())?;
            builder.set_certificate_file(&identity.certificate, SslFiletype::PEM)?;
            builder.set_private_key_file(&identity.key, SslFiletype::PEM)?;
            Ok(builder.build())
        };
        connector().map_err(failed("prepare a client's connections"))
    }

    fn identity(&self, name: &str, usage: Usage<'_>) -> Result<Identity, StackError> {
        let (certificate, key) = self.sign(name, usage).map_err(failed("make a certificate"))?;
        let file = |ending: &str| self.dir.join(format!("{name}.{ending}"));
        let identity = Identity { certificate: file("crt.pem"), key: file("key.pem"), both: file("pem") };
        write(&identity.certificate, &certificate)?;
        write(&identity.key, &key)?;
        write(&identity.both, &[key, certificate].concat())?;
        Ok(identity)
    }

    /// The PEM texts of a certificate for `name` and of its key.
    fn sign(&self, name: &str, usage: Usage<'_>) -> Result<(Vec<u8>, Vec<u8>), ErrorStack> {
        let key = new_key()?;
        let subject = named(name)?;
        let mut builder = unsigned(&subject, self.certificate.subject_name(), &key)?;
        builder.append_extension(BasicConstraints::new().build()?)?;
        builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
        match usage {
            Usage::Client => builder.append_extension(ExtendedKeyUsage::new().client_auth().build()?)?,
            Usage::Server(hosts) => {
                builder.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
                let mut names = SubjectAlternativeName::new();
                for host in hosts {
                    if host.parse::<IpAddr>().is_ok() {
                        names.ip(host)
                    } else {
                        names.dns(host)
                    };
                }
                let names = names.build(&builder.x509v3_context(Some(&self.certificate), None))?;
                builder.append_extension(names)?;
            }
        }
        builder.sign(&self.key, MessageDigest::sha256())?;
        Ok((builder.build().to_pem()?, key.private_key_to_pem_pkcs8()?))
    }
}

fn own_certificate() -> Result<(X509, PKey<Private>), ErrorStack> {
    let key = new_key()?;
    let name = named("tickgate test authority")?;
    let mut builder = unsigned(&name, &name, &key)?;
    builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
    builder.sign(&key, MessageDigest::sha256())?;
    Ok((builder.build(), key))
}

/// A certificate of version 3 that holds from now on, without extensions or signature.
fn unsigned(
    subject: &X509NameRef,
    issuer: &X509NameRef,
    key: &PKey<Private>,
) -> Result<X509Builder, ErrorStack> {
    let mut serial = BigNum::new()?;
    serial.rand(SERIAL_BITS, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?; // counted from 0
    builder.set_serial_number(Asn1Integer::from_bn(&serial)?.as_ref())?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    builder.set_not_before(Asn1Time::days_from_now(0)?.as_ref())?;
    builder.set_not_after(Asn1Time::days_from_now(DAYS)?.as_ref())?;
    builder.set_pubkey(key)?;
    Ok(builder)
}

fn new_key() -> Result<PKey<Private>, ErrorStack> {
    PKey::from_ec_key(EcKey::generate(EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?.as_ref())?)
}

fn named(name: &str) -> Result<X509Name, ErrorStack> {
    let mut builder = X509Name::builder()?;
    builder.append_entry_by_nid(Nid::COMMONNAME, name)?;
    Ok(builder.build())
}

fn write(path: &Path, text: &[u8]) -> Result<(), StackError> {
    fs::write(path, text).map_err(StackError::file("write", path))
}

fn failed(verb: &'static str) -> impl FnOnce(ErrorStack) -> StackError {
    move |source| StackError::Certificate { verb, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(path: &Path) -> X509 {
        X509::from_pem(&fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn what_it_signs_names_hosts_and_holds_only_under_its_own_key() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
        let [ours, theirs] = [ours, theirs].map(|dir| Authority::new(&dir).unwrap());
        let server = ours.server("gate", &["gate.test", "127.0.0.1"]).unwrap();
        let certificate = load(&server.certificate);
        assert!(certificate.verify(&ours.key).unwrap());
        assert!(!certificate.verify(&theirs.key).unwrap());
        let names = certificate.subject_alt_names().unwrap();
        assert_eq!(names[0].dnsname(), Some("gate.test"));
        assert_eq!(names[1].ipaddress(), Some(&[127, 0, 0, 1][..]));
        let key = PKey::private_key_from_pem(&fs::read(&server.both).unwrap()).unwrap();
        assert!(certificate.public_key().unwrap().public_eq(&key));
        assert!(load(&ours.client("me").unwrap().certificate).verify(&ours.key).unwrap());
        assert!(ours.connector("me").is_ok());
    }
}
