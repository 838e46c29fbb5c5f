//! TLS of Quorate's faces: certificates that are reloaded, whom a certificate names, an authority.
//!
//! Rustls with ring, by a provider that is named wherever a configuration is made: none is
//! installed for the process, so that a program that embeds a member keeps its own.
//!
//! - [`CertificateFiles`] are read and checked as a whole before anything changes. A
//!   [`Reloadable`] goes on with what it has where new files are bad; [`keep_reloaded`] looks at
//!   the files every minute and whenever it is told to.
//! - [`FaceListener`] accepts connections, plain or by TLS: handshakes run beside each other, each
//!   for 3 s at most, in bounded number, and never inside `accept`.
//! - [`CertificateIdentity`] is whom a certificate names. [`MemberTls`] is all that a member needs
//!   to serve its peers and its admin port and to call those of others.
//! - [`CertificateAuthority`] makes certificates, for clusters without a PKI of their own.
#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

mod acceptor;
mod authority;
mod certificate_files;
mod client_config;
mod closable_stream;
mod connector;
mod dialer;
mod error;
mod identity;
mod listener;
mod member_tls;
mod open_connections;
mod provider;
mod reload;
mod revocation_file;
mod server_config;
mod stream;
mod validity;
mod verifiers;

#[cfg(test)]
mod tests;

pub use acceptor::{AcceptedClients, ClientCertificate, TlsAcceptor};
pub use authority::{AuthorityError, CertificateAuthority, IssuedCertificate};
pub use certificate_files::{CertificateFiles, CertificatePair, TrustFile, TrustedRoots};
pub use client_config::{ExpectedServer, ReloadedClient};
pub use closable_stream::ClosableStream;
pub use connector::{ExpectedMember, MemberConnector};
pub use dialer::MemberDialer;
pub use error::TlsError;
pub use identity::{CertificateIdentity, CertificateSubject, IdentityError, any_member_name};
pub use listener::{FaceListener, HANDSHAKE_TIMEOUT, HANDSHAKES_MAX};
pub use member_tls::{MemberTls, MemberTlsFiles};
pub use provider::crypto_provider;
pub use reload::{
    CertificateExpiry, ReloadOutcome, Reloadable, ReloadedCertificate, keep_reloaded,
};
pub use revocation_file::RevocationFile;
pub use server_config::{ServerProfile, server_config};
pub use stream::FaceStream;
pub use validity::Validity;
