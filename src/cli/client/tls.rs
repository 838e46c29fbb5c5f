//! The options by which a command proves who asks, and knows whom it asks.

use std::path::PathBuf;

use clap::Args;
use quorate_clock::wall_time;
use quorate_tls::{
    CertificateFiles, CertificateIdentity, ExpectedServer, ReloadedClient, TrustFile,
};
use url::Url;

use crate::cli::error::CliError;

/// The options for https.
#[derive(Clone, Debug, Default, Args)]
pub struct ClientTlsArgs {
    /// Authority of the members' certificates (PEM), for https
    #[arg(long, env = "QUORATE_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Certificate of whoever asks (PEM), for https
    #[arg(long, env = "QUORATE_CERT", value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Private key of that certificate (PEM)
    #[arg(long, env = "QUORATE_KEY", value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
}

impl ClientTlsArgs {
    /// Returns the configuration for these URLs; `None` if none of them is https.
    ///
    /// A member is known by the name that all members of its cluster have, wherever it is; a server
    /// with a certificate for the host that was dialled is good too, for a proxy in between.
    pub(super) fn config(&self, urls: &[Url]) -> Result<Option<rustls::ClientConfig>, CliError> {
        if urls.iter().all(|url| url.scheme() != "https") {
            return Ok(None);
        }
        let refused = |error: quorate_tls::TlsError| CliError::Refused(error.to_string());
        let Some(ca) = &self.ca else {
            return Err(CliError::Usage(
                "https needs the authority of the members' certificates: --ca FILE or QUORATE_CA"
                    .into(),
            ));
        };
        let roots = TrustFile(ca.clone()).load().map_err(refused)?;
        let pair = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let files = CertificateFiles {
                    cert: cert.clone(),
                    key: key.clone(),
                };
                Some(files.load(wall_time()).map_err(refused)?)
            }
            _ => None,
        };
        let own = pair.as_ref().and_then(|pair| {
            let identity = CertificateIdentity::from_certificate(pair.leaf());
            identity.ok().map(|identity| identity.domain)
        });
        let expected = match own.or_else(|| roots.domain()) {
            Some(domain) => ExpectedServer::MemberOrHost { domain },
            None => ExpectedServer::Host,
        };
        let client = ReloadedClient::new(&roots, pair.as_ref(), expected).map_err(refused)?;
        Ok(Some(client.config()))
    }
}
