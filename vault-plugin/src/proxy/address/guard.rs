//! The judgement over one address: what may be dialled for a service, and why not.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::{AddressClass, Cidrs, carried_v4, classify, unmapped};

/// What a service may dial beyond public addresses, and what nobody may.
#[derive(Clone, Debug, Default)]
pub struct AddressGuard {
    /// `upstream_cidrs` of `config`: the bound for all services of the mount.
    pub mount: Cidrs,
    /// `upstream_cidrs` of the service, with the address of its `base_url` if that is one.
    pub service: Cidrs,
    /// `denied_destinations` of `config`: stronger than everything else.
    pub denied: Cidrs,
}

/// An address that passed the guard: the only kind that is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedAddress {
    address: IpAddr,
    class: AddressClass,
}

impl CheckedAddress {
    /// The address with a port, to connect to.
    pub fn socket(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }

    /// The class under which it passed.
    pub fn class(self) -> AddressClass {
        self.class
    }
}

/// Why an address may not be dialled. `Display` never prints the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forbidden {
    /// What kind of address it is.
    pub class: AddressClass,
    /// The address, for the operator's log.
    pub address: IpAddr,
    /// Which rule refused it.
    pub refusal: Refusal,
}

/// The rule that refused an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `denied_destinations` of the mount lists it.
    Denied,
    /// The class can't be opened at all.
    NeverOpened,
    /// The service's `upstream_cidrs` doesn't open it.
    NotInService,
    /// The mount's `upstream_cidrs` doesn't open it.
    NotInMount,
    /// The server that runs this plugin listens there.
    OwnServer,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the address is {}, {}", self.class, self.refusal)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => "a denied destination",
            Self::NeverOpened => "which is never dialled",
            Self::NotInService => "which the service's upstream_cidrs doesn't open",
            Self::NotInMount => "which the mount's upstream_cidrs doesn't open",
            Self::OwnServer => "where this server itself listens",
        })
    }
}

impl std::error::Error for Forbidden {}

impl AddressGuard {
    /// Judges one address: public ones pass, others only when the service and the mount both open
    /// them, and none that is denied.
    ///
    /// An IPv6 address that carries an IPv4 address passes only if that one would pass too: the
    /// translator on the way decides where it lands. An IPv4-mapped address becomes IPv4.
    ///
    /// # Errors
    ///
    /// [`Forbidden`] with the class and the rule.
    pub fn judge(&self, address: IpAddr) -> Result<CheckedAddress, Forbidden> {
        let address = unmapped(address);
        let class = classify(address);
        let forbidden = |refusal| Forbidden { class, address, refusal };
        if self.denied.contains(address) {
            return Err(forbidden(Refusal::Denied));
        }
        if class != AddressClass::Public {
            if !class.can_be_opened() {
                return Err(forbidden(Refusal::NeverOpened));
            }
            if !self.service.opens(address) {
                return Err(forbidden(Refusal::NotInService));
            }
            if !self.mount.opens(address) {
                return Err(forbidden(Refusal::NotInMount));
            }
            if let IpAddr::V6(address) = address
                && let Some(carried) = carried_v4(address, class)
                && let Err(refused) = self.judge(IpAddr::V4(carried))
            {
                return Err(forbidden(refused.refusal));
            }
        }
        Ok(CheckedAddress { address, class })
    }
}
