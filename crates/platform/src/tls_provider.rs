//! The one provider of cryptography of this process.

/// Makes ring the process's provider. The HTTP client asks for one even where it speaks
/// plain HTTP; every call after the first does nothing.
pub fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
