//! The certificates of a quickstart behind TLS: an authority of its own, in the folder `tls`.
//!
//! Each start makes what is missing, or ends within 30 days, so that a quickstart that was left
//! alone for a year begins again like any other. `ca.key` stays in the folder: this is one machine
//! with one user, who is every member.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use quorate_clock::wall_time;
use quorate_tls::{CertificateFiles, CertificateSubject};

use super::folder;
use crate::cli::{
    certificate_writer::{self, AuthorityFolder, certificate_paths},
    client::ClientTlsArgs,
    error::CliError,
};

/// The certificate of whoever works with the quickstart.
const CLIENT: &str = "admin";
/// The certificate of the balancer.
const BALANCER: &str = "balancer";

/// A certificate that ends within this time is made anew.
const RENEW: Duration = Duration::from_secs(30 * 86_400);

/// The certificates in a quickstart's folder.
#[derive(Clone, Debug)]
pub(super) struct QuickstartCertificates {
    dir: PathBuf,
}

impl QuickstartCertificates {
    /// Returns whether the folder has an authority.
    pub(super) fn exist(quickstart: &Path) -> bool {
        AuthorityFolder(&quickstart.join("tls"))
            .paths()
            .cert
            .exists()
    }

    /// Makes the authority, the client's and the balancer's certificate, where they are missing.
    pub(super) fn prepare(quickstart: &Path) -> Result<QuickstartCertificates, CliError> {
        let dir = quickstart.join("tls");
        folder::make(&dir)?;
        // The authority's key is in it.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).map_err(|error| {
            CliError::Refused(format!("can't close {}: {error}", dir.display()))
        })?;
        if !QuickstartCertificates::exist(quickstart) {
            AuthorityFolder(&dir).create(None)?;
        }
        let certificates = QuickstartCertificates { dir };
        certificates.ensure(CLIENT, CertificateSubject::Client(CLIENT.into()))?;
        certificates.ensure(BALANCER, CertificateSubject::Balancer(BALANCER.into()))?;
        Ok(certificates)
    }

    /// Makes a member's certificate, where it is missing.
    pub(super) fn ensure_member(&self, name: &str) -> Result<(), CliError> {
        self.ensure(name, CertificateSubject::MemberName(name.into()))
    }

    fn ensure(&self, name: &str, subject: CertificateSubject) -> Result<(), CliError> {
        let paths = certificate_paths(&self.dir, name);
        let files = CertificateFiles {
            cert: paths.cert.clone(),
            key: paths.key.clone(),
        };
        let soon = wall_time() + RENEW;
        if files.load(soon).is_ok() {
            return Ok(());
        }
        let authority = AuthorityFolder(&self.dir).load()?;
        certificate_writer::issue(&authority, subject, &[], None, &paths)
    }

    /// Returns what commands are given to work with this quickstart.
    pub(super) fn client(&self) -> ClientTlsArgs {
        let paths = certificate_paths(&self.dir, CLIENT);
        ClientTlsArgs {
            ca: Some(self.ca()),
            cert: Some(paths.cert),
            key: Some(paths.key),
        }
    }

    /// Returns the authority's certificate.
    pub(super) fn ca(&self) -> PathBuf {
        AuthorityFolder(&self.dir).paths().cert
    }

    /// Returns the lines of the balancer's settings, whose folder is beside `tls`.
    pub(super) fn balancer_settings(&self) -> String {
        format!(
            "\n# The members' certificates, and the balancer's own.\n[members_tls]\n\
             ca = \"../tls/ca.pem\"\ncert = \"../tls/{BALANCER}.pem\"\nkey = \"../tls/{BALANCER}.key\"\n"
        )
    }
}

/// Returns the lines of a member's settings, whose folder is beside `tls`.
pub(super) fn member_settings(name: &str) -> String {
    format!(
        r#"
# The certificate of the peer and admin ports, and the authority of all.
[tls]
ca = "../tls/ca.pem"
cert = "../tls/{name}.pem"
key = "../tls/{name}.key"
"#
    )
}
