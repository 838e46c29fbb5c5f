//! The provider of cryptography: ring, named for each configuration.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring};

/// Returns ring. Nothing is installed for the process, which may have a provider of its own.
pub fn crypto_provider() -> Arc<CryptoProvider> {
    static RING: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    RING.get_or_init(|| Arc::new(ring::default_provider()))
        .clone()
}
