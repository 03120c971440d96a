//! What a write of a service does with its credential, decided before anything is stored.

use vault_sdk::Storage;

use super::ServiceWrite;
use crate::engine::binding;
use crate::engine::credentials::complete;
use crate::error::{Code, Error, Failure};
use crate::name::Name;
use crate::proxy::binding::Binding;
use crate::proxy::material::Material;
use crate::proxy::placement::Placement;
use crate::proxy::service::Service;
use crate::storage::{
    self, CREDENTIALS, CredentialEntry, Definition, MATERIAL, MaterialEntry, OwnCredential, Owner,
    ServiceEntry,
};

/// What a write does with the service's credential.
pub(super) enum Plan {
    /// It has none, or names a shared one.
    None,
    /// It keeps its own as it is.
    Keep(Option<OwnCredential>),
    /// A new version of its own.
    New(Box<NewVersion>),
}

pub(super) struct NewVersion {
    pub(super) credential: CredentialEntry,
    pub(super) material_id: String,
    pub(super) material: MaterialEntry,
    /// Material that nothing refers to once this is committed.
    pub(super) outdated: Vec<String>,
}

impl Plan {
    pub(super) fn own_after(&self) -> Option<OwnCredential> {
        match self {
            Self::None => None,
            Self::Keep(own) => own.clone(),
            Self::New(new) => Some(OwnCredential {
                version: new.material.version,
                material_id: new.material_id.clone(),
            }),
        }
    }

    pub(super) fn made(&self) -> Option<u64> {
        match self {
            Self::None | Self::Keep(_) => None,
            Self::New(new) => Some(new.material.version),
        }
    }

    pub(super) fn warnings(
        &self,
        name: &Name,
        own_before: Option<&OwnCredential>,
        entry: &ServiceEntry,
        placement: &Placement,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        match self {
            Self::None if own_before.is_some() => warnings.push(format!(
                "\"{name}\" no longer uses its own credential, which was deleted with all its versions"
            )),
            Self::Keep(None) => warnings.push(format!(
                "\"{name}\" has no credential yet, so calls answer credential_missing. Store it: \
                 vault write <mount>/services/{name}{}",
                placement.written()
            )),
            Self::None | Self::Keep(Some(_)) | Self::New(_) => {}
        }
        // Once: auth=none, written later, changes nothing.
        let new = entry.version == 1;
        if new && entry.definition.credential.is_none() && entry.definition.auth.is_none() {
            warnings.push("auth isn't set, so calls are sent without a credential".to_owned());
        }
        warnings
    }
}

pub(super) async fn plan(
    storage: &dyn Storage,
    write: &ServiceWrite,
    service: &Service,
    definition: &Definition,
    own: Option<&OwnCredential>,
    material: Material,
    keep: usize,
) -> Result<Plan, Error> {
    if let Some(shared) = &definition.credential {
        if !material.is_empty() {
            return Err(Failure::invalid(format!(
                "\"{}\" uses the shared credential \"{shared}\". Write the secret there: vault \
                 write <mount>/credentials/{shared}{}. Nothing was changed",
                write.name,
                service.placement.written()
            ))
            .into());
        }
        check_shared(storage, shared, &service.binding()).await?;
        return Ok(Plan::None);
    }
    if material.is_empty() {
        if !service.placement.wants_secret() {
            return Ok(Plan::None);
        }
        if let Some(own) = own {
            check_own(storage, own, service).await?;
        }
        return Ok(Plan::Keep(own.cloned()));
    }
    new_own(storage, write, service, own, material, keep).await
}

/// A service without a new secret must go on matching what its own credential was stored for.
async fn check_own(
    storage: &dyn Storage,
    own: &OwnCredential,
    service: &Service,
) -> Result<(), Error> {
    let material: Option<MaterialEntry> =
        storage::load(storage, &format!("{MATERIAL}{}", own.material_id)).await?;
    let Some(material) = material else { return Ok(()) };
    let bound = binding::from_entry(&material.binding)?;
    match bound.difference(&service.binding()) {
        None => Ok(()),
        Some(difference) => Err(Failure::new(
            Code::BindingChanged,
            format!(
                "{difference}. A stored secret never moves. Nothing was changed. To allow this, \
                 write the secret in the same command: vault write <mount>/services/{} …{}",
                service.name,
                service.placement.written()
            ),
        )
        .into()),
    }
}

/// A service may name a shared credential only if it matches its binding in every part.
async fn check_shared(storage: &dyn Storage, shared: &str, service: &Binding) -> Result<(), Error> {
    let name =
        Name::parse(shared).map_err(|error| Failure::invalid(format!("credential: {error}")))?;
    let entry: Option<CredentialEntry> =
        storage::load(storage, &format!("{CREDENTIALS}{name}")).await?;
    let Some(entry) = entry else {
        return Err(Failure::invalid(format!(
            "there is no credential named \"{name}\". Nothing was changed. Make it first: vault \
             write <mount>/credentials/{name} origin={} auth={}{}",
            service.origin,
            service.placement.kind(),
            service.placement.written()
        ))
        .into());
    };
    if entry.owner == Owner::Service {
        return Err(Failure::invalid(format!(
            "credential \"{name}\" is the service \"{name}\"'s own and can't be shared. Make a \
             shared one at credentials/. Nothing was changed"
        ))
        .into());
    }
    let material: Option<MaterialEntry> = match entry.current_version() {
        None => None,
        Some(version) => {
            storage::load(storage, &format!("{MATERIAL}{}", version.material_id)).await?
        }
    };
    let Some(material) = material else {
        return Err(Failure::new(
            Code::CredentialMissing,
            format!("credential \"{name}\" has no usable version. Nothing was changed"),
        )
        .into());
    };
    match binding::from_entry(&material.binding)?.difference(service) {
        None => Ok(()),
        Some(difference) => Err(Failure::new(
            Code::BindingChanged,
            format!(
                "{difference} (credential \"{name}\"). A credential goes only where it was stored \
                 for. Nothing was changed. Match it, or have the credential stored for this use \
                 under another name"
            ),
        )
        .into()),
    }
}

async fn new_own(
    storage: &dyn Storage,
    write: &ServiceWrite,
    service: &Service,
    own: Option<&OwnCredential>,
    mut material: Material,
    keep: usize,
) -> Result<Plan, Error> {
    let stored: Option<CredentialEntry> =
        storage::load(storage, &format!("{CREDENTIALS}{}", write.name)).await?;
    let mut credential = match (stored, own) {
        (Some(entry), _) if entry.owner == Owner::Operator => {
            return Err(Failure::invalid(format!(
                "a shared credential named \"{name}\" exists. Use it with credential={name}, or \
                 choose another name for the service. Nothing was changed",
                name = write.name
            ))
            .into());
        }
        (Some(entry), Some(_)) => entry,
        // What a deleted service of this name left behind, if anything, isn't taken over.
        (Some(_), None) | (None, _) => CredentialEntry::new(Owner::Service)?,
    };
    if let Some(own) = own {
        complete(storage, &mut material, &own.material_id, &service.binding()).await?;
    }
    service.placement.check(&material)?;
    let committed = own.map_or(0, |own| own.version);
    let (material_id, version, outdated) =
        credential.push(committed, keep, write.author.clone())?;
    let material = MaterialEntry {
        credential_id: credential.id.clone(),
        version,
        binding: binding::to_entry(&service.binding()),
        secret: material.into_map(),
    };
    Ok(Plan::New(Box::new(NewVersion { credential, material_id, material, outdated })))
}
