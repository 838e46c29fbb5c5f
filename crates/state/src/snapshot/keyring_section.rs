//! Section of a snapshot about the keyring: announced keys, and the cluster's key in boxes.

use std::io::{self, Write};

use bytes::Bytes;

use super::{
    bad,
    record_framing::RecordWriter,
    records::{Body, ClusterKeyRecord, KeyBoxRecord, KeyringRecord, SealKeyRecord},
};
use crate::{
    Keyring,
    keyring::{self, KeyVersion, MemberSealKey, SealPublicKey},
};

pub(super) fn write<W: Write>(keyring: &Keyring, out: &mut RecordWriter<W>) -> io::Result<()> {
    if *keyring == Keyring::default() {
        return Ok(());
    }
    let bytes = |key: &SealPublicKey| Bytes::copy_from_slice(key);
    out.record(Body::Keyring(KeyringRecord {
        revision: keyring.revision,
        recovery: keyring.recovery.as_ref().map(bytes),
    }))?;
    for (member, it) in &keyring.members {
        out.record(Body::SealKey(SealKeyRecord {
            member: *member,
            public_key: bytes(&it.public_key),
            pending: it.pending.as_ref().map(bytes),
        }))?;
    }
    for (version, it) in keyring.versions() {
        let boxes = it.boxes.iter().map(|(owner, content)| KeyBoxRecord {
            owner: *owner,
            content: content.clone(),
        });
        out.record(Body::ClusterKey(ClusterKeyRecord {
            version,
            added: it.added,
            check: it.check.clone(),
            boxes: boxes.collect(),
        }))?;
    }
    Ok(())
}

pub(super) fn restore(keyring: &mut Keyring, it: &KeyringRecord) -> io::Result<()> {
    keyring.revision = it.revision;
    keyring.recovery = it.recovery.as_ref().map(public_key).transpose()?;
    Ok(())
}

pub(super) fn restore_member(keyring: &mut Keyring, it: &SealKeyRecord) -> io::Result<()> {
    let key = MemberSealKey {
        public_key: public_key(&it.public_key)?,
        pending: it.pending.as_ref().map(public_key).transpose()?,
    };
    keyring.members.insert(it.member, key);
    Ok(())
}

pub(super) fn restore_version(keyring: &mut Keyring, it: ClusterKeyRecord) {
    let boxes = it.boxes.into_iter().map(|it| (it.owner, it.content));
    let version = KeyVersion {
        added: it.added,
        check: it.check,
        boxes: boxes.collect(),
    };
    keyring.versions.insert(it.version, version.into());
}

fn public_key(bytes: &Bytes) -> io::Result<SealPublicKey> {
    keyring::public_key(bytes)
        .map_err(|error| bad(format!("a sealing key of it {}", error.problem)))
}
