//! Keeps requests away from the server that runs this plugin: its API, its cluster port.
//!
//! A plugin isn't told where its server listens, so this reads what the kernel shows of the parent
//! process. It is a second line, and best effort: where `/proc` can't be read, `denied_destinations`
//! of `config` is the operator's way.

mod sock_diag;

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Whether the parent process listens at an address of this host.
pub(super) fn is_own(target: SocketAddr) -> bool {
    is_this_host(target.ip()) && listens(std::os::unix::process::parent_id(), target.port())
}

/// Whether the kernel would reach the address without leaving the host.
fn is_this_host(address: IpAddr) -> bool {
    if address.is_loopback() || address.is_unspecified() {
        return true;
    }
    // Connecting a datagram socket sends nothing; it only asks for the route, and to an address of
    // its own the kernel answers from the same one.
    let any: SocketAddr = match address {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let local = UdpSocket::bind(any)
        .and_then(|socket| socket.connect((address, 9)).and_then(|()| socket.local_addr()));
    local.is_ok_and(|local| local.ip() == address)
}

/// Whether a process has a listening TCP socket on a port, on whatever address.
fn listens(process: u32, port: u16) -> bool {
    let inodes = match sock_diag::listening_on(port) {
        Ok(inodes) => inodes.iter().map(u32::to_string).collect(),
        Err(_) => in_tables(process, port),
    };
    if inodes.is_empty() {
        return false;
    }
    // Without leave to look at its files (a server with file capabilities gives none), these are only
    // known to be sockets of this host, where services may well be meant to be reached.
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    // As links there name them (`proc(5)`).
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|link| link.to_str().is_some_and(|link| links.iter().any(|known| known == link)))
}

/// The inodes of sockets that listen on a port, where the kernel may only be asked by reading its tables.
fn in_tables(process: u32, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let port = format!(":{port:04X}");
    ["tcp", "tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(format!("/proc/{process}/net/{table}")).ok())
        .flat_map(|table| {
            table
                .lines()
                .filter_map(|line| {
                    let mut columns = line.split_ascii_whitespace();
                    let (local, state) = (columns.nth(1)?, columns.nth(1)?);
                    let inode = columns.nth(5)?;
                    (state == LISTEN && local.ends_with(&port)).then(|| inode.to_owned())
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn finds_a_listener_of_a_process_and_no_other_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listens(std::process::id(), port));
        drop(listener);
        assert!(!listens(std::process::id(), port));
    }

    #[test]
    fn another_process_is_not_meant() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(!is_own(address), "the parent of a test listens elsewhere, if at all");
    }

    #[test]
    fn knows_this_host() {
        assert!(is_this_host([127, 9, 9, 9].into()));
        assert!(is_this_host(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16])));
        assert!(!is_this_host([192, 0, 2, 1].into()));
    }
}
