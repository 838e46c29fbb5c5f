//! The settings `[tls]`: the files by which members know each other.

use std::path::Path;

use quorate_tls::{CertificateFiles, MemberTlsFiles, RevocationFile, TrustFile};

use super::reader::SettingsReader;

const MAKE: &str = "`quorate cert create-ca` and `quorate cert issue` make all three";

/// Reads `tls.pki`, `tls.cert`, `tls.key`, `tls.ca` and `tls.crl`; `None` without any of them, and
/// after an error.
pub(super) fn read(r: &mut SettingsReader, folder: &Path) -> Option<MemberTlsFiles> {
    let what = "\"files\": with your own certificates, in tls.cert, tls.key and tls.ca";
    let pki = r.text("tls.pki", what);
    let mut is_wanted = pki.is_some();
    if let Some((text, given)) = pki
        && text != "files"
    {
        let problem = match text.as_str() {
            "cluster" => {
                format!(
                    "certificates by the cluster itself are not there yet; must be {what}; {MAKE}"
                )
            }
            _ => format!("must be {what}; {MAKE}"),
        };
        r.bad("tls.pki", Some(&given), problem);
    }
    let mut path = |key: &str| {
        let path = r.optional_path(key);
        is_wanted |= path.is_some();
        path.map(|path| folder.join(path))
    };
    let (cert, key, ca) = (path("tls.cert"), path("tls.key"), path("tls.ca"));
    let crl = path("tls.crl").map(RevocationFile);
    if !is_wanted {
        return None;
    }
    for (name, given) in [("tls.cert", &cert), ("tls.key", &key), ("tls.ca", &ca)] {
        if given.is_none() {
            let problem = format!("is missing; TLS needs tls.cert, tls.key and tls.ca: {MAKE}");
            r.bad(name, None, problem);
        }
    }
    Some(MemberTlsFiles {
        pair: CertificateFiles {
            cert: cert?,
            key: key?,
        },
        ca: TrustFile(ca?),
        crl,
    })
}
