//! Sorts the response codes of a TPM and of the libraries below us by what to do about them.

/// What a response code calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseCode {
    /// `TPM_RC_POLICY_FAIL`: the policy session doesn't meet the object's policy.
    PolicyFail,
    /// `TPM_RC_INTEGRITY`: the object wasn't made by this TPM under this parent.
    Integrity,
    /// `TPM_RC_AUTH_FAIL` (counted) or `TPM_RC_BAD_AUTH` (not counted): a wrong password or PIN.
    Auth,
    /// `TPM_RC_LOCKOUT`: too many failures.
    Lockout,
    /// `TPM_RC_PCR_CHANGED`: a register was extended while the session was open.
    PcrChanged,
    /// `TPM_RC_INITIALIZE`: nobody has started the TPM.
    Initialize,
    /// `TPM_RC_OBJECT_MEMORY`, `TPM_RC_SESSION_MEMORY`, `TPM_RC_MEMORY`: no free slot.
    OutOfSlots,
    /// `TPM_RC_RETRY`, `TPM_RC_YIELDED`, `TPM_RC_TESTING`: ask again.
    Retry,
    /// Something about a parameter of the command: for a loaded object, a damaged one.
    Parameter,
    /// A code of the transport's layer: nothing there, or it failed.
    Transport,
    /// Any other.
    Other,
}

/// The number of the transport's layer in a response code
/// (TCG TSS 2.0 Overview and Common Structures, section 3.4).
const LAYER_TCTI: u32 = 0x0a;

/// Sorts one response code.
///
/// TPM 2.0 Library, part 2, section 6.6: bit 7 tells format one (bit 6: about a parameter; bits 5
/// to 0: the error) from format zero (bit 11: a warning; bits 6 to 0: the error).
#[must_use]
pub fn classify(raw: u32) -> ResponseCode {
    if (raw >> 16) & 0xff == LAYER_TCTI {
        return ResponseCode::Transport;
    }
    // A resource manager's layer carries the TPM's own codes in the lower half.
    let code = raw & 0xffff;
    if code & 0x080 != 0 {
        return match code & 0x3f {
            0x1d => ResponseCode::PolicyFail,
            0x1f => ResponseCode::Integrity,
            0x0e | 0x22 => ResponseCode::Auth,
            _ if code & 0x040 != 0 => ResponseCode::Parameter,
            _ => ResponseCode::Other,
        };
    }
    match code & 0x97f {
        0x128 => ResponseCode::PcrChanged,
        0x100 => ResponseCode::Initialize,
        0x902..=0x904 => ResponseCode::OutOfSlots,
        0x908 | 0x90a | 0x922 => ResponseCode::Retry,
        0x921 => ResponseCode::Lockout,
        _ => ResponseCode::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_that_was_seen_is_sorted() {
        let seen = [
            (0x99d, ResponseCode::PolicyFail),
            (0x1df, ResponseCode::Integrity),
            (0x98e, ResponseCode::Auth),
            (0x9a2, ResponseCode::Auth),
            (0x921, ResponseCode::Lockout),
            (0x128, ResponseCode::PcrChanged),
            (0x12f, ResponseCode::Other),
            (0x182, ResponseCode::Other),
            (0x1d5, ResponseCode::Parameter),
            (0x100, ResponseCode::Initialize),
            (0x902, ResponseCode::OutOfSlots),
            (0x903, ResponseCode::OutOfSlots),
            (0x904, ResponseCode::OutOfSlots),
            (0x922, ResponseCode::Retry),
            (0x908, ResponseCode::Retry),
            (0x90a, ResponseCode::Retry),
            (0x1cb, ResponseCode::Parameter),
            (0x000b_0903, ResponseCode::OutOfSlots),
            (0x000a_000a, ResponseCode::Transport),
            (0x000a_0008, ResponseCode::Transport),
        ];
        for (raw, expected) in seen {
            assert_eq!(classify(raw), expected, "{raw:#x}");
        }
    }
}
