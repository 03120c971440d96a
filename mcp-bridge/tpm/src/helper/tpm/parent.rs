//! Gets the storage keys that objects can be sealed under, with their Names.

use mcp_bridge_tpm::object::{Parent, SRK_HANDLE, SRK_TEMPLATE};
use tss_esapi::Context;
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::constants::CapabilityType;
use tss_esapi::handles::{KeyHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    CapabilityData, EccPoint, Public, PublicBuilder, PublicEccParametersBuilder,
    SymmetricDefinitionObject,
};

use super::failure::{Failure, Step};
use super::register::hex;

/// A storage key that is loaded.
#[derive(Debug)]
pub(super) struct Loaded {
    /// Its handle in this context.
    pub(super) key: KeyHandle,
    /// How it is found again.
    pub(super) parent: Parent,
}

/// Gets the key that somebody has made persistent at the usual handle, if it is a storage key
/// without a cost: restricted, for decryption, bound to this TPM, and out of the reach of the
/// TPM's guard against guessing, so that a password on it, if it has one, isn't counted against us.
pub(super) fn persistent(context: &mut Context) -> Result<Option<Loaded>, Failure> {
    let (found, _) = context
        .get_capability(CapabilityType::Handles, SRK_HANDLE, 1)
        .map_err(Failure::at(Step::Ask))?;
    let handle = PersistentTpmHandle::new(SRK_HANDLE).map_err(Failure::at(Step::Ask))?;
    let CapabilityData::Handles(handles) = found else {
        return Err(Failure::Value { step: Step::Ask });
    };
    if handles.into_inner().first() != Some(&TpmHandle::Persistent(handle)) {
        return Ok(None);
    }
    let key = context
        .execute_without_session(|context| {
            context.tr_from_tpm_public(TpmHandle::Persistent(handle))
        })
        .map(KeyHandle::from)
        .map_err(Failure::at(Step::Ask))?;
    // A key of a kind that the binding can't read isn't one for us.
    let Ok((public, _, _)) = context.execute_without_session(|context| context.read_public(key))
    else {
        return Ok(None);
    };
    let attributes = public.object_attributes();
    let fits = attributes.restricted()
        && attributes.decrypt()
        && !attributes.sign_encrypt()
        && attributes.fixed_tpm()
        && attributes.user_with_auth()
        && attributes.no_da();
    if !fits {
        return Ok(None);
    }
    Ok(Some(Loaded { key, parent: describe(context, key, Some(SRK_HANDLE))? }))
}

/// Derives the storage key from the template. The same TPM gives the same key until it is cleared.
pub(super) fn transient(context: &mut Context) -> Result<Loaded, Failure> {
    let template = template().map_err(Failure::at(Step::Parent))?;
    // The empty password, not a session: an unsalted one that encrypts is worth nothing, and
    // tpm2-tss 4.2.0 gives wrong bytes for it (tpm2-software/tpm2-tss issue 3145).
    let key = context
        .execute_with_session(Some(AuthSession::Password), |context| {
            context.create_primary(Hierarchy::Owner, template, None, None, None, None)
        })
        .map_err(Failure::at(Step::Parent))?
        .key_handle;
    Ok(Loaded { key, parent: describe(context, key, None)? })
}

/// Takes the Name that the library keeps with the public area it salts sessions with: one forged on
/// the way has another.
fn describe(context: &mut Context, key: KeyHandle, handle: Option<u32>) -> Result<Parent, Failure> {
    let name = context.tr_get_name(key.into()).map_err(Failure::at(Step::Ask))?;
    Ok(Parent { name: hex(name.value()), handle, template: SRK_TEMPLATE.into() })
}

/// Gives the template that Linux tools share: TCG "TPM v2.0 Provisioning Guidance", section 7.5.1,
/// with an empty `unique`, which enters the derivation.
fn template() -> tss_esapi::Result<Public> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_restricted(true)
        .with_decrypt(true)
        .build()?;
    let parameters = PublicEccParametersBuilder::new_restricted_decryption_key(
        SymmetricDefinitionObject::AES_128_CFB,
        EccCurve::NistP256,
    )
    .build()?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(parameters)
        .with_ecc_unique_identifier(EccPoint::default())
        .build()
}
