//! Seals and unseals a data key.

use mcp_bridge_tpm::object::{BANK, Blob, ObjectPolicy, SRK_TEMPLATE, TpmObject};
use mcp_bridge_tpm::response_code::ResponseCode;
use mcp_bridge_tpm::{DataKey, PcrSet, Pin, TpmError};
use tss_esapi::Context;
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::structures::{
    Auth, CreateKeyResult, Digest, KeyedHashScheme, Private, Public, PublicBuilder,
    PublicKeyedHashParameters, SensitiveData,
};
use tss_esapi::traits::{Marshall as _, UnMarshall as _};

use super::failure::{Failure, Step};
use super::parent::Loaded;
use super::session::Encrypts;
use super::{info, parent, register, session};

/// Seals a key under the best storage key there is.
pub(super) fn seal(
    context: &mut Context,
    key: &DataKey,
    pcrs: &PcrSet,
    pin: Option<&Pin>,
) -> Result<TpmObject, Failure> {
    let pcr_values = register::read_all(context, pcrs)?;
    let digest = session::digest(context, pcrs, pin.is_some())?;
    let template = template(digest, pin.is_some()).map_err(Failure::at(Step::Seal))?;

    let persistent = parent::persistent(context)?;
    let (parent, created) = match persistent {
        None => create_under_derived(context, &template, key, pin)?,
        Some(found) => match create(context, &found, &template, key, pin) {
            Ok(created) => (found, created),
            // It has a password. That was no counted failure, since it is a key without one.
            Err(failure) if failure.code() == Some(ResponseCode::Auth) => {
                create_under_derived(context, &template, key, pin)?
            }
            Err(failure) => return Err(failure),
        },
    };

    let public = created.out_public.marshall().map_err(Failure::at(Step::Seal))?;
    Ok(TpmObject {
        parent: parent.parent,
        policy: ObjectPolicy {
            bank: BANK.into(),
            pcrs: pcrs.clone(),
            pcr_values,
            pin: pin.is_some(),
        },
        tpm: info::maker(context)?,
        public: tpm2b(&public)?,
        private: tpm2b(created.out_private.value())?,
    })
}

fn create_under_derived(
    context: &mut Context,
    template: &Public,
    key: &DataKey,
    pin: Option<&Pin>,
) -> Result<(Loaded, CreateKeyResult), Failure> {
    let derived = parent::transient(context)?;
    let created = create(context, &derived, template, key, pin)?;
    Ok((derived, created))
}

fn create(
    context: &mut Context,
    parent: &Loaded,
    template: &Public,
    key: &DataKey,
    pin: Option<&Pin>,
) -> Result<CreateKeyResult, Failure> {
    let session = session::hmac(context, parent.key, Encrypts::Both)?;
    let data = SensitiveData::try_from(key.expose().as_slice()).map_err(Failure::at(Step::Seal))?;
    let auth = pin.map(auth).transpose()?;
    let created = context.execute_with_session(Some(session), |context| {
        context.create(parent.key, template.clone(), auth, Some(data), None, None)
    });
    session::flush(context, session)?;
    created.map_err(Failure::at(Step::Seal))
}

/// Unseals a key, if the same TPM, the same registers and the same PIN are there.
pub(super) fn unseal(
    context: &mut Context,
    object: &TpmObject,
    pin: Option<&Pin>,
    force: bool,
) -> Result<DataKey, Failure> {
    let policy = &object.policy;
    if policy.bank != BANK || object.parent.template != SRK_TEMPLATE {
        return Err(TpmError::Integrity.into());
    }
    if policy.pin {
        info::lockout(context)?.permit_try(force)?;
    }
    let (parent, loaded) = find(context, object)?;
    if let Some(pin) = pin {
        context.tr_set_auth(loaded.into(), auth(pin)?).map_err(Failure::at(Step::Unseal))?;
    }

    let policy_session = session::policy(context, parent.key)?;
    session::state(context, policy_session, &policy.pcrs, policy.pin)?;
    // A session of its own encrypts the answer, beside the one that authorizes.
    let encryption = session::hmac(context, parent.key, Encrypts::Answers)?;
    let data = context
        .execute_with_sessions((Some(policy_session), Some(encryption), None), |context| {
            context.unseal(loaded.into())
        })
        .map_err(Failure::at(Step::Unseal))
        .map_err(|failure| explain(context, policy, failure))?;
    DataKey::from_slice(data.value()).ok_or_else(|| TpmError::Integrity.into())
}

