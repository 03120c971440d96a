//! Tells why a TPM device can't be used, which the C library doesn't.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::TpmError;
use crate::tcti::Tcti;

/// Opens the device for reading and writing, and closes it again, if the transport is a device.
///
/// # Errors
///
/// [`TpmError::NoDevice`], [`TpmError::NoPermission`], or [`TpmError::Tpm12`] for a TPM of the
/// first generation, which the kernel gives no resource manager. A device that is busy passes: the
/// helper tries again.
pub fn check(tcti: &Tcti) -> Result<(), TpmError> {
    tcti.device().map_or(Ok(()), |device| check_device(&device))
}

fn check_device(device: &Path) -> Result<(), TpmError> {
    let Err(error) = OpenOptions::new().read(true).write(true).open(device) else { return Ok(()) };
    let kind = error.kind();
    if kind == ErrorKind::PermissionDenied {
        return Err(no_permission(device));
    }
    if kind != ErrorKind::NotFound {
        return Ok(());
    }
    if is_first_generation() {
        return Err(TpmError::Tpm12);
    }
    Err(TpmError::NoDevice { path: device.display().to_string() })
}

/// Linux, `Documentation/ABI/stable/sysfs-class-tpm`: 1 or 2.
fn is_first_generation() -> bool {
    fs::read_to_string("/sys/class/tpm/tpm0/tpm_version_major")
        .is_ok_and(|version| version.trim() == "1")
}

fn no_permission(device: &Path) -> TpmError {
    // A folder that may not be searched hides whose the device is.
    let (uid, gid, mode) = fs::metadata(device)
        .map_or((0, 0, 0), |data| (data.uid(), data.gid(), data.mode() & 0o7777));
    TpmError::NoPermission {
        path: device.display().to_string(),
        user: name_of(rustix::process::geteuid().as_raw(), "/etc/passwd"),
        owner: name_of(uid, "/etc/passwd"),
        group: name_of(gid, "/etc/group"),
        mode,
    }
}

/// Finds the name of an id in `passwd(5)` or `group(5)`; both have name, password, id. An id that
/// only a directory service knows stays a number.
fn name_of(id: u32, table: &str) -> String {
    let lines = File::open(table).map(BufReader::new).into_iter().flat_map(BufRead::lines);
    let found = lines.map_while(Result::ok).find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    });
    found.unwrap_or_else(|| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tpmrm0");
        let error = check(&format!("device:{}", path.display()).parse().unwrap()).unwrap_err();
        assert!(matches!(error, TpmError::NoDevice { .. } | TpmError::Tpm12), "{error}");
        fs::write(&path, "").unwrap();
        assert_eq!(check_device(&path), Ok(()));
    }

    #[test]
    fn ids_have_names() {
        assert_eq!(name_of(0, "/etc/passwd"), "root");
        assert_eq!(name_of(4_000_000_001, "/etc/group"), "4000000001");
    }
}
