//! A relay that keeps all that passes, to be searched for what must not pass in clear.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::swtpm::{Swtpm, free_pair, tcti};

/// A relay; its tasks end with the test's runtime.
#[derive(Debug)]
pub struct Tap {
    port: u16,
    /// What passed, one for each direction of each connection.
    traces: Traces,
}

type Traces = Arc<Mutex<Vec<Vec<u8>>>>;

impl Tap {
    /// Starts a relay before a server at `http://host:port`.
    pub fn before(server: &str) -> Self {
        let target = server.trim_start_matches("http://").parse().expect("an address");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let traces = Traces::default();
        serve(listener, target, &traces);
        Self { port, traces }
    }

    /// Starts a relay before both channels of a TPM.
    pub fn before_tpm(tpm: &Swtpm) -> Self {
        let (data, control) = free_pair();
        let port = data.local_addr().expect("an address").port();
        let traces = Traces::default();
        serve(data, ([127, 0, 0, 1], tpm.port()).into(), &traces);
        serve(control, ([127, 0, 0, 1], tpm.port() + 1).into(), &traces);
        Self { port, traces }
    }

    /// `http://127.0.0.1:port`, for a relay before a server.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The way to the TPM, for a relay before one.
    pub fn tcti(&self) -> String {
        tcti(self.port)
    }

    /// All that has passed.
    pub fn traces(&self) -> Vec<Vec<u8>> {
        self.traces.lock().unwrap().clone()
    }

    /// Tells whether bytes have passed as they are.
    pub fn has_seen(&self, needle: &[u8]) -> bool {
        let traces = self.traces.lock().unwrap();
        traces.iter().any(|trace| trace.windows(needle.len()).any(|part| part == needle))
    }
}

fn serve(listener: std::net::TcpListener, target: SocketAddr, traces: &Traces) {
    listener.set_nonblocking(true).expect("a listener for the runtime");
    let listener = TcpListener::from_std(listener).expect("a runtime");
    let traces = Arc::clone(traces);
    tokio::spawn(async move {
        while let Ok((caller, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(target).await else { continue };
            let ((from_caller, to_caller), (from_server, to_server)) =
                (caller.into_split(), server.into_split());
            tokio::spawn(relay(from_caller, to_server, Arc::clone(&traces)));
            tokio::spawn(relay(from_server, to_caller, Arc::clone(&traces)));
        }
    });
}

/// Passes one direction on, and its end.
async fn relay(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, traces: Traces) {
    let place = {
        let mut traces = traces.lock().unwrap();
        traces.push(Vec::new());
        traces.len() - 1
    };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        traces.lock().unwrap()[place].extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
