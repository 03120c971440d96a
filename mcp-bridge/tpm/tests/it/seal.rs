//! A key sealed on one machine comes back there, after a reboot too, and nowhere else.

use std::net::TcpStream;
use std::time::Duration;

use mcp_bridge_tpm::sealer::trial;
use mcp_bridge_tpm::{
    Credential, CredentialFile, SealOptions, SealedCredential, Sealer as _, TpmError, TpmObject,
    UnsealOptions, VaultBinding,
};
use secrecy::ExposeSecret as _;

use crate::swtpm::{Swtpm, assert_unseals, bound, key, refusal, sealed};

#[tokio::test]
async fn a_key_survives_a_reboot() {
    let Some(mut tpm) = Swtpm::start() else { return };
    trial(&tpm.sealer(), &SealOptions::default()).await.unwrap();
    let object = sealed(&tpm).await;
    assert!(!object.policy.pin && object.policy.pcrs.is_empty());
    assert_unseals(&tpm, &object).await;
    tpm.reboot();
    assert_unseals(&tpm, &object).await;
    tpm.assert_empty();
}

#[tokio::test]
async fn another_tpm_and_a_cleared_one_refuse() {
    let (Some(tpm), Some(other)) = (Swtpm::start(), Swtpm::start()) else { return };
    let object = sealed(&tpm).await;
    let error = refusal(&other, &object).await;
    assert_eq!((&error, error.exit_code()), (&TpmError::OtherTpm, 13));
    assert!(error.to_string().contains("issued again"), "{error}");

    // With the recorded Name bent to the other's, the TPM itself refuses.
    let mut bent = object.clone();
    bent.parent = sealed(&other).await.parent;
    assert_ne!(bent.parent.name, object.parent.name);
    assert_eq!(refusal(&other, &bent).await, TpmError::Integrity);
    other.assert_empty();

    tpm.tool("tpm2_clear", &[]);
    assert_eq!(refusal(&tpm, &object).await, TpmError::OtherTpm);
}

#[tokio::test]
async fn a_tpm_tells_about_itself() {
    let (Some(tpm), Some(other)) = (Swtpm::start(), Swtpm::start()) else { return };
    let info = tpm.sealer().info().await.unwrap();
    assert_eq!((info.maker.manufacturer.as_str(), info.maker.vendor.as_str()), ("IBM", "SW   TPM"));
    assert!(info.maker.is_software() && info.maker.label().contains("virtual"));
    assert!(info.pcr_banks.iter().any(|bank| bank == "sha256"), "{:?}", info.pcr_banks);
    assert_eq!((info.lockout.counter, info.lockout.max_tries), (0, 3));
    assert!(!info.lockout.locked && !info.owner_password && !info.lockout_password);
    assert!(info.has_parent_of(&sealed(&tpm).await));
    assert!(!info.has_parent_of(&sealed(&other).await));
    tpm.assert_empty();
}

#[tokio::test]
async fn only_what_has_a_pin_is_inside_the_guard_against_guessing() {
    let Some(tpm) = Swtpm::start() else { return };
    // The attributes stand after the size, the type and the name's algorithm (TPM 2.0 Library, part
    // 2, sections 12.2.4 and 8.3): fixedTPM, fixedParent, adminWithPolicy, and noDA.
    let attributes = |object: &TpmObject| object.public.0[6..10].to_vec();
    assert_eq!(attributes(&sealed(&tpm).await), [0, 0, 0x04, 0x92]);
    let pinned = tpm.sealer().seal(&key(), &bound("", Some("2580"))).await.unwrap();
    assert_eq!(attributes(&pinned), [0, 0, 0, 0x92]);
}

#[tokio::test]
async fn many_unsealings_leave_nothing_in_the_tpm() {
    let Some(tpm) = Swtpm::start() else { return };
    let object = sealed(&tpm).await;
    for _ in 0..20 {
        assert_unseals(&tpm, &object).await;
    }
    tpm.assert_empty();
}

/// Without a resource manager the TPM's three slots are for all at once: who finds none is told so,
/// and nothing worse happens.
#[tokio::test]
async fn unsealings_at_once_end_well_or_are_told_that_it_is_busy() {
    let Some(tpm) = Swtpm::start() else { return };
    let object = sealed(&tpm).await;
    let all: [_; 8] = std::array::from_fn(|_| {
        let (sealer, object) = (tpm.sealer(), object.clone());
        tokio::spawn(async move { sealer.unseal(&object, &UnsealOptions::default()).await })
    });
    let mut good = 0;
    for one in all {
        match one.await.unwrap() {
            Ok(back) => {
                assert!(back.matches(&key()));
                good += 1;
            }
            Err(error) => assert!(matches!(error, TpmError::Busy { .. }), "{error:?}"),
        }
    }
    assert!(good > 0);
    assert_unseals(&tpm, &object).await;
    tpm.assert_empty();
}

#[tokio::test]
async fn a_tpm_in_use_is_waited_for_up_to_the_limit() {
    let Some(tpm) = Swtpm::start() else { return };
    let object = sealed(&tpm).await;
    let taken = TcpStream::connect(("127.0.0.1", tpm.port())).unwrap();
    let hasty = tpm.sealer().with_limit(Duration::from_secs(1));
    assert_eq!(
        hasty.unseal(&object, &UnsealOptions::default()).await.unwrap_err(),
        TpmError::Timeout { seconds: 1 }
    );
    drop(taken);
    assert_unseals(&tpm, &object).await;
}

#[tokio::test]
async fn a_credential_goes_to_disk_and_comes_back() {
    let Some(tpm) = Swtpm::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = CredentialFile::new(folder.path().join("state/credential.sealed"));
    let credential = Credential {
        role_id: "canary-role".into(),
        secret_id: "canary-secret".into(),
        secret_id_accessor: "accessor".into(),
        role_name: None,
        issued_at: 1,
        expires_at: Some(2),
        num_uses: 0,
        vault: VaultBinding {
            address: "https://vault.example:8200".into(),
            namespace: None,
            auth_mount: "approle".into(),
            ca_sha256: None,
            tls_server_name: None,
        },
        previous_accessor: None,
    };
    let container =
        SealedCredential::seal(&credential, &tpm.sealer(), &SealOptions::default()).await.unwrap();
    file.lock(Duration::from_secs(1)).await.unwrap().write(&container).unwrap();

    let text = std::fs::read_to_string(file.path()).unwrap();
    assert!(text.len() < 2048, "{} bytes", text.len());
    assert!(!text.contains("canary"), "{text}");
    let header = format!("{:?}", file.read().unwrap().header());
    assert!(!header.contains("vault.example") && !header.contains("canary"), "{header}");

    let back = file.read().unwrap().open(&tpm.sealer(), &UnsealOptions::default()).await.unwrap();
    assert_eq!(back.vault, credential.vault);
    assert_eq!(back.secret_id_accessor, "accessor");
    #[expect(clippy::disallowed_methods, reason = "compares what was kept with what came back")]
    let pair = (back.role_id.expose_secret(), back.secret_id.expose_secret());
    assert_eq!(pair, ("canary-role", "canary-secret"));
}
