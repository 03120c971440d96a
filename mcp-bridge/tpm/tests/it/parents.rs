//! The storage key is found by its Name, whatever others keep in the TPM.

use mcp_bridge_tpm::object::SRK_HANDLE;
use mcp_bridge_tpm::{Sealer as _, TpmError};

use crate::swtpm::{SRK_ATTRIBUTES, Swtpm, assert_unseals, refusal, sealed};

const HANDLE: &str = "0x81000001";

#[tokio::test]
async fn the_same_key_made_persistent_later_serves() {
    let Some(tpm) = Swtpm::start() else { return };
    let before = sealed(&tpm).await;
    assert_eq!(before.parent.handle, None);
    tpm.persist("", &["-G", "ecc", "-a", SRK_ATTRIBUTES], HANDLE);
    assert_unseals(&tpm, &before).await;

    let after = sealed(&tpm).await;
    assert_eq!((after.parent.handle, &after.parent.name), (Some(SRK_HANDLE), &before.parent.name));
    assert_unseals(&tpm, &after).await;
    tpm.evict(HANDLE);
    assert_unseals(&tpm, &after).await;
    tpm.assert_empty();
}

#[tokio::test]
async fn foreign_keys_at_the_handle_are_passed_over() {
    let Some(tpm) = Swtpm::start() else { return };
    let before = sealed(&tpm).await;
    let signing = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign";
    for arguments in [
        &["-G", "rsa"][..],
        &["-G", "ecc:null:null", "-a", signing],
        &["-G", "ecc", "-a", SRK_ATTRIBUTES, "-p", "secret"],
    ] {
        tpm.persist("", arguments, HANDLE);
        assert_unseals(&tpm, &before).await;
        let after = sealed(&tpm).await;
        assert_eq!(after.parent.handle, None, "{arguments:?}");
        assert_unseals(&tpm, &after).await;
        assert_eq!(tpm.sealer().info().await.unwrap().lockout.counter, 0, "{arguments:?}");
        tpm.assert_empty();
        tpm.evict(HANDLE);
    }
}

#[tokio::test]
async fn a_persistent_key_of_another_template_serves_while_it_is_there() {
    let Some(tpm) = Swtpm::start() else { return };
    tpm.persist("", &["-G", "rsa", "-a", SRK_ATTRIBUTES], HANDLE);
    let object = sealed(&tpm).await;
    assert_eq!(object.parent.handle, Some(SRK_HANDLE));
    assert_unseals(&tpm, &object).await;
    tpm.evict(HANDLE);
    assert_eq!(refusal(&tpm, &object).await, TpmError::OtherTpm);
}

#[tokio::test]
async fn an_owner_password_is_told_and_a_persistent_key_gets_around_it() {
    let Some(tpm) = Swtpm::start() else { return };
    let before = sealed(&tpm).await;
    tpm.tool("tpm2_changeauth", &["-c", "owner", "secret"]);
    let error = refusal(&tpm, &before).await;
    assert_eq!((&error, error.exit_code()), (&TpmError::OwnerPassword, 11));
    let info = tpm.sealer().info().await.unwrap();
    assert!(info.owner_password && info.parents.is_empty(), "{info:?}");
    tpm.assert_empty();

    tpm.persist("secret", &["-G", "ecc", "-a", SRK_ATTRIBUTES], HANDLE);
    assert_unseals(&tpm, &before).await;
}
