//! `Debug` for messages that hold secrets: shapes and names, never values.

use std::fmt::{Debug, Formatter, Result};

use crate::pb;

/// Writes a `Debug` that prints the listed fields and leaves out the others.
macro_rules! debug_only {
    ($($message:ident { $($field:ident),* })*) => { $(
        impl Debug for pb::$message {
            fn fmt(&self, f: &mut Formatter<'_>) -> Result {
                f.debug_struct(stringify!($message))
                    $(.field(stringify!($field), &self.$field))*
                    .finish_non_exhaustive()
            }
        }
    )* };
}

debug_only! {
    Auth { lease_options, display_name, policies, accessor, entity_id }
    GeneratePasswordFromPolicyReply {}
    Header {}
    Request { id, operation, path, mount_point, mount_type, display_name, entity_id, unauthenticated }
    Response { secret, auth, warnings, wrap_info, mount_type }
    ResponseWrapDataArgs { ttl, jwt }
    ResponseWrapInfo { ttl, accessor, creation_time, format, creation_path, seal_wrap }
    Secret { lease_options, lease_id }
    StorageEntry { key, seal_wrap }
}

#[cfg(test)]
mod tests {
    use super::pb::{
        self, Auth, Header, Request, Response, ResponseWrapInfo, Secret, StorageEntry,
    };

    const CANARY: &str = "c4n4ry";

    #[test]
    fn debug_prints_no_secret() {
        let auth =
            Auth { client_token: CANARY.into(), internal_data: CANARY.into(), ..Auth::default() };
        let secret = Secret { internal_data: CANARY.into(), ..Secret::default() };
        let header = Header { header: vec![CANARY.into()] };
        let messages: [&dyn std::fmt::Debug; 5] = [
            &pb::HandleRequestArgs {
                storage_id: 0,
                request: Some(Request {
                    path: "shown".into(),
                    data: CANARY.into(),
                    client_token: CANARY.into(),
                    auth: Some(auth.clone()),
                    secret: Some(secret.clone()),
                    headers: [("Authorization".into(), header.clone())].into(),
                    ..Request::default()
                }),
            },
            &pb::HandleRequestReply {
                response: Some(Response {
                    data: CANARY.into(),
                    redirect: CANARY.into(),
                    auth: Some(auth),
                    secret: Some(secret),
                    headers: [("Authorization".into(), header)].into(),
                    wrap_info: Some(ResponseWrapInfo {
                        token: CANARY.into(),
                        ..ResponseWrapInfo::default()
                    }),
                    warnings: vec!["shown".into()],
                    ..Response::default()
                }),
                err: None,
            },
            &pb::StoragePutArgs {
                entry: Some(StorageEntry {
                    key: "shown".into(),
                    value: CANARY.into(),
                    seal_wrap: true,
                }),
                txn: String::new(),
            },
            &pb::ResponseWrapDataArgs { data: CANARY.into(), ..Default::default() },
            &pb::GeneratePasswordFromPolicyReply { password: CANARY.into() },
        ];
        let bytes = format!("{:?}", CANARY.as_bytes());
        for message in messages {
            let text = format!("{message:?}");
            assert!(!text.contains(CANARY) && !text.contains(&bytes), "{text}");
        }
        assert!(format!("{:?}", messages[0]).contains("shown"));
        assert!(format!("{:?}", messages[2]).contains("shown"));
    }
}
