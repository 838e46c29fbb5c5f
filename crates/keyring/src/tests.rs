use proptest::prelude::*;

use super::*;
use crate::derivation::derive;

const PLACE: SecretPlace<'_> = SecretPlace {
    cluster: "c1",
    kind: "amqp_connection",
    name: "rabbit",
    field: "password",
    shown: None,
};

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn array(hex: &str) -> [u8; 32] {
    bytes(hex).try_into().unwrap()
}

/// The key whose bytes are 0 to 31.
fn counting_key(version: u32) -> ClusterKey {
    let counting: [u8; 32] = std::array::from_fn(|n| n as u8);
    ClusterKey {
        version,
        bytes: counting.into(),
    }
}

/// RFC 7748, 6.1: Bob's.
#[test]
fn public_key_is_that_of_the_rfc() {
    let private = array("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    let public = array("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    let key = SealKey::from_bytes(&private);
    assert_eq!(key.public(), PublicSealKey(public));
    assert_eq!(*key.to_bytes(), private);
}

/// RFC 5869, test cases 1 and 3, as far as 32 bytes go.
#[test]
fn derived_keys_are_those_of_the_rfc() {
    let material = [0x0b; 22];
    let salt = bytes("000102030405060708090a0b0c");
    let info = bytes("f0f1f2f3f4f5f6f7f8f9");
    assert_eq!(
        *derive(&material, &salt, &info),
        array("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf")
    );
    assert_eq!(
        *derive(&material, &[], &[]),
        array("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d")
    );
}

/// The same by Python's `cryptography`, over the layout that the crate's documents describe.
#[test]
fn sealed_forms_are_those_of_another_implementation() {
    let key = counting_key(7);
    let salt: [u8; 32] = std::array::from_fn(|n| 100 + n as u8);
    let sealed = key.seal_by(PLACE, "hunter2", salt);
    assert_eq!(
        sealed.ciphertext,
        bytes(
            "876997a4b2a462d21da9c2a344368887e3be41f56c3023cfaccac3d1b4ca1e760c5c76a80fe5b1cb7d379ecfc0109017"
        )
    );
    assert_eq!(
        sealed.fingerprint[..],
        bytes("9c2d45f6011dd199aa986aebcabcf276")
    );
    assert_eq!(
        key.check_value()[..],
        bytes("89d76869efc79ed9e52de2c28143d5c3")
    );
    let (ephemeral, recipient) = (SealKey::from_bytes(&[1; 32]), SealKey::from_bytes(&[2; 32]));
    let boxed = key.wrap_by("c1", recipient.public(), &ephemeral).unwrap();
    assert_eq!(boxed.len(), WRAPPED_BYTES);
    assert_eq!(
        boxed,
        bytes(
            "01a4e09292b651c278b9772c569f5fa9bb13d906b46ab68c9df9dc2b4409f8a209bf4e9200cf784aa6dbbde993a0aa7e924f917aae7cc318431e9f776c1e907f3e3c3fe89ed93db0304670fe426098692e"
        )
    );
    assert_eq!(
        recovery_key_to_text(&recipient).as_str(),
        "qr1_AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgJ1h3s"
    );
}

#[test]
fn box_opens_for_its_member_alone() {
    let key = ClusterKey::generate(3).unwrap();
    let (own, other) = (SealKey::generate().unwrap(), SealKey::generate().unwrap());
    let boxed = key.wrap("c1", own.public()).unwrap();
    let opened = ClusterKey::unwrap("c1", 3, &own, &boxed).unwrap();
    assert_eq!(*opened.bytes, *key.bytes);
    assert_eq!(opened.check_value(), key.check_value());
    let fails = |cluster, version, own, boxed: &[u8]| {
        ClusterKey::unwrap(cluster, version, own, boxed).unwrap_err()
    };
    assert_eq!(fails("c1", 3, &other, &boxed), OpenError::NotGenuine);
    assert_eq!(fails("c2", 3, &own, &boxed), OpenError::NotGenuine);
    assert_eq!(fails("c1", 4, &own, &boxed), OpenError::NotGenuine);
    for at in 0..boxed.len() {
        let mut flipped = boxed.clone();
        flipped[at] ^= 1;
        assert!(ClusterKey::unwrap("c1", 3, &own, &flipped).is_err(), "{at}");
        assert!(ClusterKey::unwrap("c1", 3, &own, &boxed[..at]).is_err());
    }
}

#[test]
fn nothing_is_boxed_for_weak_keys() {
    let key = ClusterKey::generate(1).unwrap();
    let mut one = [0; 32];
    one[0] = 1;
    for weak in [[0; 32], one] {
        let weak = PublicSealKey(weak);
        assert_eq!(key.wrap("c1", weak), Err(WrapError::WeakKey(weak)));
    }
}

/// Security tests 40 and 41: a sealed text opens in its place alone, and two forms of one text
/// share a fingerprint in one place alone.
// guarantee: SECURITY-21
#[test]
fn sealed_secret_opens_in_its_place_alone() {
    let key = ClusterKey::generate(1).unwrap();
    let sealed = key.seal(PLACE, "hunter2").unwrap();
    assert_eq!(*key.open(PLACE, &sealed).unwrap(), "hunter2");
    let again = key.seal(PLACE, "hunter2").unwrap();
    assert_ne!(again.ciphertext, sealed.ciphertext);
    assert_eq!(again.fingerprint, sealed.fingerprint);
    for place in [
        SecretPlace {
            cluster: "c2",
            ..PLACE
        },
        SecretPlace {
            kind: "api_key",
            ..PLACE
        },
        SecretPlace {
            name: "rabbi",
            ..PLACE
        },
        SecretPlace {
            field: "key",
            ..PLACE
        },
        SecretPlace {
            shown: Some(""),
            ..PLACE
        },
        // The border between two parts counts too.
        SecretPlace {
            kind: "amqp_connectionr",
            name: "abbit",
            ..PLACE
        },
    ] {
        assert_eq!(key.open(place, &sealed), Err(OpenError::NotGenuine));
        assert_ne!(key.fingerprint(place, "hunter2"), sealed.fingerprint);
    }
    let other = ClusterKey::generate(1).unwrap();
    assert_eq!(other.open(PLACE, &sealed), Err(OpenError::NotGenuine));
    assert_ne!(other.fingerprint(PLACE, "hunter2"), sealed.fingerprint);
    let next = ClusterKey::generate(2).unwrap();
    let (sealed_by, held) = (1, 2);
    assert_eq!(
        next.open(PLACE, &sealed),
        Err(OpenError::OtherVersion {
            sealed: sealed_by,
            held
        })
    );
}

#[test]
fn debug_output_shows_no_private_key() {
    let own = SealKey::from_bytes(&[0x5a; 32]);
    let key = counting_key(1);
    let text = format!("{own:?} {own:#?} {key:?}");
    assert!(text.contains("(hidden)"), "{text}");
    for secret in ["5a5a5a5a", "90, 90, 90", "1, 2, 3", "010203"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn recovery_text_with_a_slip_is_refused() {
    let key = SealKey::generate().unwrap();
    let text = recovery_key_to_text(&key);
    let read = recovery_key_from_text(&format!(" {}\n", &*text)).unwrap();
    assert_eq!(read.public(), key.public());
    for at in 0..text.len() {
        let mut slip = text.as_bytes().to_vec();
        slip[at] = if slip[at] == b'A' { b'B' } else { b'A' };
        let slip = String::from_utf8(slip).unwrap();
        assert!(recovery_key_from_text(&slip).is_err(), "{at}");
        assert!(recovery_key_from_text(&text[..at]).is_err(), "{at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_text_comes_back(text in ".{0,200}", zeros in 0..70usize) {
        let text = text + &"\0".repeat(zeros);
        let key = counting_key(1);
        let sealed = key.seal(PLACE, &text).unwrap();
        prop_assert_eq!(sealed.ciphertext.len() % 32, 16);
        prop_assert_eq!(&*key.open(PLACE, &sealed).unwrap(), &text);
    }

    #[test]
    fn any_flipped_bit_is_found(text in ".{0,80}", at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let key = counting_key(1);
        let mut sealed = key.seal(PLACE, &text).unwrap();
        let at = at.index(sealed.ciphertext.len() + SALT_BYTES);
        match at.checked_sub(SALT_BYTES) {
            Some(at) => sealed.ciphertext[at] ^= 1 << bit,
            None => sealed.salt[at] ^= 1 << bit,
        }
        prop_assert_eq!(key.open(PLACE, &sealed), Err(OpenError::NotGenuine));
    }

    #[test]
    fn cut_forms_are_errors(cut in 0..48usize) {
        let key = counting_key(1);
        let mut sealed = key.seal(PLACE, "hunter2").unwrap();
        sealed.ciphertext.truncate(cut);
        prop_assert!(key.open(PLACE, &sealed).is_err());
    }
}
