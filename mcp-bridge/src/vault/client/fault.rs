//! Tells from an HTTP library's error whether the request left, and what kept it.

use std::error::Error as _;

use crate::vault::{ConnectFault, Lost, TlsFault, Unavailable};

/// Tells what became of a request that wasn't answered.
pub(super) fn lost(error: &reqwest::Error) -> Lost {
    if error.is_connect() {
        let fault = connect_fault(error);
        tracing::debug!(%fault, "no connection to Vault");
        return Lost::NeverSent(Unavailable::NoConnection(fault));
    }
    if error.is_builder() {
        return Lost::NeverSent(Unavailable::NoConnection(ConnectFault::Other));
    }
    lost_later(error)
}

/// The same, where the request has left.
pub(super) fn lost_later(error: &reqwest::Error) -> Lost {
    if error.is_timeout() { Lost::TimedOut } else { Lost::Broken }
}

fn connect_fault(error: &reqwest::Error) -> ConnectFault {
    if error.is_timeout() {
        return ConnectFault::Timeout;
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            // The log tells the operator which check failed; rustls' texts hold no secrets.
            tracing::warn!(problem = %tls, "TLS with Vault failed");
            return ConnectFault::Tls(tls_fault(tls));
        }
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
            return ConnectFault::Refused;
        }
        // An io::Error's source is the source of what it carries; what it carries comes first.
        let carried = io.and_then(std::io::Error::get_ref);
        cause = carried.map(|inner| inner as _).or_else(|| error.source());
    }
    if error.is_dns() { ConnectFault::Name } else { ConnectFault::Other }
}

fn tls_fault(error: &rustls::Error) -> TlsFault {
    use rustls::{AlertDescription, CertificateError, Error};

    #[expect(clippy::wildcard_enum_match_arm, reason = "rustls' enums are open by declaration")]
    match error {
        Error::InvalidCertificate(fault) => match fault {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                TlsFault::Expired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsFault::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsFault::WrongName
            }
            // The signature is checked against an authority of the same name, with another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                TlsFault::UnknownIssuer
            }
            _ => TlsFault::Other,
        },
        Error::InvalidMessage(_) => TlsFault::NoTls,
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => TlsFault::ClientCertificate,
        _ => TlsFault::Other,
    }
}
