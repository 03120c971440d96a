//! A proxy between the helper and the TPM that keeps what passes, and can act in between.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::swtpm::port_pair;

/// `TPM2_CC_Unseal` and `TPM2_CC_PCR_Extend` (TPM 2.0 Library, part 2, section 6.5.2).
const UNSEAL: u32 = 0x15e;
const PCR_EXTEND: u32 = 0x182;

/// A running proxy. Its threads end with the test's process.
pub(crate) struct Tap {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    trace: Mutex<Vec<u8>>,
    /// How many more unsealings are preceded by a change of register 8.
    races: AtomicUsize,
    unseals: AtomicUsize,
}

impl Tap {
    /// Starts a proxy before the TPM at a port.
    pub(crate) fn start(upstream: u16) -> Self {
        let (data, control) = port_pair();
        let port = data.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let observer = Arc::clone(&shared);
        serve(data, upstream, move |client, tpm| converse(client, tpm, &observer));
        serve(control, upstream + 1, copy_both_ways);
        Self { port, shared }
    }

    /// Where to connect instead of to the TPM.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Extends register 8 before each of the next unsealings, after the policy was stated.
    pub(crate) fn race(&self, times: usize) {
        self.shared.races.store(times, Ordering::SeqCst);
    }

    /// Counts the unseal commands that passed.
    pub(crate) fn unseals(&self) -> usize {
        self.shared.unseals.load(Ordering::SeqCst)
    }

    /// How many bytes have passed.
    pub(crate) fn len(&self) -> usize {
        self.shared.trace.lock().unwrap().len()
    }

    /// Tells whether bytes have passed in clear.
    pub(crate) fn has_seen(&self, needle: &[u8]) -> bool {
        self.shared.trace.lock().unwrap().windows(needle.len()).any(|part| part == needle)
    }
}

fn serve(
    listener: TcpListener,
    upstream: u16,
    talk: impl Fn(TcpStream, TcpStream) -> io::Result<()> + Clone + Send + 'static,
) {
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let talk = talk.clone();
            thread::spawn(move || {
                let tpm = TcpStream::connect(("127.0.0.1", upstream))?;
                talk(client, tpm)
            });
        }
    });
}

/// Commands and answers take turns, each with its length at the same place.
fn converse(mut client: TcpStream, mut tpm: TcpStream, shared: &Shared) -> io::Result<()> {
    loop {
        let command = message(&mut client)?;
        shared.trace.lock().unwrap().extend_from_slice(&command);
        if command[6..10] == UNSEAL.to_be_bytes() {
            shared.unseals.fetch_add(1, Ordering::SeqCst);
            let one_less = |left: usize| left.checked_sub(1);
            if shared.races.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
                tpm.write_all(&extend())?;
                let answer = message(&mut tpm)?;
                assert_eq!(answer[6..10], [0; 4], "the register can't be extended");
            }
        }
        tpm.write_all(&command)?;
        let answer = message(&mut tpm)?;
        shared.trace.lock().unwrap().extend_from_slice(&answer);
        client.write_all(&answer)?;
    }
}

/// Reads one message: a tag of two bytes, a length of four, the rest.
fn message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 10];
    stream.read_exact(&mut bytes)?;
    let length = u32::from_be_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]) as usize;
    bytes.resize(length, 0);
    stream.read_exact(&mut bytes[10..])?;
    Ok(bytes)
}

/// `TPM2_PCR_Extend` of register 8 with an empty password (part 3, section 22.2).
fn extend() -> Vec<u8> {
    let mut command = vec![0x80, 0x02, 0, 0, 0, 0];
    command.extend(PCR_EXTEND.to_be_bytes());
    command.extend(8_u32.to_be_bytes());
    // One authorization: TPM_RS_PW, no nonce, continue, no password.
    command.extend(9_u32.to_be_bytes());
    command.extend([0x40, 0, 0, 9, 0, 0, 1, 0, 0]);
    // One digest, SHA-256.
    command.extend([0, 0, 0, 1, 0, 0x0b]);
    command.extend([0xa5; 32]);
    let length = u32::try_from(command.len()).unwrap();
    command[2..6].copy_from_slice(&length.to_be_bytes());
    command
}

fn copy_both_ways(client: TcpStream, tpm: TcpStream) -> io::Result<()> {
    let (mut from_client, mut to_tpm) = (client.try_clone()?, tpm.try_clone()?);
    let up = thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_tpm);
        let _ = to_tpm.shutdown(Shutdown::Both);
    });
    let (mut from_tpm, mut to_client) = (tpm, client);
    let _ = io::copy(&mut from_tpm, &mut to_client);
    let _ = to_client.shutdown(Shutdown::Both);
    up.join().unwrap();
    Ok(())
}
