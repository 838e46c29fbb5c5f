//! Wire format of actors, tokens and the voucher key.

use bytes::Bytes;
use quorate_proto::command::{self as wire, FieldError};

use super::{Actor, NewToken, VoucherKey};
use crate::field_errors::error;

impl From<&Actor> for wire::Actor {
    fn from(it: &Actor) -> Self {
        wire::Actor {
            identity: it.identity.to_string(),
            token: it.token.to_string(),
            unrestricted: it.unrestricted,
            via: it.via.to_string(),
            source: it.source.to_string(),
            member: it.member,
            now_ms: it.now_ms,
        }
    }
}

impl From<wire::Actor> for Actor {
    fn from(it: wire::Actor) -> Self {
        Actor {
            identity: it.identity.into(),
            token: it.token.into(),
            unrestricted: it.unrestricted,
            via: it.via.into(),
            source: it.source.into(),
            member: it.member,
            now_ms: it.now_ms,
        }
    }
}

impl From<&NewToken> for wire::CreateToken {
    fn from(it: &NewToken) -> Self {
        wire::CreateToken {
            id: it.id.clone(),
            hash: Bytes::copy_from_slice(&it.hash),
            identity: it.identity.clone(),
            now_ms: it.now_ms,
            not_after_ms: it.not_after_ms,
        }
    }
}

impl TryFrom<wire::CreateToken> for NewToken {
    type Error = FieldError;

    fn try_from(it: wire::CreateToken) -> Result<Self, FieldError> {
        Ok(NewToken {
            id: it.id,
            hash: bytes_32("hash", &it.hash)?,
            identity: it.identity,
            now_ms: it.now_ms,
            not_after_ms: it.not_after_ms,
        })
    }
}

pub(crate) fn voucher_key(bytes: &[u8]) -> Result<VoucherKey, FieldError> {
    bytes_32("key", bytes).map(VoucherKey::from)
}

pub(crate) fn bytes_32(field: &str, bytes: &[u8]) -> Result<[u8; 32], FieldError> {
    bytes.try_into().map_err(|_| {
        let problem = "is of a length that this version does not know";
        error(field, format!("{} bytes", bytes.len()), problem)
    })
}
