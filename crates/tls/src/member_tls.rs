//! All of a member's TLS, from one certificate and one file of authorities, reloaded together.
//!
//! The same pair serves peers and the admin port and is shown to other members. It is taken in use
//! as a whole: a pair that other members would refuse, because it is not of the authority, has
//! expired or names another member, is refused here before it replaces anything.

use std::{sync::Arc, time::SystemTime};

use parking_lot::Mutex;
use quorate_clock::wall_time;

use crate::{
    AcceptedClients, CertificateExpiry, CertificateFiles, CertificateIdentity, CertificatePair,
    ExpectedServer, MemberConnector, ReloadOutcome, Reloadable, ReloadedClient, RevocationFile,
    ServerProfile, TlsAcceptor, TlsError, TrustFile, TrustedRoots, Validity, identity,
    server_config,
    verifiers::{client_verifier, server_verifier, verify_client, verify_server},
};

/// Files of a member's TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberTlsFiles {
    /// The member's certificate and key.
    pub pair: CertificateFiles,
    /// The authorities of all members and clients.
    pub ca: TrustFile,
    /// The lists of what these have revoked, if there are any.
    pub crl: Option<RevocationFile>,
}

/// TLS of a member: it serves, calls others, and reloads.
pub struct MemberTls {
    files: MemberTlsFiles,
    identity: CertificateIdentity,
    peer: Arc<TlsAcceptor>,
    admin: Arc<TlsAcceptor>,
    connector: Arc<MemberConnector>,
    admin_client: ReloadedClient,
    loaded: Mutex<LoadedFiles>,
}

impl std::fmt::Debug for MemberTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MemberTls({})", self.identity)
    }
}

/// Files as they were read and checked.
struct LoadedFiles {
    pair: CertificatePair,
    ca: TrustedRoots,
    identity: CertificateIdentity,
}

impl MemberTls {
    /// Loads the files of the member of this name. Blocks.
    ///
    /// # Errors
    /// They are bad, or are another member's.
    pub fn load(files: MemberTlsFiles, name: &str) -> Result<Arc<MemberTls>, TlsError> {
        let loaded = files.load(wall_time())?;
        let LoadedFiles { pair, ca, identity } = &loaded;
        if !identity.may_be_named(name) {
            let domain = &identity.domain;
            return Err(
                files.other_identity(identity, format!("quorate://{domain}/member-name/{name}"))
            );
        }
        let domain = identity.domain.clone();
        let members = AcceptedClients::Members {
            domain: domain.clone(),
        };
        let identified = AcceptedClients::Identified {
            domain: domain.clone(),
        };
        let peer = server_config(ServerProfile::Peer, pair, Some(ca))?;
        let admin = server_config(ServerProfile::Admin, pair, Some(ca))?;
        let member = ExpectedServer::Member {
            domain: domain.clone(),
        };
        Ok(Arc::new(MemberTls {
            identity: identity.clone(),
            peer: Arc::new(TlsAcceptor::new("peer", peer, members)),
            admin: Arc::new(TlsAcceptor::new("admin", admin, identified)),
            connector: Arc::new(MemberConnector::new(&domain, ca, pair)?),
            admin_client: ReloadedClient::new(ca, Some(pair), member)?,
            files,
            loaded: Mutex::new(loaded),
        }))
    }

    /// Closes the connections that other authorities, or lists of what they have revoked, would not
    /// have let come about. All others stay.
    fn close_distrusted(&self, ca: &TrustedRoots) -> Result<(), TlsError> {
        let now = wall_time();
        let closed = self.peer.close_distrusted(ca, now)?
            + self.admin.close_distrusted(ca, now)?
            + self.connector.close_distrusted(ca, now)?;
        if closed > 0 {
            tracing::warn!(
                closed,
                "connections were closed, because the certificates of their other sides are not trusted any more"
            );
        }
        Ok(())
    }

    /// Returns true once the certificate in use has expired.
    pub fn has_expired(&self) -> bool {
        self.loaded.lock().pair.validity.is_over(wall_time())
    }

    /// Returns whom this member's certificate names.
    pub fn identity(&self) -> &CertificateIdentity {
        &self.identity
    }

    /// Returns the acceptor of the peer port.
    pub fn peer_acceptor(&self) -> Arc<TlsAcceptor> {
        self.peer.clone()
    }

