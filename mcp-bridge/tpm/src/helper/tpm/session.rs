//! Starts sessions and states the policy that sealed objects carry.

use mcp_bridge_tpm::PcrSet;
use tss_esapi::Context;
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::{CommandCode, SessionType};
use tss_esapi::handles::{KeyHandle, SessionHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{Digest, SymmetricDefinition};

use super::failure::{Failure, Step};
use super::register;

/// What an HMAC session encrypts on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encrypts {
    /// The first parameter of commands and of answers.
    Both,
    /// That of answers alone: for commands that have none.
    Answers,
}

/// Starts an HMAC session salted with a storage key, whose Name the caller has checked: who listens
/// between us and the TPM can't derive its key.
pub(super) fn hmac(
    context: &mut Context,
    parent: KeyHandle,
    encrypts: Encrypts,
) -> Result<AuthSession, Failure> {
    start(context, Some(parent), SessionType::Hmac, Some(encrypts))
}

/// Starts a policy session, salted too: without, a trace of an unsealing with a PIN could be tried
/// against a list of PINs.
pub(super) fn policy(context: &mut Context, parent: KeyHandle) -> Result<AuthSession, Failure> {
    start(context, Some(parent), SessionType::Policy, None)
}

fn start(
    context: &mut Context,
    parent: Option<KeyHandle>,
    kind: SessionType,
    encrypts: Option<Encrypts>,
) -> Result<AuthSession, Failure> {
    let session = context
        .start_auth_session(
            parent,
            None,
            None,
            kind,
            SymmetricDefinition::AES_128_CFB,
            HashingAlgorithm::Sha256,
        )
        .map_err(Failure::at(Step::Session))?
        .ok_or(Failure::Value { step: Step::Session })?;
    // A session that the TPM ended by itself would be flushed twice, so it is continued.
    let (attributes, mask) = SessionAttributesBuilder::new()
        .with_continue_session(true)
        .with_decrypt(encrypts == Some(Encrypts::Both))
        .with_encrypt(encrypts.is_some())
        .build();
    context
        .tr_sess_set_attributes(session, attributes, mask)
        .map_err(Failure::at(Step::Session))?;
    Ok(session)
}

/// Frees a session's slot in the TPM, of which a chip may have three.
pub(super) fn flush(context: &mut Context, session: AuthSession) -> Result<(), Failure> {
    context.flush_context(SessionHandle::from(session).into()).map_err(Failure::at(Step::Session))
}

/// Computes the digest of the policy for the registers' present values.
pub(super) fn digest(context: &mut Context, pcrs: &PcrSet, pin: bool) -> Result<Digest, Failure> {
    let trial = start(context, None, SessionType::Trial, None)?;
    let policy = state(context, trial, pcrs, pin)?;
    let digest = context.policy_get_digest(policy).map_err(Failure::at(Step::Session))?;
    flush(context, trial)?;
    Ok(digest)
}

/// States the policy in a session: the registers, the PIN, and always that it is for unsealing.
pub(super) fn state(
    context: &mut Context,
    session: AuthSession,
    pcrs: &PcrSet,
    pin: bool,
) -> Result<PolicySession, Failure> {
    let policy = PolicySession::try_from(session).map_err(Failure::at(Step::Session))?;
    if !pcrs.is_empty() {
        let selection = register::selection(pcrs)?;
        context
            .policy_pcr(policy, Digest::default(), selection)
            .map_err(Failure::at(Step::Session))?;
    }
    if pin {
        context.policy_auth_value(policy).map_err(Failure::at(Step::Session))?;
    }
    context.policy_command_code(policy, CommandCode::Unseal).map_err(Failure::at(Step::Session))?;
    Ok(policy)
}
