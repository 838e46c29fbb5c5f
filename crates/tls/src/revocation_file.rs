//! Lists of certificates that are revoked.
//!
//! A list is its authority's own, signed by it. One that is due for renewal still counts: who has
//! forgotten to write a new one should not lose the cluster by it, and what was revoked stays so.
//! An authority that no list is of has revoked nothing.

use std::path::PathBuf;

use rustls_pki_types::{CertificateRevocationListDer, pem::PemObject};
use webpki::OwnedCertRevocationList;

use crate::{
    TlsError, TrustedRoots,
    certificate_files::{malformed, read},
};

/// File of lists (PEM), one for each authority that has revoked something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationFile(pub PathBuf);

impl RevocationFile {
    /// Reads the lists and adds them to the authorities that are trusted. Blocks.
    ///
    /// # Errors
    /// There is none, or one is not understood.
    pub fn load(&self, roots: TrustedRoots) -> Result<TrustedRoots, TlsError> {
        let pem = read(&self.0)?;
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
        let lists = lists.map_err(|error| malformed(&self.0, error))?;
        if lists.is_empty() {
            return Err(TlsError::NoRevocationList {
                file: self.0.clone(),
            });
        }
        for list in &lists {
            OwnedCertRevocationList::from_der(list).map_err(|error| malformed(&self.0, error))?;
        }
        Ok(roots.with_revoked(lists, &pem))
    }
}
