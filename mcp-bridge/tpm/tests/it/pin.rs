//! A PIN is counted by the TPM; a key without one is out of reach of the count.

use mcp_bridge_tpm::{Sealer as _, TpmError, UnsealOptions};

use crate::swtpm::{Swtpm, assert_unseals, bound, forced, key, refusal, sealed, with_pin};

#[tokio::test]
async fn wrong_pins_lock_what_has_a_pin_and_nothing_else() {
    let Some(tpm) = Swtpm::start() else { return };
    let sealer = tpm.sealer();
    let open = sealed(&tpm).await;
    let object = sealer.seal(&key(), &bound("7", Some("2580"))).await.unwrap();
    assert!(object.policy.pin);
    assert_eq!(refusal(&tpm, &object).await, TpmError::PinMissing);
    assert!(sealer.unseal(&object, &with_pin("2580")).await.unwrap().matches(&key()));

    let refused =
        async |options: UnsealOptions| sealer.unseal(&object, &options).await.unwrap_err();
    assert_eq!(refused(with_pin("0000")).await, TpmError::WrongPin { tries_left: Some(2) });
    assert_eq!(refused(with_pin("0000")).await, TpmError::WrongPin { tries_left: Some(1) });
    // The last try is kept from everybody, right PIN or wrong.
    let error = refused(with_pin("2580")).await;
    assert!(matches!(error, TpmError::NearLockout { counter: 2, max_tries: 3, .. }), "{error:?}");
    assert_eq!(refused(forced("0000")).await, TpmError::WrongPin { tries_left: Some(0) });
    let locked = refused(forced("2580")).await;
    assert!(matches!(locked, TpmError::Lockout { wait_seconds: 1.. }), "{locked:?}");
    assert_eq!(locked.exit_code(), 15);
    assert!(sealer.info().await.unwrap().lockout.locked);
    tpm.assert_empty();

    assert_unseals(&tpm, &open).await;
    tpm.tool("tpm2_dictionarylockout", &["--clear-lockout"]);
    assert!(sealer.unseal(&object, &with_pin("2580")).await.unwrap().matches(&key()));
}

#[tokio::test]
async fn a_header_that_denies_the_pin_changes_nothing() {
    let Some(tpm) = Swtpm::start() else { return };
    let mut object = tpm.sealer().seal(&key(), &bound("", Some("2580"))).await.unwrap();
    object.policy.pin = false;
    let error = refusal(&tpm, &object).await;
    assert!(matches!(error, TpmError::PolicyMismatch { .. }), "{error:?}");
    assert_eq!(tpm.sealer().info().await.unwrap().lockout.counter, 0);
}

#[tokio::test]
async fn power_cuts_do_not_lock_a_key_without_a_pin() {
    let Some(mut tpm) = Swtpm::start() else { return };
    let open = sealed(&tpm).await;
    let pinned = tpm.sealer().seal(&key(), &bound("", Some("2580"))).await.unwrap();
    for _ in 0..3 {
        // Its use is what makes the TPM count a power cut.
        tpm.sealer().unseal(&pinned, &forced("2580")).await.unwrap();
        tpm.cut_power();
    }
    assert!(tpm.sealer().info().await.unwrap().lockout.locked);
    assert_unseals(&tpm, &open).await;
}
