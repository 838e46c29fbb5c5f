//! The certificates of a member, as its report and the cluster's status show them.

use std::time::SystemTime;

use quorate_tls::{CertificateExpiry, MemberTls, Reloadable};
use serde::{Deserialize, Serialize};

const DAY_S: u64 = 86_400;

/// The days before the end of a certificate's time from which a person should look at it.
const WARN_DAYS: u64 = 30;

/// A certificate of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRow {
    /// The use of the certificate: `member`, or `ca` for the authority that lasts longest.
    pub what: String,
    /// The end of its time: RFC 3339, UTC.
    pub not_after: String,
    /// The seconds that are left; 0 once it has expired.
    pub left_s: u64,
}

/// Lists the certificates of a member; none without TLS.
pub(super) fn rows(tls: Option<&MemberTls>, now: SystemTime) -> Vec<CertificateRow> {
    let expiries = tls.map(MemberTls::expiries).unwrap_or_default();
    let rows = expiries.into_iter().map(|expiry| {
        let CertificateExpiry { what, validity } = expiry;
        CertificateRow {
            what,
            not_after: humantime::format_rfc3339_seconds(validity.not_after).to_string(),
            left_s: validity.left(now).as_secs(),
        }
    });
    rows.collect()
}

/// Warns of a certificate that expires soon, or has.
pub(super) fn expiring(member: &str, row: &CertificateRow) -> Option<String> {
    let CertificateRow {
        what,
        not_after,
        left_s,
    } = row;
    if *left_s > WARN_DAYS * DAY_S {
        return None;
    }
    let (subject, remedy) = match what.as_str() {
        "ca" => (
            format!("the authority that {member} trusts"),
            "add a new one to the file tls.ca of every member, then issue new certificates",
        ),
        _ => (
            format!("the {what} certificate of {member}"),
            "write a new one to its files (`quorate cert issue` makes one), and it is taken within a minute",
        ),
    };
    let when = match left_s / DAY_S {
        _ if *left_s == 0 => format!("has expired at {not_after}"),
        0 => format!("expires today, at {not_after}"),
        1 => format!("expires in 1 day, at {not_after}"),
        days => format!("expires in {days} days, at {not_after}"),
    };
    Some(format!("{subject} {when}: {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(what: &str, left_s: u64) -> CertificateRow {
        CertificateRow {
            what: what.into(),
            not_after: "2027-01-01T00:00:00Z".into(),
            left_s,
        }
    }

    #[test]
    fn expiring_certificate_is_warned_of_with_remedy() {
        assert_eq!(expiring("a", &row("member", 31 * DAY_S)), None);
        for (left, text) in [
            (30 * DAY_S, "in 30 days"),
            (DAY_S + 7, "in 1 day,"),
            (7, "today"),
            (0, "has expired"),
        ] {
            let told = expiring("a", &row("member", left)).unwrap();
            for text in [text, "member certificate of a", "cert issue", "2027-01-01"] {
                assert!(told.contains(text), "{text} is not in: {told}");
            }
        }
        let ca = expiring("a", &row("ca", DAY_S)).unwrap();
        assert!(ca.contains("tls.ca") && ca.contains("authority"), "{ca}");
    }
}
