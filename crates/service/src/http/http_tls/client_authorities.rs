//! Authorities of the certificates that clients may show: those of all `client_certificate`s.
//!
//! A client is asked for a certificate only while there is such an object, so that browsers don't
//! ask their users for one in vain. What the handshake lets through is checked again by each
//! channel, against the authorities of its own objects.

use std::sync::Arc;

use quorate_resources::{ClientCertificate, Kind, Resource};
use quorate_state::{Catalog, StoredResource};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// The authorities of one catalog.
#[derive(Default)]
pub(super) struct ClientAuthorities {
    catalog: Catalog,
    /// `None`: nobody is asked for a certificate. The same as before where they have not changed.
    pub roots: Option<Arc<RootCertStore>>,
}

impl ClientAuthorities {
    pub(super) fn from_catalog(
        catalog: &Catalog,
        before: Option<&ClientAuthorities>,
    ) -> ClientAuthorities {
        let none = ClientAuthorities::default();
        let before = before.unwrap_or(&none);
        let mut changes = catalog.changes(&before.catalog, Kind::ClientCertificate);
        let roots = match changes.next() {
            None => before.roots.clone(),
            Some(_) => union(catalog),
        };
        ClientAuthorities {
            catalog: catalog.clone(),
            roots,
        }
    }
}

/// Returns the authorities of all objects. One that can't be read is left out: its object lets
/// nobody in.
fn union(catalog: &Catalog) -> Option<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    let objects = catalog.list(Kind::ClientCertificate);
    for object in objects.filter_map(|(_, stored)| certificate(stored)) {
        let authorities = CertificateDer::pem_slice_iter(object.ca.as_bytes());
        for authority in authorities.filter_map(Result::ok) {
            let _ = roots.add(authority);
        }
    }
    (!roots.is_empty()).then(|| Arc::new(roots))
}

fn certificate(stored: &StoredResource) -> Option<&Arc<ClientCertificate>> {
    match &*stored.resource {
        Resource::ClientCertificate(it) => Some(it),
        _ => None,
    }
}
