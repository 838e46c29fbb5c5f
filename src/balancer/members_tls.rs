//! TLS to the admin ports of members: the balancer's own certificate, and HAProxy's checks.
//!
//! A member is known by the name that all members of its cluster bear, wherever it is, here as in
//! HAProxy's checks. The balancer shows a certificate of its own to be told who the members are;
//! health checks show none, for a member's health is no secret.

use std::{path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use quorate_clock::wall_time;
use quorate_tls::{
    CertificateExpiry, CertificateFiles, CertificateIdentity, CertificatePair, ExpectedServer,
    ReloadOutcome, Reloadable, ReloadedClient, TlsError, TrustFile, TrustedRoots,
};

/// Files of the balancer's TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembersTlsFiles {
    /// The balancer's certificate and key.
    pub pair: CertificateFiles,
    /// The authorities of the members.
    pub ca: PathBuf,
}

/// TLS to members, reloaded.
pub(super) struct MembersTls {
    files: MembersTlsFiles,
    domain: String,
    client: ReloadedClient,
    loaded: Mutex<(CertificatePair, TrustedRoots)>,
}

impl MembersTls {
    /// Loads the files. Blocks.
    ///
    /// # Errors
    /// They are bad, or the certificate names nobody.
    pub(super) fn load(files: MembersTlsFiles) -> Result<Arc<MembersTls>, TlsError> {
        let (pair, roots) = files.load()?;
        let identity = files.identity(&pair)?;
        let expected = ExpectedServer::Member {
            domain: identity.domain.clone(),
        };
        let client = ReloadedClient::new(&roots, Some(&pair), expected)?;
        Ok(Arc::new(MembersTls {
            domain: identity.domain,
            client,
            loaded: Mutex::new((pair, roots)),
            files,
        }))
    }

    /// Returns the configuration of clients. It follows reloads.
    pub(super) fn client(&self) -> rustls::ClientConfig {
        self.client.config()
    }

    /// Returns what HAProxy has to know.
    pub(super) fn checks(&self) -> CheckTls {
        CheckTls {
            ca: self.files.ca.clone(),
            server_name: quorate_tls::any_member_name(&self.domain),
        }
    }
}

/// TLS of HAProxy's health checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CheckTls {
    /// The file of authorities.
    pub(super) ca: PathBuf,
    /// The name that every member bears.
    pub(super) server_name: String,
}

impl MembersTlsFiles {
    fn load(&self) -> Result<(CertificatePair, TrustedRoots), TlsError> {
        let pair = self.pair.load(wall_time())?;
        let roots = TrustFile(self.ca.clone()).load()?;
        Ok((pair, roots))
    }

    fn identity(&self, pair: &CertificatePair) -> Result<CertificateIdentity, TlsError> {
        let identity = CertificateIdentity::from_certificate(pair.leaf());
        identity.map_err(|cause| TlsError::Identity {
            file: self.pair.cert.clone(),
            cause,
        })
    }
}

impl Reloadable for MembersTls {
    fn what(&self) -> &str {
        "balancer"
    }

    fn reload(&self) -> Result<ReloadOutcome, TlsError> {
        let (pair, roots) = self.files.load()?;
        let mut loaded = self.loaded.lock();
        if pair.is_same(&loaded.0) && roots.is_same(&loaded.1) {
            return Ok(ReloadOutcome::Unchanged);
        }
        let identity = self.files.identity(&pair)?;
        if identity.domain != self.domain {
            return Err(TlsError::OtherIdentity {
                file: self.files.pair.cert.clone(),
                found: identity.uri(),
                wanted: format!("one of the domain {}", self.domain),
            });
        }
        self.client.replace(&roots, Some(&pair))?;
        *loaded = (pair, roots);
        Ok(ReloadOutcome::Reloaded)
    }

    fn expiries(&self) -> Vec<CertificateExpiry> {
        vec![CertificateExpiry {
            what: "balancer".to_owned(),
            validity: self.loaded.lock().0.validity,
        }]
    }
}