/// Loads the object under the key with the recorded Name.
fn find(context: &mut Context, object: &TpmObject) -> Result<(Loaded, KeyHandle), Failure> {
    let name = &object.parent.name;
    if let Some(kept) = parent::persistent(context)?
        && kept.parent.name == *name
    {
        match load(context, &kept, object) {
            // It was given a password, which isn't part of its Name, so the template derives the
            // same key without one. Nothing was counted, since such a key is outside of the guard.
            Err(failure) if failure.code() == Some(ResponseCode::Auth) => {}
            loaded => return Ok((kept, loaded?)),
        }
    }
    let derived = parent::transient(context)?;
    if derived.parent.name != *name {
        return Err(TpmError::OtherTpm.into());
    }
    let loaded = load(context, &derived, object)?;
    Ok((derived, loaded))
}

fn load(context: &mut Context, parent: &Loaded, object: &TpmObject) -> Result<KeyHandle, Failure> {
    let public = Public::unmarshall(content(&object.public)?).map_err(Failure::at(Step::Load))?;
    let private = Private::try_from(content(&object.private)?).map_err(Failure::at(Step::Load))?;
    let session = session::hmac(context, parent.key, Encrypts::Both)?;
    let loaded = context
        .execute_with_session(Some(session), |context| context.load(parent.key, private, public));
    session::flush(context, session)?;
    loaded.map_err(Failure::at(Step::Load))
}

/// Adds to a refusal what the TPM can still tell: which register, how many tries, how long.
fn explain(context: &mut Context, policy: &ObjectPolicy, failure: Failure) -> Failure {
    let known = match failure.code() {
        Some(ResponseCode::PolicyFail) => {
            register::diff(context, policy).map(|drift| TpmError::PolicyMismatch { drift })
        }
        Some(ResponseCode::Auth) => info::lockout(context)
            .map(|state| TpmError::WrongPin { tries_left: Some(state.tries_left()) }),
        Some(ResponseCode::Lockout) => info::lockout(context)
            .map(|state| TpmError::Lockout { wait_seconds: state.recovery_seconds }),
        _ => return failure,
    };
    known.map_or(failure, Failure::Known)
}

/// Gives the public part of an object that holds data: usable by its policy alone, and outside the
/// guard against guessing unless there is a PIN to guess. A machine that loses power once too often
/// locks what is inside that guard.
fn template(policy: Digest, pin: bool) -> tss_esapi::Result<Public> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_admin_with_policy(true)
        .with_no_da(!pin)
        .build()?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::KeyedHash)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_auth_policy(policy)
        .with_keyed_hash_parameters(PublicKeyedHashParameters::new(KeyedHashScheme::Null))
        .with_keyed_hash_unique_identifier(Digest::default())
        .build()
}

fn auth(pin: &Pin) -> Result<Auth, Failure> {
    Auth::try_from(pin.expose().as_bytes()).map_err(Failure::at(Step::Seal))
}

/// Puts the length before a structure, as `TPM2B_PUBLIC` and `TPM2B_PRIVATE` have it and other
/// tools expect it.
fn tpm2b(content: &[u8]) -> Result<Blob, Failure> {
    let length = u16::try_from(content.len()).map_err(|_| Failure::Value { step: Step::Seal })?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(content);
    Ok(Blob(bytes))
}

/// Takes the length off again, which must be right.
fn content(blob: &Blob) -> Result<&[u8], Failure> {
    blob.0
        .split_first_chunk::<2>()
        .filter(|(length, content)| usize::from(u16::from_be_bytes(**length)) == content.len())
        .map(|(_, content)| content)
        .ok_or_else(|| TpmError::Integrity.into())
}
