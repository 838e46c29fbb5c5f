//! The fingerprint of a message: it differs between two messages under one idempotency key.
//!
//! SHA-256, so that nobody can make two messages of which the log takes one for the other. It is
//! the same on every member and in every version, for it is part of the log. Each part has its
//! length before it and each list its count, so that no two messages give the same bytes.

use quorate_proto::connector::{Header, Send};
use sha2::{Digest, Sha256};

/// Hashes everything that the caller gave.
pub(super) fn fingerprint(message: &Send) -> [u8; 32] {
    let mut hash = Sha256::new();
    part(&mut hash, message.message_id.as_bytes());
    part(&mut hash, message.content_type.as_bytes());
    list(&mut hash, &message.headers);
    list(&mut hash, &message.properties);
    part(&mut hash, &message.body);
    if !message.types.is_empty() {
        let mut types: Vec<_> = message.types.iter().collect();
        types.sort_unstable_by(|a, b| (&a.name, &a.kind).cmp(&(&b.name, &b.kind)));
        for it in types {
            part(&mut hash, it.name.as_bytes());
            part(&mut hash, it.kind.as_bytes());
        }
    }
    hash.finalize().into()
}

fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// Hashes a map in an order of its own: the caller's may change on the way to the connector server.
fn list(hash: &mut Sha256, headers: &[Header]) {
    let pairs = headers.iter().map(|it| (it.name.as_bytes(), &*it.value));
    let mut pairs: Vec<(&[u8], &[u8])> = pairs.collect();
    pairs.sort_unstable();
    hash.update((pairs.len() as u64).to_le_bytes());
    for (name, value) in pairs {
        part(hash, name);
        part(hash, value);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use quorate_proto::connector::HeaderType;

    use super::*;

    fn header(name: &str, value: &str) -> Header {
        Header {
            name: name.into(),
            value: value.to_owned().into(),
        }
    }

    fn typed(name: &str, kind: &str) -> HeaderType {
        HeaderType {
            name: name.into(),
            kind: kind.into(),
        }
    }

    fn message() -> Send {
        Send {
            message_id: "m".into(),
            content_type: "text/plain".into(),
            headers: vec![header("a", "1"), header("b", "2")],
            properties: vec![header("p", "3")],
            body: "body".into(),
            ..Send::default()
        }
    }

    #[test]
    fn header_order_and_member_headers_keep_fingerprint() {
        let same = Send {
            headers: vec![header("b", "2"), header("a", "1")],
            cid: "K01".into(),
            send: 7,
            within_ms: 9,
            ..message()
        };
        assert_eq!(fingerprint(&same), fingerprint(&message()));
    }

    // guarantee: SEND-5
    #[test]
    fn each_part_and_its_place_count() {
        let change = |change: fn(&mut Send)| {
            let mut message = message();
            change(&mut message);
            message
        };
        let others = [
            change(|it| it.message_id = "n".into()),
            change(|it| it.content_type = "text/html".into()),
            change(|it| it.body = "Body".into()),
            change(|it| it.headers[0].value = "2".into()),
            change(|it| it.headers[0].name = "c".into()),
            change(|it| it.headers.push(header("a", "1"))),
            change(|it| it.types.push(typed("a", "long"))),
            change(|it| it.types.push(typed("b", "long"))),
            // What moves from one part into the next one.
            change(|it| {
                it.message_id = "mtext/".into();
                it.content_type = "plain".into();
            }),
            change(|it| {
                let moved = it.headers.remove(1);
                it.properties.push(moved);
            }),
            change(|it| {
                it.headers.clear();
                it.headers.push(header("a1b", "2"));
            }),
            change(|it| {
                it.properties.clear();
                it.body = "p3body".into();
            }),
        ];
        let mut seen = BTreeSet::from([fingerprint(&message())]);
        for other in others {
            assert!(seen.insert(fingerprint(&other)), "{other:?}");
        }
    }

    /// The fingerprint is part of the log, so it can't change from one version to the next.
    #[test]
    fn fingerprint_is_stable_across_versions() {
        let hex: String = fingerprint(&message())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hex,
            "963a2bbc4e72e5ca43af4de20fce5b468338b7c697c0249ef945f47d99adcbe0"
        );
    }
}
