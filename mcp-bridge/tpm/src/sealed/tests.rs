//! Tests of the container: the stored form stays as it is, and no byte of it can be changed.

use std::collections::BTreeMap;

use super::*;
use crate::object::{BANK, Maker, ObjectPolicy, Parent, SRK_TEMPLATE};

/// A file as the first version wrote it. It must be read for ever.
const GOLDEN: &str = include_str!("golden.json");

const PAYLOAD: &[u8] = b"{\"a payload\":\"canary\"}";

fn key() -> DataKey {
    DataKey::from_slice(&[7; 32]).unwrap()
}

fn header() -> Header {
    Header {
        store: Store::Tpm2,
        created: 1_700_000_000,
        host: "host".into(),
        tpm2: Some(TpmObject {
            parent: Parent {
                name: format!("000b{}", "0f".repeat(32)),
                handle: None,
                template: SRK_TEMPLATE.into(),
            },
            policy: ObjectPolicy {
                bank: BANK.into(),
                pcrs: "7".parse().unwrap(),
                pcr_values: BTreeMap::from([(7, "00".repeat(32))]),
                pin: false,
            },
            tpm: Maker {
                manufacturer: "IBM".into(),
                vendor: "SW   TPM".into(),
                firmware: "8217.4131.22.13878".into(),
            },
            public: Blob(vec![1, 2, 3]),
            private: Blob(vec![4, 5, 6]),
        }),
    }
}

fn sealed() -> SealedCredential {
    SealedCredential::encrypt_with(header(), &key(), [9; NONCE_LEN], PAYLOAD).unwrap()
}

#[test]
fn the_stored_form_is_the_golden_one() {
    assert_eq!(String::from_utf8(sealed().to_bytes().to_vec()).unwrap(), GOLDEN);
    let read = SealedCredential::from_bytes(GOLDEN.as_bytes()).unwrap();
    assert_eq!(read.header(), &header());
    assert_eq!(&**read.decrypt(&key()).unwrap(), PAYLOAD);
}

#[test]
fn each_flipped_bit_of_the_file_is_noticed() {
    let bytes = GOLDEN.as_bytes();
    // The line's end alone may differ.
    for at in 0..bytes.len() - 1 {
        for bit in 0..8 {
            let mut edited = bytes.to_vec();
            edited[at] ^= 1 << bit;
            let opened =
                SealedCredential::from_bytes(&edited).and_then(|file| file.decrypt(&key()));
            assert!(opened.is_err(), "byte {at}, bit {bit}: {:?}", char::from(edited[at]));
        }
    }
}

#[test]
fn each_flipped_bit_of_what_is_authenticated_is_noticed() {
    let flips = |length: usize| (0..length).flat_map(|at| (0..8).map(move |bit| (at, 1 << bit)));
    let good = sealed();
    for (at, bit) in flips(good.raw_header.len()) {
        let mut edited = good.clone();
        edited.raw_header[at] ^= bit;
        assert!(edited.decrypt(&key()).is_err(), "header byte {at}");
    }
    let Body::Sealed { nonce, ciphertext } = &good.body else { panic!("not sealed") };
    for (at, bit) in flips(NONCE_LEN) {
        let (mut nonce, ciphertext) = (*nonce, ciphertext.clone());
        nonce[at] ^= bit;
        let edited = SealedCredential { body: Body::Sealed { nonce, ciphertext }, ..good.clone() };
        assert!(edited.decrypt(&key()).is_err(), "nonce byte {at}");
    }
    for (at, bit) in flips(ciphertext.len()) {
        let (nonce, mut ciphertext) = (*nonce, ciphertext.clone());
        ciphertext[at] ^= bit;
        let edited = SealedCredential { body: Body::Sealed { nonce, ciphertext }, ..good.clone() };
        assert!(edited.decrypt(&key()).is_err(), "ciphertext byte {at}");
    }
    assert!(good.decrypt(&DataKey::from_slice(&[8; 32]).unwrap()).is_err());
}

#[test]
fn the_header_is_authenticated_as_it_is_stored() {
    // The same meaning in other bytes.
    let mut edited = sealed();
    edited.raw_header.push(b' ');
    let read = SealedCredential::from_bytes(&edited.to_bytes()).unwrap();
    assert_eq!(read.header(), &header());
    assert!(matches!(read.decrypt(&key()), Err(FileError::Corrupt)));
}

#[test]
fn unknown_versions_fields_and_stores_are_refused() {
    let replaced = |from: &str, to: &str| {
        assert!(GOLDEN.contains(from), "{from}");
        SealedCredential::from_bytes(GOLDEN.replacen(from, to, 1).as_bytes())
    };
    let error = replaced("\"version\":1", "\"version\":2").unwrap_err();
    assert!(matches!(error, FileError::UnknownVersion { version: 2 }), "{error:?}");
    // A later version may have fields of its own, and is still named as what it is.
    let error = replaced("\"version\":1", "\"version\":2,\"more\":0").unwrap_err();
    assert!(matches!(error, FileError::UnknownVersion { version: 2 }), "{error:?}");
    for (from, to) in [
        ("\"version\":1", "\"version\":1,\"more\":0"),
        ("\"format\":\"mcp-bridge-sealed\"", "\"format\":\"other\""),
        ("\"nonce\":\"", "\"nonce\":\"AA"),
        ("\"ciphertext\"", "\"payload\""),
    ] {
        assert!(matches!(replaced(from, to), Err(FileError::Corrupt)), "{to}");
    }

    let with_header = |from: &str, to: &str| {
        let mut edited = sealed();
        let text = String::from_utf8(edited.raw_header).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        edited.raw_header = text.replacen(from, to, 1).into_bytes();
        SealedCredential::from_bytes(&edited.to_bytes())
    };
    for (from, to) in [
        ("\"host\"", "\"more\":0,\"host\""),
        ("\"pin\"", "\"more\":0,\"pin\""),
        ("\"tpm2\"", "\"keyring\""),
        ("\"tpm2\"", "\"plain-file\""),
        ("[7]", "[24]"),
    ] {
        assert!(matches!(with_header(from, to), Err(FileError::Corrupt)), "{to}");
    }
}

#[test]
fn a_payload_in_clear_is_labelled_and_never_shown() {
    let header = Header { store: Store::PlainFile, tpm2: None, ..header() };
    let text = String::from_utf8(PAYLOAD.to_vec()).unwrap();
    let plain = SealedCredential::in_clear(header, Zeroizing::new(text)).unwrap();
    let read = SealedCredential::from_bytes(&plain.to_bytes()).unwrap();
    assert_eq!(read.clear_payload().unwrap().as_bytes(), PAYLOAD);
    assert!(read.header().store.label().starts_with("NOT PROTECTED"));
    assert!(!format!("{read:?}").contains("canary"), "{read:?}");
    assert!(read.decrypt(&key()).is_err());
    assert!(sealed().clear_payload().is_none());
}

#[test]
fn two_seals_share_no_nonce() {
    let nonce = || match SealedCredential::encrypt(header(), &key(), PAYLOAD).unwrap().body {
        Body::Sealed { nonce, .. } => nonce,
        Body::Plain(_) => panic!("not sealed"),
    };
    assert_ne!(nonce(), nonce());
}
