//! Does a request at a TPM, as often as it is worth trying.

use std::thread;
use std::time::Duration;

use mcp_bridge_tpm::TpmError;
use mcp_bridge_tpm::protocol::{Answer, Operation, Reply, Request, WireSecret};
use mcp_bridge_tpm::response_code::ResponseCode;
use tss_esapi::Context;
use tss_esapi::tcti_ldr::TctiNameConf;

mod failure;
mod info;
mod object;
mod parent;
mod register;
mod session;

use failure::{Failure, Step};

/// How often an unsealing is begun anew because a register was extended meanwhile: common just
/// after boot and login.
const PCR_TRIES: u32 = 10;

/// How often a TPM that asks to be asked again is.
const RETRIES: u32 = 3;

/// The first pause before asking again; it doubles.
const PAUSE: Duration = Duration::from_millis(100);

/// Performs one request.
pub(crate) fn perform(request: Request<'_>) -> Answer {
    let tcti: TctiNameConf = request
        .tcti
        .as_str()
        .parse()
        .map_err(|_| TpmError::usage("this transport to the TPM isn't known"))?;
    let is_device = request.tcti.device().is_some();
    let operation = prepare(request.operation)?;
    persist(is_device, || {
        // A new context for each try: when it is dropped, all it made in the TPM is flushed, on
        // errors too.
        let mut context = Context::new(tcti.clone()).map_err(Failure::at(Step::Open))?;
        operation(&mut context)
    })
}

type Prepared<'a> = Box<dyn Fn(&mut Context) -> Result<Reply, Failure> + 'a>;

/// Checks what the request holds, before the TPM is opened.
fn prepare(operation: Operation<'_>) -> Result<Prepared<'_>, TpmError> {
    Ok(match operation {
        Operation::Info => Box::new(|context| info::read(context).map(Reply::Info)),
        Operation::Seal { key, pcrs, pin } => {
            let key = key.to_key().ok_or_else(|| TpmError::usage("the key isn't 32 bytes"))?;
            let pin = pin.map(|pin| pin.to_pin()).transpose()?;
            Box::new(move |context| {
                let sealed = object::seal(context, &key, &pcrs, pin.as_ref())?;
                Ok(Reply::Sealed(Box::new(sealed)))
            })
        }
        Operation::Unseal { object, pin, force } => {
            let pin = pin.map(|pin| pin.to_pin()).transpose()?;
            if object.policy.pin && pin.is_none() {
                return Err(TpmError::PinMissing);
            }
            Box::new(move |context| {
                let key = object::unseal(context, &object, pin.as_ref(), force)?;
                Ok(Reply::Key(WireSecret::key(&key)))
            })
        }
        Operation::PcrDiff { policy } => {
            Box::new(move |context| register::diff(context, &policy).map(Reply::Drift))
        }
    })
}

/// Tries again where that can help, and nowhere else: a wrong PIN costs a try each time.
fn persist(is_device: bool, attempt: impl Fn() -> Result<Reply, Failure>) -> Answer {
    let (mut pcr_tries, mut retries, mut slot_tries, mut pause) = (1, 0, 0, PAUSE);
    loop {
        let failure = match attempt() {
            Ok(reply) => return Ok(reply),
            Err(failure) => failure,
        };
        match failure.code() {
            Some(ResponseCode::PcrChanged) if pcr_tries < PCR_TRIES => pcr_tries += 1,
            Some(ResponseCode::OutOfSlots) if slot_tries < 1 => {
                slot_tries += 1;
                thread::sleep(2 * PAUSE);
            }
            Some(code)
                if retries < RETRIES
                    // The kernel's EBUSY comes as a failure of the transport.
                    && (code == ResponseCode::Retry
                        || code == ResponseCode::Transport && is_device) =>
            {
                retries += 1;
                thread::sleep(pause);
                pause *= 2;
            }
            _ => return Err(failure.into()),
        }
    }
}
