//! Tests of the kept credential against a sealer in memory.

use super::*;
use crate::Pin;
use crate::sealer::fake::FakeSealer;
use crate::sealer::trial;

fn credential() -> Credential {
    Credential {
        role_id: "canary-role".into(),
        secret_id: "canary-secret".into(),
        secret_id_accessor: "accessor".into(),
        role_name: Some("agent".into()),
        issued_at: 10,
        expires_at: None,
        num_uses: 3,
        vault: VaultBinding {
            address: "https://vault.example".into(),
            namespace: Some("team".into()),
            auth_mount: "approle".into(),
            ca_sha256: Some("00".repeat(32)),
            tls_server_name: Some("vault.example".into()),
        },
        previous_accessor: Some("older".into()),
    }
}

#[expect(clippy::disallowed_methods, reason = "compares what was kept with what came back")]
fn assert_same(back: &Credential) {
    let kept = credential();
    assert_eq!(back.role_id.expose_secret(), kept.role_id.expose_secret());
    assert_eq!(back.secret_id.expose_secret(), kept.secret_id.expose_secret());
    assert_eq!(back.secret_id_accessor, kept.secret_id_accessor);
    assert_eq!(back.role_name, kept.role_name);
    assert_eq!((back.issued_at, back.expires_at, back.num_uses), (10, None, 3));
    assert_eq!(back.vault, kept.vault);
    assert_eq!(back.previous_accessor, kept.previous_accessor);
}

#[tokio::test]
async fn a_credential_comes_back_whole() {
    let sealer = FakeSealer::default();
    trial(&sealer, &SealOptions::default()).await.unwrap();
    let sealed =
        SealedCredential::seal(&credential(), &sealer, &SealOptions::default()).await.unwrap();
    let read = SealedCredential::from_bytes(&sealed.to_bytes()).unwrap();
    assert_same(&read.open(&sealer, &UnsealOptions::default()).await.unwrap());
    assert_eq!(read.header().store, Store::Tpm2);
    assert!(!read.header().host.is_empty() && read.header().created > 1_700_000_000);
}

#[tokio::test]
async fn in_clear_no_tpm_is_asked() {
    let sealer = FakeSealer::default();
    let plain = SealedCredential::danger_in_clear(&credential()).unwrap();
    let read = SealedCredential::from_bytes(&plain.to_bytes()).unwrap();
    assert_same(&read.open(&sealer, &UnsealOptions::default()).await.unwrap());
    assert_eq!(sealer.unseals(), 0);
}

#[tokio::test]
async fn what_the_sealer_refuses_comes_through() {
    let sealer = FakeSealer::default();
    let options = SealOptions { pcrs: "7".parse().unwrap(), pin: Some(Pin::new("2580").unwrap()) };
    let sealed = SealedCredential::seal(&credential(), &sealer, &options).await.unwrap();
    let code = async |pin: Option<&str>| {
        let pin = pin.map(|pin| Pin::new(pin).unwrap());
        let options = UnsealOptions { pin, force: false };
        sealed.open(&sealer, &options).await.map_err(|error| error.exit_code())
    };
    assert_eq!(code(None).await.unwrap_err(), 14);
    assert_eq!(code(Some("0000")).await.unwrap_err(), 14);
    assert_same(&code(Some("2580")).await.unwrap());
    sealer.extend(7);
    assert_eq!(code(Some("2580")).await.unwrap_err(), 12);
    assert_eq!(
        sealed
            .open(&FakeSealer::default(), &UnsealOptions::default())
            .await
            .unwrap_err()
            .exit_code(),
        13
    );
    sealer.fail_with(Some(TpmError::Tpm12));
    assert_eq!(code(Some("2580")).await.unwrap_err(), 10);
}

#[test]
fn a_payload_from_before_the_server_name_is_read_and_one_without_it_is_written_as_then() {
    let payload = r#"{"role_id":"r","secret_id":"s","secret_id_accessor":"a","role_name":null,"issued_at":1,"expires_at":null,"num_uses":0,"vault":{"address":"https://v/","namespace":null,"auth_mount":"approle","ca_sha256":null},"previous_accessor":null}"#;
    let credential = decode(payload.as_bytes()).unwrap();
    assert_eq!(credential.vault.tls_server_name, None);
    assert_eq!(*encode(&credential).unwrap(), payload);
    let unknown = payload.replace("\"address\"", "\"more\":1,\"address\"");
    assert!(decode(unknown.as_bytes()).is_err());
}

#[tokio::test]
async fn nothing_of_it_shows_and_nothing_too_large_is_kept() {
    let shown = format!("{:?}", credential());
    assert!(!shown.contains("canary"), "{shown}");
    let huge = Credential { secret_id_accessor: "x".repeat(MAX_PAYLOAD_BYTES), ..credential() };
    let error = SealedCredential::danger_in_clear(&huge).unwrap_err();
    assert!(matches!(error, CredentialError::File(FileError::TooLarge)), "{error:?}");
}
