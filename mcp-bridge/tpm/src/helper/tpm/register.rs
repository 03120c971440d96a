//! Reads platform configuration registers and compares them with the sealed values.

use std::collections::BTreeMap;

use mcp_bridge_tpm::object::{BANK, ObjectPolicy};
use mcp_bridge_tpm::{PcrDrift, PcrSet, TpmError};
use tss_esapi::Context;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{PcrSelectionList, PcrSelectionListBuilder, PcrSlot};

use super::failure::{Failure, Step};

/// Names registers of the SHA-256 bank in the binding's words.
pub(super) fn selection(pcrs: &PcrSet) -> Result<PcrSelectionList, Failure> {
    let slots: Result<Vec<PcrSlot>, _> =
        pcrs.iter().map(|pcr| PcrSlot::try_from(1_u32 << pcr)).collect();
    PcrSelectionListBuilder::new()
        .with_selection(HashingAlgorithm::Sha256, &slots.map_err(Failure::at(Step::Session))?)
        .build()
        .map_err(Failure::at(Step::Session))
}

/// Reads registers, hexadecimal. One that the TPM doesn't have in this bank is left out.
pub(super) fn read(context: &mut Context, pcrs: &PcrSet) -> Result<BTreeMap<u8, String>, Failure> {
    let mut values = BTreeMap::new();
    // One at a time: a TPM answers with as many as it likes, and few are asked for.
    for pcr in pcrs.iter() {
        let one = selection(&PcrSet::try_from(vec![pcr])?)?;
        let (_, _, digests) = context
            .execute_without_session(|context| context.pcr_read(one))
            .map_err(Failure::at(Step::Ask))?;
        if let Some(digest) = digests.value().first() {
            values.insert(pcr, hex(digest.value()));
        }
    }
    Ok(values)
}

/// Reads registers to seal to.
pub(super) fn read_all(
    context: &mut Context,
    pcrs: &PcrSet,
) -> Result<BTreeMap<u8, String>, Failure> {
    let values = read(context, pcrs)?;
    if pcrs.iter().any(|pcr| !values.contains_key(&pcr)) {
        return Err(TpmError::usage(format!(
            "this TPM keeps no {BANK} bank of these registers: seal without them"
        ))
        .into());
    }
    Ok(values)
}

/// Tells which registers differ from their sealed values.
pub(super) fn diff(context: &mut Context, policy: &ObjectPolicy) -> Result<Vec<PcrDrift>, Failure> {
    let mut now = read(context, &policy.pcrs)?;
    let drift = policy.pcrs.iter().filter_map(|pcr| {
        let sealed = policy.pcr_values.get(&pcr).cloned().unwrap_or_default();
        let now = now.remove(&pcr);
        (now.as_ref() != Some(&sealed)).then_some(PcrDrift { pcr, sealed, now })
    });
    Ok(drift.collect())
}

/// Writes bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
