//! The credential of a call: there, and bound to exactly this service.

use super::binding::Binding;
use super::material::Material;
use super::policy::Permit;
use super::service::Service;
use crate::error::{Code, Failure};
use crate::name::Name;

/// One version of a credential.
///
/// It can't be written out; what it is bound to can be looked at:
///
/// ```
/// use vault_plugin::proxy::binding::Binding;
/// use vault_plugin::proxy::credential::Credential;
/// fn bound(credential: &Credential) -> &Binding {
///     &credential.binding
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn serializable<T: serde::Serialize>() {}
/// serializable::<vault_plugin::proxy::credential::Credential>();
/// ```
#[derive(Debug)]
pub struct Credential {
    /// Random, made with the credential.
    pub id: String,
    /// Its name, for texts and the redaction mark.
    pub name: Name,
    /// Which version.
    pub version: u64,
    /// When it was written, in seconds since 1970.
    pub stored: u64,
    /// What it was written for.
    pub binding: Binding,
    /// Its values.
    pub material: Material,
}

/// Finds the credential that goes with a permit; `None` when the service uses none.
///
/// # Errors
/// `credential_missing`, or `binding_changed` with the part that differs.
pub fn resolve<'c>(
    _permit: &Permit,
    service: &Service,
    credential: Option<&'c Credential>,
) -> Result<Option<&'c Credential>, Failure> {
    if !service.placement.wants_secret() {
        return Ok(None);
    }
    bound(service, credential).map(Some)
}

/// The credential, if it is there and bound to exactly this service.
///
/// # Errors
/// As for [`resolve`].
pub(crate) fn bound<'c>(
    service: &Service,
    credential: Option<&'c Credential>,
) -> Result<&'c Credential, Failure> {
    let Some(credential) = credential else {
        return Err(Failure::new(
            Code::CredentialMissing,
            format!(
                "\"{name}\" has no credential. Nothing was sent. This isn't the caller's mistake; \
                 an operator must store it: vault write <mount>/services/{name}{}",
                service.placement.written(),
                name = service.name
            ),
        ));
    };
    match credential.binding.difference(&service.binding()) {
        None => Ok(credential),
        Some(difference) => {
            // Callers needn't know where the service leads.
            tracing::warn!(service = %service.name, credential = %credential.name, %difference, "binding differs");
            Err(Failure::new(
                Code::BindingChanged,
                format!(
                    "\"{}\" no longer matches what its credential \"{}\" was stored for: {} differs. \
                     Nothing was sent. This isn't the caller's mistake; an operator must store the \
                     credential again for this definition, or undo the change",
                    service.name,
                    credential.name,
                    difference.part()
                ),
            ))
        }
    }
}
