//! Check that a caller is the member that its message speaks of.
//!
//! A stranger doesn't come so far: behind TLS the peer port takes members of its own domain alone.
//! What is left is a member's certificate in the wrong place: a copied folder, a key that was
//! given to two hosts. Without this check its bearer could vote and append as any other member.
//!
//! 1. Whatever speaks for a member (a vote, a log, a snapshot, a transfer, a change of its entry in
//!    the membership) is compared with the certificate before anything is looked at or written,
//!    each message of a stream anew.
//! 2. It is compared with the number in the message, never with the list of members: one that was
//!    away doesn't know a newcomer that leads by now (`quorate_tls::CertificateIdentity` has the
//!    argument for names).
//! 3. Where this member has TLS, a call without a certificate is refused, whatever way it took.

use std::{sync::Arc, time::Duration};

use quorate_log::RateLimit;
use quorate_planted::{Mutant, planted};
use quorate_tls::{CertificateIdentity, ClientCertificate};
use quorate_types::{MemberId, MemberList};
use tokio::sync::watch;
use tonic::{Extensions, Status};

use super::{cluster_gate::refusal, peer_incoming::PeerCaller};

/// A refusal is told once a minute: heartbeats come many times a second.
static REFUSALS: RateLimit = RateLimit::new(Duration::from_secs(60));

/// Check of callers.
#[derive(Clone, Debug)]
pub(crate) struct CallerCheck {
    has_tls: bool,
    members: watch::Receiver<MemberList>,
}

/// Caller of one request, or of one stream of them.
#[derive(Clone)]
pub(super) struct Caller {
    check: CallerCheck,
    certificate: Option<Arc<ClientCertificate>>,
}

impl CallerCheck {
    pub(crate) fn new(has_tls: bool, members: watch::Receiver<MemberList>) -> Self {
        CallerCheck { has_tls, members }
    }

    /// Returns the caller of the request with these extensions.
    pub(super) fn caller(&self, extensions: &Extensions) -> Caller {
        let caller = extensions.get::<PeerCaller>();
        Caller {
            check: self.clone(),
            certificate: caller.and_then(|caller| caller.certificate.clone()),
        }
    }
}

impl Caller {
    /// Refuses a caller that may not speak for the member with this number.
    pub(super) fn speaks_for(&self, id: MemberId) -> Result<(), Status> {
        let Some(identity) = self.identity()? else {
            return Ok(());
        };
        let members = self.check.members.borrow();
        let known = members.iter().find(|m| m.id == id);
        let name = known.map(|m| m.member.name.as_str());
        if planted(Mutant::CallerNotCompared) || identity.may_speak_for(id, name) {
            return Ok(());
        }
        let known_as = name
            .map(|name| format!(", which is {name}"))
            .unwrap_or_default();
        Err(refused(format!(
            "the caller speaks for member {id}{known_as}, but its certificate is {identity}: each \
             member needs a certificate of its own"
        )))
    }

    /// Refuses a caller that may not enter itself in the membership as this: number 0 is a
    /// newcomer, for whom any member may ask.
    pub(super) fn may_enter(&self, id: MemberId, name: &str) -> Result<(), Status> {
        let Some(identity) = self.identity()? else {
            return Ok(());
        };
        if id == 0 {
            return Ok(());
        }
        self.speaks_for(id)?;
        if identity.may_be_named(name) {
            return Ok(());
        }
        Err(refused(format!(
            "member {id} calls itself {name:?}, but its certificate is {identity}: under TLS a \
             member keeps its name"
        )))
    }

    /// Returns whom the caller's certificate names; `None` where this member has no TLS.
    fn identity(&self) -> Result<Option<&CertificateIdentity>, Status> {
        if !self.check.has_tls {
            return Ok(None);
        }
        let certificate = self.certificate.as_ref();
        match certificate.and_then(|certificate| certificate.identity.as_ref()) {
            Some(identity) => Ok(Some(identity)),
            None => Err(refused("the call came without a member's certificate")),
        }
    }
}

fn refused(why: impl std::fmt::Display) -> Status {
    let why = why.to_string();
    if let Some(left_out) = REFUSALS.due(&why) {
        tracing::warn!(left_out, "a call on the peer port was refused: {why}");
    }
    refusal(why)
}

#[cfg(test)]
mod tests {
    use quorate_types::{Member, MemberStatus, Role};

    use super::*;

    fn caller(uri: Option<&str>, has_tls: bool) -> Caller {
        let names = ["a", "b", "c"].into_iter().enumerate();
        let members = names.map(|(at, name)| MemberStatus {
            id: at as MemberId + 1,
            member: Member {
                name: name.to_owned(),
                ..Member::default()
            },
            role: Role::Voter,
            lag: None,
            reachable: None,
        });
        let (_sender, members) = watch::channel(members.collect());
        let mut extensions = Extensions::new();
        let certificate = uri.map(|uri| {
            Arc::new(ClientCertificate {
                certificate: Vec::new().into(),
                identity: CertificateIdentity::parse(uri).ok(),
            })
        });
        extensions.insert(PeerCaller { certificate });
        CallerCheck::new(has_tls, members).caller(&extensions)
    }

    // Test 5 in part.
    // guarantee: SECURITY-9
    #[test]
    fn caller_speaks_only_for_its_own_number() {
        let b = caller(Some("quorate://x/member-name/b"), true);
        b.speaks_for(2).unwrap();
        for other in [1, 3] {
            let refused = b.speaks_for(other).unwrap_err();
            assert!(refused.message().contains("member-name/b"), "{refused}");
            assert!(
                refused
                    .metadata()
                    .contains_key(super::super::cluster_gate::UNTOUCHED)
            );
        }
        // A newcomer that this member has not heard of may lead by now.
        b.speaks_for(9).unwrap();
        let by_number = caller(Some("quorate://x/member/2"), true);
        by_number.speaks_for(2).unwrap();
        assert!(by_number.speaks_for(9).is_err());
    }

    #[test]
    fn caller_without_certificate_is_refused_behind_tls() {
        assert!(caller(None, true).speaks_for(1).is_err());
        assert!(caller(None, true).may_enter(0, "d").is_err());
        caller(None, false).speaks_for(1).unwrap();
        let client = caller(Some("quorate://x/client/ann"), true);
        assert!(client.speaks_for(1).is_err() && client.speaks_for(9).is_err());
    }

    #[test]
    fn member_keeps_its_name_behind_tls() {
        let b = caller(Some("quorate://x/member-name/b"), true);
        b.may_enter(2, "b").unwrap();
        b.may_enter(0, "d").unwrap();
        assert!(b.may_enter(2, "other").is_err());
        assert!(b.may_enter(3, "b").is_err());
    }
}
