//! `/v1/security/keys`: the key by which the cluster seals its secrets, and who can open it.
//!
//! | call | answer |
//! |---|---|
//! | `GET /v1/security/keys` | 200 [`KeysAnswer`] |
//! | `POST /v1/security/keys/rotate` | 202 [`KeysAnswer`]: another version was added; the secrets are sealed by it one after the other, and the old version is dropped. 409 `rotation_running` while one goes on |
//! | `POST /v1/security/keys/accept` `{"member":NAME}` | 200 [`KeysAnswer`]: the member's new sealing key counts from now on |
//! | `PUT /v1/security/keys/recovery` `{"public_key":HEX}` | 200 [`KeysAnswer`] |
//! | `GET /v1/security/keys/boxes` | 200 [`RecoveryBoxes`]: what the recovery key opens |
//! | `POST /v1/security/keys/boxes` [`RestoredBoxes`] | 200 [`KeysAnswer`]: what was opened by it, in boxes for members |
//!
//! No key passes here that would open anything: boxes only, and public keys. The private part of
//! the recovery key stays with who has it: `quorate secret recover` opens the boxes itself.

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::StatusCode;
use quorate_state::{
    self as state, Answer, Command, KeyringCommand,
    keyring::{KeyBox, MemberSealKey, RECOVERY, SealPublicKey},
};
use quorate_types::{MemberId, MemberStatus};
use quorate_vault::NoKey;
use serde::{Deserialize, Serialize};

use super::{
    AdminContext,
    access::{self, Routes},
    caller::CallerCluster,
    problem::ApiProblem,
    revision_headers::with_revision,
};
use crate::cluster::ClusterHandle;

/// The path of the keys.
pub const PATH: &str = "/v1/security/keys";

/// `GET /v1/security/keys`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysAnswer {
    /// The newest version of the cluster's key; 0: none yet.
    pub version: u32,
    /// The versions, each with the number of secrets that are sealed by it. More than one while a
    /// rotation goes on.
    pub versions: Vec<KeyVersionRow>,
    /// The number of secrets that stand in clear in the state.
    pub in_clear: u64,
    /// The members.
    pub members: Vec<SealKeyRow>,
    /// The recovery key's public key in hex; `null`: there is none.
    pub recovery: Option<String>,
    /// True once the recovery key opens every version.
    pub recoverable: bool,
}

/// One version of the cluster's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyVersionRow {
    /// The version.
    pub version: u32,
    /// The number of secrets that are sealed by it.
    pub secrets: u64,
}

/// The part of one member in the keyring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealKeyRow {
    /// The member's id.
    pub id: MemberId,
    /// The member's name.
    pub name: String,
    /// Whether it can open the cluster's key.
    pub state: KeyHolding,
    /// Its public key in hex: the one that waits to be accepted, where one does.
    pub public_key: Option<String>,
}

/// Whether a member can open the cluster's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyHolding {
    /// It has a box with every version.
    Holds,
    /// It is given a box within moments.
    Waits,
    /// It announces another key than the one that was accepted.
    OtherKey,
    /// It has not announced a key.
    NotAnnounced,
}

/// `GET /v1/security/keys/boxes`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryBoxes {
    /// The cluster's id, which is part of what the boxes are sealed for.
    pub cluster: String,
    /// The boxes that the recovery key opens.
    pub boxes: Vec<BoxRow>,
    /// The members with the public keys that they have now.
    pub members: Vec<SealKeyRow>,
}

/// `POST /v1/security/keys/boxes`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoredBoxes {
    /// The boxes for members, whose keys are accepted with them.
    pub boxes: Vec<BoxRow>,
}

