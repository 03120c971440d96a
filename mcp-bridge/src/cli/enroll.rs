//! Describes the command line of `enroll`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Arguments of `enroll`.
#[derive(Args, Debug)]
#[command(after_help = ENROLL_AFTER_HELP)]
pub(crate) struct Enroll {
    /// The role's id, or @FILE
    #[arg(long, value_name = "ID|@FILE", required_unless_present = "update")]
    pub(crate) role_id: Option<String>,
    /// Accessor of the secret_id that was issued: another one is refused
    #[arg(long, value_name = "ACCESSOR")]
    pub(crate) accessor: Option<String>,
    /// What is to keep the credential [default: tpm2; with --update: what keeps it]
    #[arg(long, value_enum)]
    pub(crate) store: Option<EnrollStore>,
    /// Bind it to platform registers too, like 7, or to none; an update of the firmware then ends it
    #[arg(long, value_name = "N,…")]
    pub(crate) pcrs: Option<String>,
    /// Let this machine replace its secret_id itself (provisioned with --self-rotate)
    #[arg(long)]
    pub(crate) self_rotate: bool,
    /// Ask for a PIN at each opening: from --pin-file, or typed here
    #[arg(long, conflicts_with = "no_pin")]
    pub(crate) pin: bool,
    /// With --update: ask for no PIN any more
    #[arg(long, requires = "update")]
    pub(crate) no_pin: bool,
    /// File with the PIN to set, where --pin-file gives the one that is set
    #[arg(long, value_name = "FILE", requires = "pin")]
    pub(crate) new_pin_file: Option<PathBuf>,
    /// Keep the same credential another way: other registers, another PIN, another store
    #[arg(long, conflicts_with_all = ["role_id", "accessor", "self_rotate"])]
    pub(crate) update: bool,
    /// Replace a credential that is kept already; with --update: spend the last try for its PIN
    #[arg(long)]
    pub(crate) force: bool,
    /// Say that --store plain-file protects against nobody who can copy the file
    #[arg(long)]
    pub(crate) i_understand_this_is_not_protected: bool,
}

/// What keeps an enrolled credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EnrollStore {
    /// This machine's TPM: a copied disk, backup or image is of no use elsewhere
    Tpm2,
    /// Nothing: a wrapping token is delivered at each start
    External,
    /// NOT PROTECTED: whoever copies the file has the credential
    PlainFile,
}

const ENROLL_AFTER_HELP: &str = "\
mcp-bridge provision prints this command. The wrapping token comes on stdin or in \
--wrapping-token-file, never as an argument. The TPM is tried first; then Vault is asked where the \
token was made, and only then is it used up.

--update needs no wrapping token and no Vault: it opens the credential, keeps it anew, reads it back, \
and only then lets go of the old file. What isn't named stays as it is.

A PIN has 1 to 32 bytes. The TPM counts wrong ones, for all its users, and locks; nothing here tries \
twice, or spends the last try unasked. A PIN in a file is worth what the file's place is worth.

With --force, the secret_id before is destroyed in Vault if the new credential may do so.

What no store stops: a process of the same user on this machine, while it runs.

Exit status: 0 done; 2 wrong usage; 10 no TPM; 11 no permission for it; 12 changed registers; 13 another TPM; 14 wrong PIN; 15 lockout; 16 the \
file; 20 Vault can't be reached; 21 it refuses the credential; 22 the wrapping token was used, \
remade or isn't one: have the secret_id revoked.";
