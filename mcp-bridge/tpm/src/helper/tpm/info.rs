//! Asks a TPM about its maker, its guard against guessing, its registers and its storage keys.

use mcp_bridge_tpm::TpmInfo;
use mcp_bridge_tpm::object::{Lockout, Maker};
use mcp_bridge_tpm::response_code::ResponseCode;
use tss_esapi::Context;
use tss_esapi::constants::{CapabilityType, PropertyTag};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::CapabilityData;

use super::failure::{Failure, Step};
use super::parent;

/// Bits of `TPMA_PERMANENT` (TPM 2.0 Library, part 2, section 8.6).
const OWNER_AUTH_SET: u32 = 1;
const LOCKOUT_AUTH_SET: u32 = 1 << 2;
const IN_LOCKOUT: u32 = 1 << 9;

/// Asks for all of it.
pub(super) fn read(context: &mut Context) -> Result<TpmInfo, Failure> {
    let permanent = property(context, PropertyTag::Permanent)?;
    let mut parents: Vec<_> =
        parent::persistent(context)?.into_iter().map(|found| found.parent).collect();
    match parent::transient(context) {
        // A persistent key from the same template is the same key.
        Ok(derived) if parents.iter().all(|found| found.name != derived.parent.name) => {
            parents.push(derived.parent);
        }
        Ok(_) => {}
        // Said by `owner_password`.
        Err(failure) if failure.code() == Some(ResponseCode::Auth) => {}
        Err(failure) => return Err(failure),
    }
    Ok(TpmInfo {
        maker: maker(context)?,
        lockout: lockout(context)?,
        pcr_banks: banks(context)?,
        parents,
        owner_password: permanent & OWNER_AUTH_SET != 0,
        lockout_password: permanent & LOCKOUT_AUTH_SET != 0,
    })
}

/// Asks who made it.
pub(super) fn maker(context: &mut Context) -> Result<Maker, Failure> {
    let manufacturer = text(&[property(context, PropertyTag::Manufacturer)?]);
    let vendor = text(&[
        property(context, PropertyTag::VendorString1)?,
        property(context, PropertyTag::VendorString2)?,
        property(context, PropertyTag::VendorString3)?,
        property(context, PropertyTag::VendorString4)?,
    ]);
    let [high, low] = [
        property(context, PropertyTag::FirmwareVersion1)?,
        property(context, PropertyTag::FirmwareVersion2)?,
    ];
    let firmware = format!("{}.{}.{}.{}", high >> 16, high & 0xffff, low >> 16, low & 0xffff);
    Ok(Maker { manufacturer, vendor, firmware })
}

/// Asks for the state of its guard against guessing.
pub(super) fn lockout(context: &mut Context) -> Result<Lockout, Failure> {
    Ok(Lockout {
        counter: property(context, PropertyTag::LockoutCounter)?,
        max_tries: property(context, PropertyTag::MaxAuthFail)?,
        recovery_seconds: property(context, PropertyTag::LockoutInterval)?,
        locked: property(context, PropertyTag::Permanent)? & IN_LOCKOUT != 0,
    })
}

/// Asks for one property, anew each time: the binding's own way keeps the first answer.
fn property(context: &mut Context, tag: PropertyTag) -> Result<u32, Failure> {
    let (found, _) = context
        .get_capability(CapabilityType::TpmProperties, tag.into(), 1)
        .map_err(Failure::at(Step::Ask))?;
    let CapabilityData::TpmProperties(properties) = found else {
        return Err(Failure::Value { step: Step::Ask });
    };
    // A TPM that lacks it answers with the next one.
    Ok(properties.find(tag).map_or(0, |property| property.value()))
}

/// Asks which banks of registers have any.
fn banks(context: &mut Context) -> Result<Vec<String>, Failure> {
    let (found, _) = context
        .get_capability(CapabilityType::AssignedPcr, 0, 16)
        .map_err(Failure::at(Step::Ask))?;
    let CapabilityData::AssignedPcr(list) = found else {
        return Err(Failure::Value { step: Step::Ask });
    };
    let used = list.get_selections().iter().filter(|selection| !selection.is_empty());
    Ok(used.map(|selection| bank(selection.hashing_algorithm())).collect())
}

fn bank(algorithm: HashingAlgorithm) -> String {
    match algorithm {
        HashingAlgorithm::Sha1 => "sha1",
        HashingAlgorithm::Sha256 => "sha256",
        HashingAlgorithm::Sha384 => "sha384",
        HashingAlgorithm::Sha512 => "sha512",
        HashingAlgorithm::Sm3_256 => "sm3-256",
        HashingAlgorithm::Sha3_256 => "sha3-256",
        HashingAlgorithm::Sha3_384 => "sha3-384",
        HashingAlgorithm::Sha3_512 => "sha3-512",
        HashingAlgorithm::Null => "none",
    }
    .into()
}

/// Reads four letters from each number, and drops what isn't printable at the ends.
fn text(numbers: &[u32]) -> String {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    let text: String = bytes
        .iter()
        .filter(|byte| **byte != 0)
        .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '?' })
        .collect();
    text.trim().into()
}