    /// Returns the acceptor of the admin port.
    pub fn admin_acceptor(&self) -> Arc<TlsAcceptor> {
        self.admin.clone()
    }

    /// Returns the connector for the peer ports of others.
    pub fn connector(&self) -> Arc<MemberConnector> {
        self.connector.clone()
    }

    /// Returns the configuration of clients of the admin ports of others. It follows reloads.
    pub fn admin_client(&self) -> rustls::ClientConfig {
        self.admin_client.config()
    }
}

impl MemberTlsFiles {
    fn load(&self, now: SystemTime) -> Result<LoadedFiles, TlsError> {
        let pair = self.pair.load(now)?;
        let mut ca = self.ca.load()?;
        if let Some(crl) = &self.crl {
            ca = crl.load(ca)?;
        }
        let identity = CertificateIdentity::from_certificate(pair.leaf());
        let identity = identity.map_err(|cause| TlsError::Identity {
            file: self.pair.cert.clone(),
            cause,
        })?;
        if !identity.is_member() {
            let wanted = format!("quorate://{}/member-name/NAME", identity.domain);
            return Err(self.other_identity(&identity, wanted));
        }
        self.check_trust(&pair, &ca, &identity, now)?;
        Ok(LoadedFiles { pair, ca, identity })
    }

    fn other_identity(&self, found: &CertificateIdentity, wanted: String) -> TlsError {
        TlsError::OtherIdentity {
            file: self.pair.cert.clone(),
            found: found.uri(),
            wanted,
        }
    }

    /// Checks the pair as others will: as a server and as a client.
    fn check_trust(
        &self,
        pair: &CertificatePair,
        ca: &TrustedRoots,
        identity: &CertificateIdentity,
        now: SystemTime,
    ) -> Result<(), TlsError> {
        let not_trusted = |cause| TlsError::NotTrusted {
            file: self.pair.cert.clone(),
            ca: self.ca.0.clone(),
            cause,
        };
        let chain = pair.certified_key.cert.as_slice();
        let name = identity::any_member(&identity.domain);
        let name = name.map_err(|error| TlsError::Setup(error.to_string()))?;
        verify_server(server_verifier(ca)?.as_ref(), chain, &name, now).map_err(&not_trusted)?;
        verify_client(client_verifier(ca, true)?.as_ref(), chain, now).map_err(not_trusted)
    }
}

impl Reloadable for MemberTls {
    fn what(&self) -> &str {
        "member"
    }

    fn reload(&self) -> Result<ReloadOutcome, TlsError> {
        let new = self.files.load(wall_time())?;
        let mut loaded = self.loaded.lock();
        if new.pair.is_same(&loaded.pair) && new.ca.is_same(&loaded.ca) {
            return Ok(ReloadOutcome::Unchanged);
        }
        if new.identity != self.identity {
            return Err(self
                .files
                .other_identity(&new.identity, self.identity.uri()));
        }
        let LoadedFiles { pair, ca, .. } = &new;
        let peer = server_config(ServerProfile::Peer, pair, Some(ca))?;
        let admin = server_config(ServerProfile::Admin, pair, Some(ca))?;
        self.connector.replace(ca, pair)?;
        self.admin_client.replace(ca, Some(pair))?;
        self.peer.replace(peer);
        self.admin.replace(admin);
        let changed_trust = (!new.ca.is_same(&loaded.ca)).then(|| new.ca.clone());
        *loaded = new;
        // To verify all connections takes a while, and others look at what is loaded.
        drop(loaded);
        if let Some(ca) = changed_trust {
            self.close_distrusted(&ca)?;
        }
        Ok(ReloadOutcome::Reloaded)
    }

    fn expiries(&self) -> Vec<CertificateExpiry> {
        let loaded = self.loaded.lock();
        let member = CertificateExpiry {
            what: "member".to_owned(),
            validity: loaded.pair.validity,
        };
        // Of several authorities one may end, for another takes its place.
        let authorities = loaded.ca.certificates.iter();
        let last = authorities
            .filter_map(Validity::from_certificate)
            .max_by_key(|validity| validity.not_after);
        let ca = last.map(|validity| CertificateExpiry {
            what: "ca".to_owned(),
            validity,
        });
        std::iter::once(member).chain(ca).collect()
    }
}
