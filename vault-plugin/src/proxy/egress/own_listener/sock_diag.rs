//! Asks the kernel for the sockets that listen, and for no others (`sock_diag(7)`): the tables in `/proc`
//! show every connection of the host, which takes 10 ms and more to go through.

use std::io;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

// linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h, net/tcp_states.h
const REQUEST_AND_DUMP: u16 = 0x301;
const BY_FAMILY: u16 = 20;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const TCP: u8 = 6;
const LISTENING: u32 = 1 << 10;
/// Of `nlmsghdr`, and of `inet_diag_req_v2` behind it.
const HEAD: usize = 16;
const QUERY: usize = 56;
/// The kernel sends no more in one piece.
const PIECE: usize = 32 << 10;

/// The inodes of the TCP sockets that listen on a port, on whatever address.
///
/// # Errors
/// Where sockets of this kind may not be opened, or the kernel can't tell.
pub(super) fn listening_on(port: u16) -> io::Result<Vec<u32>> {
    let families = [AddressFamily::INET, AddressFamily::INET6];
    let mut inodes = Vec::new();
    for family in families {
        listening(family, port, &mut inodes)?;
    }
    Ok(inodes)
}

fn listening(family: AddressFamily, port: u16, inodes: &mut Vec<u32>) -> io::Result<()> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    send(&socket, &query(family), SendFlags::empty())?;
    let mut piece = vec![0; PIECE];
    loop {
        let (length, _) = recv(&socket, piece.as_mut_slice(), RecvFlags::empty())?;
        let mut rest = piece.get(..length).unwrap_or_default();
        if rest.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while let Some((kind, message, next)) = split(rest) {
            match kind {
                DONE => return Ok(()),
                ERROR => return Err(io::ErrorKind::Unsupported.into()),
                _ => inodes.extend(found(message, port)),
            }
            rest = next;
        }
    }
}

fn query(family: AddressFamily) -> Vec<u8> {
    // All else is zero: any address, any port.
    let length = u32::try_from(HEAD + QUERY).unwrap_or_default();
    let family = u8::try_from(family.as_raw()).unwrap_or_default();
    let mut query = Vec::with_capacity(HEAD + QUERY);
    query.extend(length.to_ne_bytes());
    query.extend(BY_FAMILY.to_ne_bytes());
    query.extend(REQUEST_AND_DUMP.to_ne_bytes());
    query.extend([0; 8]);
    query.extend([family, TCP, 0, 0]);
    query.extend(LISTENING.to_ne_bytes());
    query.resize(HEAD + QUERY, 0);
    query
}

/// The first message: its kind, what it says, and what follows it.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let next = bytes.get(length.max(HEAD).next_multiple_of(4)..).unwrap_or_default();
    Some((kind, bytes.get(HEAD..length)?, next))
}

/// The inode in an `inet_diag_msg`, if its socket's port is the one.
fn found(message: &[u8], port: u16) -> Option<u32> {
    let own = u16::from_be_bytes(message.get(4..6)?.try_into().ok()?);
    let inode = u32::from_ne_bytes(message.get(68..72)?.try_into().ok()?);
    (own == port).then_some(inode)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn finds_what_listens_on_either_family_and_nothing_else() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = match TcpListener::bind(address) {
                Ok(listener) => listener,
                // Not every machine has the newer family.
                Err(_) if address.starts_with('[') => continue,
                Err(error) => panic!("{error}"),
            };
            let port = listener.local_addr().unwrap().port();
            let inodes = listening_on(port).unwrap();
            assert_eq!(inodes.len(), 1, "{address}");
            assert_eq!(
                vec![inodes[0].to_string()],
                super::super::in_tables(std::process::id(), port)
            );
            // A connection on that port isn't a listener.
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let accepted = listener.accept().unwrap();
            drop(listener);
            assert_eq!(listening_on(port).unwrap(), [0_u32; 0], "{address}");
            drop((client, accepted));
        }
    }

    #[test]
    fn what_isnt_a_message_is_none() {
        for bytes in [&b""[..], &[0; 3], &[0; 15], &[255; 40]] {
            assert!(split(bytes).is_none(), "{bytes:?}");
        }
        assert_eq!(found(&[0; 71], 0), None);
    }
}
