//! Turns a response code and the step it came from into an error for people.

use mcp_bridge_tpm::TpmError;
use mcp_bridge_tpm::response_code::{ResponseCode, classify};
use tss_esapi::Error;
use tss_esapi::constants::response_code::Tss2ResponseCode;

/// What was being done: the same code means different things at different steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Reaching the TPM.
    Open,
    /// Asking it about itself.
    Ask,
    /// Deriving the storage key.
    Parent,
    /// Starting a session or stating a policy.
    Session,
    /// Sealing the key.
    Seal,
    /// Loading the sealed object.
    Load,
    /// Unsealing it.
    Unseal,
}

impl Step {
    const fn name(self) -> &'static str {
        match self {
            Self::Open => "to be opened",
            Self::Ask => "to tell about itself",
            Self::Parent => "to derive the storage key",
            Self::Session => "a session",
            Self::Seal => "to seal",
            Self::Load => "to load the sealed object",
            Self::Unseal => "to unseal",
        }
    }
}

/// Why a try ended.
#[derive(Debug)]
pub(super) enum Failure {
    /// The TPM or a library below us answered with a code.
    Code {
        /// At which step.
        step: Step,
        /// The response code.
        raw: u32,
    },
    /// The binding refused a value before or after the TPM saw it.
    Value {
        /// At which step.
        step: Step,
    },
    /// All is known already.
    Known(TpmError),
}

impl Failure {
    /// Makes the converter for `map_err` of one step.
    pub(super) fn at(step: Step) -> impl FnOnce(Error) -> Self {
        move |error| match error {
            Error::Tss2Error(code) => Self::Code { step, raw: raw(code) },
            Error::WrapperError(_) => Self::Value { step },
        }
    }

    /// Gives the sort of response code, if there is one.
    pub(super) fn code(&self) -> Option<ResponseCode> {
        match self {
            Self::Code { raw, .. } => Some(classify(*raw)),
            Self::Value { .. } | Self::Known(_) => None,
        }
    }
}

impl From<TpmError> for Failure {
    fn from(error: TpmError) -> Self {
        Self::Known(error)
    }
}

impl From<Failure> for TpmError {
    fn from(failure: Failure) -> Self {
        let (step, raw) = match failure {
            Failure::Known(error) => return error,
            Failure::Value { step: Step::Load } => return Self::Integrity,
            Failure::Value { step } => {
                return Self::Refused { command: step.name().into(), code: 0 };
            }
            Failure::Code { step, raw } => (step, raw),
        };
        match (classify(raw), step) {
            (ResponseCode::PolicyFail, _) => Self::PolicyMismatch { drift: Vec::new() },
            (ResponseCode::Integrity, _) | (ResponseCode::Parameter, Step::Load) => Self::Integrity,
            (ResponseCode::Auth, Step::Parent) => Self::OwnerPassword,
            (ResponseCode::Auth, Step::Seal | Step::Load) => Self::ParentPassword,
            (ResponseCode::Auth, Step::Unseal) => Self::WrongPin { tries_left: None },
            (ResponseCode::Lockout, _) => Self::Lockout { wait_seconds: 0 },
            (ResponseCode::Initialize, _) => Self::NotStarted,
            (ResponseCode::OutOfSlots | ResponseCode::Retry | ResponseCode::PcrChanged, _) => {
                Self::Busy { code: raw }
            }
            (ResponseCode::Transport, _) => Self::Unreachable { code: raw },
            (ResponseCode::Auth | ResponseCode::Parameter | ResponseCode::Other, _) => {
                Self::Refused { command: step.name().into(), code: raw }
            }
        }
    }
}

/// Gets the number out of a code, which the binding shows only in its text: "Response code value:
/// 0x…" (tss-esapi 7.7, `constants/response_code.rs`).
fn raw(code: Tss2ResponseCode) -> u32 {
    let text = match code {
        Tss2ResponseCode::Success => return 0,
        Tss2ResponseCode::FormatZero(code) => code.to_string(),
        Tss2ResponseCode::FormatOne(code) => code.to_string(),
    };
    text.rsplit_once("0x").and_then(|(_, hex)| u32::from_str_radix(hex, 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_keep_their_numbers() {
        for number in [0x99d, 0x1df, 0x128, 0x921, 0x000a_000a] {
            assert_eq!(raw(Tss2ResponseCode::from(number)), number);
        }
    }

    #[test]
    fn a_wrong_password_is_told_from_a_wrong_pin_by_the_step() {
        let at = |step| TpmError::from(Failure::Code { step, raw: 0x98e });
        assert_eq!(at(Step::Parent), TpmError::OwnerPassword);
        assert_eq!(at(Step::Load), TpmError::ParentPassword);
        assert_eq!(at(Step::Unseal), TpmError::WrongPin { tries_left: None });
    }
}
