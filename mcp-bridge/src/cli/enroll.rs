//! Describes the command line of `enroll`.

use clap::{Args, ValueEnum};

/// Arguments of `enroll`.
#[derive(Args, Debug)]
#[command(after_help = ENROLL_AFTER_HELP)]
pub(crate) struct Enroll {
    /// The role's id, or @FILE
    #[arg(long, value_name = "ID|@FILE")]
    pub(crate) role_id: String,
    /// Accessor of the secret_id that was issued: another one is refused
    #[arg(long, value_name = "ACCESSOR")]
    pub(crate) accessor: Option<String>,
    /// What is to keep the credential
    #[arg(long, value_enum, default_value_t = EnrollStore::Tpm2)]
    pub(crate) store: EnrollStore,
    /// Bind it to platform registers too, like 7; an update of the firmware then ends it
    #[arg(long, value_name = "N,…")]
    pub(crate) pcrs: Option<String>,
    /// Let this machine replace its secret_id itself (provisioned with --self-rotate)
    #[arg(long)]
    pub(crate) self_rotate: bool,
    /// Replace a credential that is kept already
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

What no store stops: a process of the same user on this machine, while it runs.

Exit status: 0 done; 2 wrong usage; 10 no TPM; 11 no permission for it; 12 to 15 it refuses; 16 the \
file; 20 Vault can't be reached; 21 it refuses the credential; 22 the wrapping token was used, \
remade or isn't one: have the secret_id revoked.";
