//! The engine through its paths, on storage in memory and real sockets on loopback.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod check;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod failpoints;
#[cfg(test)]
mod kinds;
#[cfg(test)]
mod mcp;
#[cfg(test)]
mod mount;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod races;
#[cfg(test)]
mod services;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod upstream;
#[cfg(test)]
mod versions;
#[cfg(test)]
mod warm;
