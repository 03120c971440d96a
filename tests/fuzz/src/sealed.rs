//! The file that keeps a sealed credential, and what the helper beside the TPM answers.

use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mcp_bridge_tpm::protocol::{Answer, Request};
use mcp_bridge_tpm::sealer::fake::FakeSealer;
use mcp_bridge_tpm::{
    Credential, FileError, SealOptions, SealedCredential, UnsealOptions, VaultBinding,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use tokio::runtime::{Builder, Runtime};

struct Kept {
    runtime: Runtime,
    sealer: FakeSealer,
    file: Vec<u8>,
    shown: String,
}

static KEPT: LazyLock<Kept> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().build().unwrap();
    let sealer = FakeSealer::default();
    let credential = Credential {
        role_id: SecretString::from("the role"),
        secret_id: SecretString::from("the secret"),
        secret_id_accessor: "accessor".into(),
        role_name: Some("agent".into()),
        issued_at: 1_700_000_000,
        expires_at: None,
        num_uses: 0,
        vault: VaultBinding {
            address: "https://vault.example:8200".into(),
            tls_server_name: None,
            namespace: None,
            auth_mount: "approle".into(),
            ca_sha256: None,
        },
        previous_accessor: None,
    };
    let sealed = runtime
        .block_on(SealedCredential::seal(&credential, &sealer, &SealOptions::default()))
        .unwrap();
    Kept { runtime, sealer, file: sealed.to_bytes().to_vec(), shown: shown(&credential) }
});

/// Any bytes are read or refused; of a sealed file, what was changed never opens.
pub(crate) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    match u.int_in_range(0..=4)? {
        0 => {
            let bytes: Vec<u8> = u.arbitrary()?;
            let _ = serde_json::from_slice::<Answer>(&bytes);
            let _ = serde_json::from_slice::<Request<'_>>(&bytes);
            // What anybody can write isn't what was sealed.
            assert!(opened(&bytes).is_none());
        }
        1 => {
            let edited = edited(u, &KEPT.file)?;
            // White space between JSON's tokens changes nothing, so the same may open.
            assert!(opened(&edited).is_none_or(|shown| shown == KEPT.shown));
        }
        2 => {
            // Below the base64, where every byte is authenticated.
            let mut file: Value = serde_json::from_slice(&KEPT.file).unwrap();
            let part = &mut file[*u.choose(&["header", "nonce", "ciphertext"])?];
            let before = BASE64_URL_SAFE_NO_PAD.decode(part.as_str().unwrap()).unwrap();
            let after = edited_bytes(u, &before)?;
            *part = Value::from(BASE64_URL_SAFE_NO_PAD.encode(&after));
            let same = after == before;
            assert_eq!(opened(file.to_string().as_bytes()).is_some(), same);
        }
        3 => refused(u)?,
        _ => {
            let answer = br#"{"Ok":{"key":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"}}"#;
            let _ = serde_json::from_slice::<Answer>(&edited(u, answer)?);
        }
    }
    Ok(())
}

/// A later version is told from a damaged file, and whatever else isn't ours is damaged.
fn refused(u: &mut Unstructured<'_>) -> Result<()> {
    let mut file: Map<String, Value> = serde_json::from_slice(&KEPT.file).unwrap();
    let field = u.choose_index(file.len())?;
    let field = file.keys().nth(field).unwrap().clone();
    let mut later = None;
    match u.int_in_range(0..=4)? {
        0 => {
            let version = u.int_in_range(2..=u32::MAX)?;
            later = Some(version);
            file["version"] = Value::from(version);
            if u.arbitrary()? {
                // Whatever a later version keeps.
                file.insert("more".into(), Value::Null);
                file.remove("nonce");
            }
        }
        1 => {
            file.remove(&field);
        }
        2 => {
            file.insert((*u.choose(&["more", "", "Format"])?).into(), Value::Null);
        }
        3 => {
            let others = [Value::Null, json!(0), json!(1.0), json!([]), json!("x")];
            file[&field] = u.choose(&others)?.clone();
        }
        _ => {
            // The last byte is the line end.
            let at = u.choose_index(KEPT.file.len() - 1)?;
            assert!(matches!(read(&KEPT.file[..at]), Err(FileError::Corrupt)), "cut at {at}");
            return Ok(());
        }
    }
    let text = Value::Object(file).to_string();
    match (read(text.as_bytes()), later) {
        (Err(FileError::UnknownVersion { version }), Some(later)) => assert_eq!(version, later),
        (Err(FileError::UnknownVersion { version: 0 }), None) if field == "version" => {}
        (Err(FileError::Corrupt), None) => {}
        (read, _) => panic!("{read:?} of {text}"),
    }
    Ok(())
}

fn read(bytes: &[u8]) -> std::result::Result<SealedCredential, FileError> {
    SealedCredential::from_bytes(bytes)
}

/// What a file opens as; its bytes are the same when written again.
fn opened(bytes: &[u8]) -> Option<String> {
    let sealed = SealedCredential::from_bytes(bytes).ok()?;
    let again = SealedCredential::from_bytes(&sealed.to_bytes()).unwrap();
    assert_eq!(*again.to_bytes(), *sealed.to_bytes());
    // A payload in clear is what it says: only the seal is on trial.
    if bytes.windows(7).any(|window| window == b"payload") {
        return None;
    }
    let options = UnsealOptions::default();
    let opening = sealed.open(&KEPT.sealer, &options);
    KEPT.runtime.block_on(opening).ok().map(|credential| shown(&credential))
}

#[expect(clippy::disallowed_methods, reason = "the target's own secret, made here")]
fn shown(credential: &Credential) -> String {
    let secrets = (credential.role_id.expose_secret(), credential.secret_id.expose_secret());
    format!("{secrets:?} {credential:?}")
}

fn edited(u: &mut Unstructured<'_>, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    for _ in 0..u.int_in_range(1..=4)? {
        bytes = edited_bytes(u, &bytes)?;
    }
    Ok(bytes)
}

/// One change: a bit, a byte more or less, a piece twice, an end cut off.
fn edited_bytes(u: &mut Unstructured<'_>, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut edited = bytes.to_vec();
    let at = u.choose_index(edited.len().max(1))?.min(edited.len());
    match u.int_in_range(0..=4)? {
        0 if at < edited.len() => edited[at] ^= 1 << u.int_in_range(0..=7)?,
        1 if at < edited.len() => {
            edited.remove(at);
        }
        2 => {
            let piece = edited.split_off(at);
            edited.extend_from_slice(&piece[..piece.len().min(u.int_in_range(0..=16)?)]);
            edited.extend_from_slice(&piece);
        }
        3 => edited.truncate(at),
        _ => edited.insert(at, u.arbitrary()?),
    }
    Ok(edited)
}
