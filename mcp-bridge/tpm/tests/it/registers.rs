//! Registers bind a key only where that was asked for, and a change is named.

use mcp_bridge_tpm::{PcrSet, Sealer as _, TpmError, UnsealOptions};

use crate::swtpm::{Swtpm, assert_unseals, bound, key, refusal, sealed, sealer_at};
use crate::tap::Tap;

#[tokio::test]
async fn a_changed_register_is_named_and_undone() {
    let Some(tpm) = Swtpm::start() else { return };
    let object = tpm.sealer().seal(&key(), &bound("7,16", None)).await.unwrap();
    assert_unseals(&tpm, &object).await;
    assert_eq!(tpm.sealer().pcr_diff(&object.policy).await.unwrap(), []);

    tpm.extend(16);
    let drift = tpm.sealer().pcr_diff(&object.policy).await.unwrap();
    assert_eq!(drift.iter().map(|one| one.pcr).collect::<Vec<_>>(), [16]);
    let error = refusal(&tpm, &object).await;
    assert_eq!(error, TpmError::PolicyMismatch { drift });
    assert_eq!(error.exit_code(), 12);
    assert!(error.to_string().contains("PCR 16 (debugging) changed"), "{error}");
    tpm.assert_empty();

    tpm.tool("tpm2_pcrreset", &["16"]);
    assert_unseals(&tpm, &object).await;
}

#[tokio::test]
async fn registers_that_were_not_asked_for_may_change() {
    let Some(tpm) = Swtpm::start() else { return };
    let object = sealed(&tpm).await;
    tpm.extend(7);
    assert_unseals(&tpm, &object).await;
}

#[tokio::test]
async fn a_list_of_registers_that_was_edited_is_refused() {
    let Some(tpm) = Swtpm::start() else { return };
    let mut object = tpm.sealer().seal(&key(), &bound("7", None)).await.unwrap();
    object.policy.pcrs = PcrSet::default();
    let error = refusal(&tpm, &object).await;
    assert_eq!(error, TpmError::PolicyMismatch { drift: vec![] });
    assert!(error.to_string().contains("edited"), "{error}");
}

#[tokio::test]
async fn a_register_extended_in_the_middle_costs_a_retry() {
    let Some(tpm) = Swtpm::start() else { return };
    let tap = Tap::start(tpm.port());
    let object = tpm.sealer().seal(&key(), &bound("7", None)).await.unwrap();

    tap.race(3);
    let back = sealer_at(tap.port()).unseal(&object, &UnsealOptions::default()).await.unwrap();
    assert!(back.matches(&key()));
    assert_eq!(tap.unseals(), 4);

    // It ends: the tenth try is the last.
    tap.race(usize::MAX);
    let error = sealer_at(tap.port()).unseal(&object, &UnsealOptions::default()).await.unwrap_err();
    assert_eq!(error, TpmError::Busy { code: 0x128 });
    assert_eq!(tap.unseals(), 14);
    tpm.assert_empty();
}
