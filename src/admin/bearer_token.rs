//! Bearer tokens as they are written: `qt1_ID_SECRET_CHECK`.
//!
//! The prefix lets scanners find one that was published by mistake, the check tells a mistyped one
//! from a wrong one. The secret has 256 random bits from the process's generator, which is a
//! cryptographic one; the state holds its hash alone.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use quorate_clock::id128;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const PREFIX: &str = "qt1_";
const ID_CHARS: usize = 8;
/// 32 bytes in base64url.
const SECRET_CHARS: usize = 43;
/// 4 bytes in base64url.
const CHECK_CHARS: usize = 6;
const CHARS: usize = PREFIX.len() + ID_CHARS + 1 + SECRET_CHARS + 1 + CHECK_CHARS;

/// A token with its secret.
pub(super) struct BearerToken {
    pub id: String,
    secret: String,
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BearerToken({})", self.id)
    }
}

impl BearerToken {
    /// Draws a new token.
    pub(super) fn random() -> BearerToken {
        const DIGITS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let drawn = id128().to_le_bytes();
        let digit = |byte: &u8| char::from(DIGITS[usize::from(*byte) % DIGITS.len()]);
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&id128().to_le_bytes());
        bytes[16..].copy_from_slice(&id128().to_le_bytes());
        BearerToken {
            id: drawn[..ID_CHARS].iter().map(digit).collect(),
            secret: URL_SAFE_NO_PAD.encode(bytes),
        }
    }

    /// Reads a token; `None` for what is none, or a mistyped one.
    pub(super) fn parse(text: &str) -> Option<BearerToken> {
        if text.len() != CHARS || !text.is_ascii() {
            return None;
        }
        let (id, rest) = text.strip_prefix(PREFIX)?.split_at(ID_CHARS);
        let (secret, _) = rest.strip_prefix('_')?.split_at(SECRET_CHARS);
        let token = BearerToken {
            id: id.to_owned(),
            secret: secret.to_owned(),
        };
        (token.text() == text).then_some(token)
    }

    /// Returns the whole token: shown once, and never logged.
    pub(super) fn text(&self) -> String {
        let body = format!("{PREFIX}{}_{}", self.id, self.secret);
        let check = URL_SAFE_NO_PAD.encode(crc32c::crc32c(body.as_bytes()).to_be_bytes());
        format!("{body}_{check}")
    }

    /// Returns the hash by which the state knows it.
    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret.as_bytes()).into()
    }

    /// Compares with a known hash, in constant time.
    pub(super) fn is_of(&self, hash: &[u8; 32]) -> bool {
        self.hash().ct_eq(hash).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_read_as_it_was_written() {
        for _ in 0..100 {
            let token = BearerToken::random();
            let text = token.text();
            assert_eq!(text.len(), CHARS);
            let read = BearerToken::parse(&text).expect("a token");
            assert!(read.id == token.id && read.is_of(&token.hash()));
            assert!(!read.is_of(&BearerToken::random().hash()));
            assert!(!format!("{token:?}").contains(&token.secret));
        }
    }

    /// Security test 65, in part: no text makes the reader fail.
    #[test]
    fn mistyped_token_is_none() {
        let text = BearerToken::random().text();
        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let mistyped = String::from_utf8(bytes).unwrap();
            assert!(BearerToken::parse(&mistyped).is_none(), "{position}");
            assert!(BearerToken::parse(&text[..position]).is_none());
        }
        for none in ["", "qt1_", &"\u{fc}".repeat(CHARS / 2), &"_".repeat(CHARS)] {
            assert!(BearerToken::parse(none).is_none(), "{none}");
        }
        assert!(BearerToken::parse(&format!("{text} ")).is_none());
    }
}
