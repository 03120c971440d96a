//! The key isn't on the way to the TPM in clear, and other tools can open what we seal.

use std::fs;

use mcp_bridge_tpm::{SealOptions, Sealer as _, UnsealOptions};

use crate::swtpm::{SRK_ATTRIBUTES, Swtpm, bound, key, sealer_at, with_pin};
use crate::tap::Tap;

#[tokio::test]
async fn neither_key_nor_pin_passes_in_clear() {
    let Some(tpm) = Swtpm::start() else { return };
    let tap = Tap::start(tpm.port());
    let sealer = sealer_at(tap.port());
    let key = key();

    let object = sealer.seal(&key, &SealOptions::default()).await.unwrap();
    assert!(sealer.unseal(&object, &UnsealOptions::default()).await.unwrap().matches(&key));
    let pinned = sealer.seal(&key, &bound("7", Some("canary-pin"))).await.unwrap();
    assert!(sealer.unseal(&pinned, &with_pin("canary-pin")).await.unwrap().matches(&key));
    assert!(tap.len() > 4000, "{} bytes traced", tap.len());
    assert!(!tap.has_seen(key.expose()));
    assert!(!tap.has_seen(b"canary"));

    // The control, which is also the proof that other tools open what we seal: tpm2_unseal, which
    // isn't asked to encrypt, unseals the same object through the same proxy.
    fs::write(tpm.file("public"), &object.public.0).unwrap();
    fs::write(tpm.file("private"), &object.private.0).unwrap();
    let tool = |program: &str, arguments: &[&str]| tpm.tool_at(tap.port(), program, arguments);
    tool("tpm2_createprimary", &["-QC", "o", "-G", "ecc", "-a", SRK_ATTRIBUTES, "-c", "parent"]);
    tool("tpm2_flushcontext", &["-t"]);
    tool("tpm2_load", &["-QC", "parent", "-u", "public", "-r", "private", "-c", "object"]);
    tool("tpm2_flushcontext", &["-t"]);
    tool("tpm2_startauthsession", &["--policy-session", "-S", "session"]);
    tool("tpm2_policycommandcode", &["-QS", "session", "TPM2_CC_Unseal"]);
    tool("tpm2_unseal", &["-c", "object", "-p", "session:session", "-o", "key"]);
    assert_eq!(fs::read(tpm.file("key")).unwrap(), key.expose());
    assert!(tap.has_seen(key.expose()), "the trace shows nothing, so it proves nothing");
}
