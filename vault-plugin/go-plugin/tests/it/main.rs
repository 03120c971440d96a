//! A host made of tonic and rustls drives a real plugin process over its real socket.

#[cfg(test)]
mod broker;
#[cfg(test)]
mod handshake;
#[cfg(test)]
mod host;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod logging;
#[cfg(test)]
mod tls;