/// A box with a version of the cluster's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoxRow {
    /// The version.
    pub version: u32,
    /// The member that can open it; 0: the recovery key.
    pub owner: MemberId,
    /// The public key that it is for, in hex.
    pub public_key: String,
    /// The box, in base64.
    pub content: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecoveryRequest {
    public_key: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceptRequest {
    member: String,
}

/// The routes.
pub(super) fn routes() -> Routes<AdminContext> {
    Routes::new()
        .on(&access::KEYS, keys)
        .on(&access::ROTATE_KEYS, rotate)
        .on(&access::ACCEPT_KEY, accept)
        .on(&access::SET_RECOVERY_KEY, set_recovery)
        .on(&access::KEY_BOXES, boxes)
        .on(&access::RESTORE_KEY_BOXES, restore)
}

async fn keys(State(context): State<AdminContext>) -> Result<Response, ApiProblem> {
    let deadline = context.cluster.write_deadline();
    let state = context.cluster.fresh_state(deadline).await?;
    let answer = Json(keys_answer(&context, &state));
    Ok(with_revision(state.revision(), answer.into_response()))
}

async fn rotate(
    State(context): State<AdminContext>,
    CallerCluster(cluster): CallerCluster,
) -> Result<Response, ApiProblem> {
    let deadline = context.cluster.write_deadline();
    let state = context.cluster.fresh_state(deadline).await?;
    let keyring = state.keyring();
    if keyring.oldest() != keyring.newest() {
        return Err(rotation_running());
    }
    // Who could not open the present key would add one by which nothing can be sealed anew.
    if let Some(why) = context.cluster.vault().missing_key(keyring) {
        return Err(sealed(why.to_string()));
    }
    let members: Vec<MemberId> = context
        .cluster
        .node()
        .members()
        .iter()
        .map(|it| it.id)
        .collect();
    let next = context.cluster.vault().add_version(keyring, &members);
    let next = next.map_err(|error| ApiProblem::internal(error.to_string()))?;
    match propose(&context, &cluster, next).await {
        Err(problem) if problem.code() == "conflict" => Err(rotation_running()),
        done => done.map(|answer| (StatusCode::ACCEPTED, answer).into_response()),
    }
}

async fn accept(
    State(context): State<AdminContext>,
    CallerCluster(cluster): CallerCluster,
    body: Result<Json<AcceptRequest>, JsonRejection>,
) -> Result<Response, ApiProblem> {
    let Json(AcceptRequest { member }) = body?;
    let deadline = context.cluster.write_deadline();
    let state = context.cluster.fresh_state(deadline).await?;
    let members = context.cluster.node().members();
    let found = members.iter().find(|it| it.member.name == member);
    let id = found
        .map(|it| it.id)
        .ok_or_else(|| ApiProblem::not_found(format!("there is no member {member:?}")))?;
    let pending = state.keyring().members().get(&id).and_then(|it| it.pending);
    let public_key = pending.ok_or_else(|| {
        let detail = format!("{member} has no new sealing key that waits to be accepted");
        ApiProblem::new(StatusCode::CONFLICT, "conflict", detail)
    })?;
    let accept = KeyringCommand::Accept {
        member: id,
        public_key,
    };
    propose(&context, &cluster, accept)
        .await
        .map(IntoResponse::into_response)
}

async fn set_recovery(
    State(context): State<AdminContext>,
    CallerCluster(cluster): CallerCluster,
    body: Result<Json<RecoveryRequest>, JsonRejection>,
) -> Result<Response, ApiProblem> {
    let Json(RecoveryRequest { public_key }) = body?;
    let public_key = key_from_hex(&public_key)?;
    // The boxes of the one before go. Where nobody can make others they may be the last that open.
    let deadline = context.cluster.write_deadline();
    let state = context.cluster.fresh_state(deadline).await?;
    if let Some(why) = context.cluster.vault().missing_key(state.keyring()) {
        return Err(sealed(why.to_string()));
    }
    let set = KeyringCommand::SetRecovery { public_key };
    propose(&context, &cluster, set)
        .await
        .map(IntoResponse::into_response)
}

async fn boxes(State(context): State<AdminContext>) -> Result<Response, ApiProblem> {
    let deadline = context.cluster.write_deadline();
    let state = context.cluster.fresh_state(deadline).await?;
    let keyring = state.keyring();
    let Some(recovery) = keyring.recovery() else {
        return Err(ApiProblem::not_found(
            "there is no recovery key: `quorate secret recovery-key create` makes one, as long as a member can open the secrets",
        ));
    };
    let boxes = keyring.versions().filter_map(|(version, it)| {
        Some(BoxRow {
            version,
            owner: RECOVERY,
            public_key: hex(&recovery),
            content: BASE64_STANDARD.encode(it.boxes.get(&RECOVERY)?),
        })
    });
    let answer = RecoveryBoxes {
        cluster: context.cluster.node().cluster().to_owned(),
        boxes: boxes.collect(),
        members: rows(&context, &state),
    };
    Ok(Json(answer).into_response())
}

async fn restore(
    State(context): State<AdminContext>,
    CallerCluster(cluster): CallerCluster,
    body: Result<Json<RestoredBoxes>, JsonRejection>,
) -> Result<Response, ApiProblem> {
    let Json(RestoredBoxes { boxes }) = body?;
    let boxes = boxes.iter().map(box_from_row);
    let boxes: Vec<KeyBox> = boxes.collect::<Result<_, _>>()?;
    let deadline = context.cluster.write_deadline();
    let state = context.cluster.fresh_state(deadline).await?;
    for (member, known) in state.keyring().members() {
        let is_for_pending =
            |it: &&KeyBox| it.owner == *member && known.pending == Some(it.public_key);
        if let Some(it) = boxes.iter().find(is_for_pending) {
            let (member, public_key) = (*member, it.public_key);
            let accept = KeyringCommand::Accept { member, public_key };
            drop(propose(&context, &cluster, accept).await?);
        }
    }
    let add = KeyringCommand::AddBoxes { boxes };
    propose(&context, &cluster, add)
        .await
        .map(IntoResponse::into_response)
}

async fn propose(
    context: &AdminContext,
    cluster: &ClusterHandle,
    command: KeyringCommand,
) -> Result<Json<KeysAnswer>, ApiProblem> {
    // A member of an older version ends at a command that it doesn't know.
    if context.cluster.state().keyring().newest() == 0 {
        return Err(sealed(NoKey::NotMade.to_string()));
    }
    let deadline = context.cluster.write_deadline();
    let command = Command::Keyring(command.into());
    let (_, answer) = cluster.propose(command, deadline).await?;
    match answer {
        Answer::Done { .. } => Ok(Json(keys_answer(context, &context.cluster.state()))),
        refusal => {
            Err(ApiProblem::from_answer("the keyring", refusal)
                .expect("invariant: it was not done"))
        }
    }
}

/// Returns the keys as of `state`.
fn keys_answer(context: &AdminContext, state: &state::State) -> KeysAnswer {
    let (keyring, catalog) = (state.keyring(), state.catalog());
    let versions = keyring.versions().map(|(version, _)| KeyVersionRow {
        version,
        secrets: catalog.sealed_by(version),
    });
    let opens = |(_, it): (_, &state::keyring::KeyVersion)| it.boxes.contains_key(&RECOVERY);
    KeysAnswer {
        version: keyring.newest(),
        versions: versions.collect(),
        in_clear: catalog.sealed_by(0),
        members: rows(context, state),
        recovery: keyring.recovery().as_ref().map(|key| hex(key)),
        recoverable: keyring.newest() > 0 && keyring.versions().all(opens),
    }
}

fn rows(context: &AdminContext, state: &state::State) -> Vec<SealKeyRow> {
    let keyring = state.keyring();
    let row = |it: MemberStatus| {
        let known = keyring.members().get(&it.id);
        let has_all = || {
            keyring
                .versions()
                .all(|(_, of)| of.boxes.contains_key(&it.id))
        };
        SealKeyRow {
            id: it.id,
            name: it.member.name,
            state: match known {
                None => KeyHolding::NotAnnounced,
                Some(MemberSealKey {
                    pending: Some(_), ..
                }) => KeyHolding::OtherKey,
                Some(_) if keyring.newest() > 0 && has_all() => KeyHolding::Holds,
                Some(_) => KeyHolding::Waits,
            },
            public_key: known.map(|it| hex(&it.pending.unwrap_or(it.public_key))),
        }
    };
    let members = context.cluster.node().members();
    members.into_iter().map(row).collect()
}

fn rotation_running() -> ApiProblem {
    let detail = "a rotation of the cluster's key is going on: see `quorate secret status`";
    ApiProblem::new(StatusCode::CONFLICT, "rotation_running", detail)
}

fn sealed(why: String) -> ApiProblem {
    ApiProblem::new(StatusCode::SERVICE_UNAVAILABLE, "sealed", why)
}

fn box_from_row(row: &BoxRow) -> Result<KeyBox, ApiProblem> {
    let content = BASE64_STANDARD.decode(&row.content);
    let content = content.map_err(|_| ApiProblem::bad_request("a box must be in base64"))?;
    Ok(KeyBox {
        version: row.version,
        owner: row.owner,
        public_key: key_from_hex(&row.public_key)?,
        content: content.into(),
    })
}

/// Writes a public key in hex.
pub fn hex(key: &SealPublicKey) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_from_hex(text: &str) -> Result<SealPublicKey, ApiProblem> {
    read_hex(text)
        .ok_or_else(|| ApiProblem::bad_request("a public key must be 64 hexadecimal digits"))
}

/// Reads a public key in hex.
pub fn read_hex(text: &str) -> Option<SealPublicKey> {
    let digits = text.as_bytes();
    let mut key = SealPublicKey::default();
    if digits.len() != 2 * key.len() {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_keys_go_through_hex() {
        let key: SealPublicKey = std::array::from_fn(|n| n as u8 * 7);
        assert_eq!(read_hex(&hex(&key)), Some(key));
        for bad in ["", "00", &"g".repeat(64), &"0".repeat(63), &"é".repeat(32)] {
            assert_eq!(read_hex(bad), None, "{bad}");
        }
    }
}
