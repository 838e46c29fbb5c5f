//! Gate that keeps two clusters from merging by accident.
//!
//! Every call names the cluster of its caller and the member that it is meant for, and any
//! other member refuses it.

use std::fmt::Display;

use quorate_types::MemberId;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
    service::Interceptor,
};

const CLUSTER: &str = "quorate-cluster";
const TARGET: &str = "quorate-target";

/// Mark of a refusal that came before anything was looked at: the caller then knows that
/// nothing was done.
pub(super) const UNTOUCHED: &str = "quorate-untouched";

/// Stamp on each call: the cluster of the caller, and the member that is meant.
#[derive(Clone, Debug)]
pub(crate) struct ClusterStamp {
    cluster: MetadataValue<Ascii>,
    target: MetadataValue<Ascii>,
}

impl ClusterStamp {
    /// Returns `None` if the cluster's id is not printable ASCII.
    pub(super) fn new(cluster: &str, target: MemberId) -> Option<Self> {
        Some(ClusterStamp {
            cluster: cluster.parse().ok()?,
            target: target.to_string().parse().ok()?,
        })
    }
}

impl Interceptor for ClusterStamp {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert(CLUSTER, self.cluster.clone());
        metadata.insert(TARGET, self.target.clone());
        Ok(request)
    }
}

/// Refuses calls that are meant for another member.
#[derive(Clone, Debug)]
pub(crate) struct ClusterGate {
    cluster: String,
    me: MemberId,
}

impl ClusterGate {
    pub(crate) fn new(cluster: &str, me: MemberId) -> Self {
        ClusterGate {
            cluster: cluster.to_owned(),
            me,
        }
    }
}

impl Interceptor for ClusterGate {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let stamped = |key| request.metadata().get(key).and_then(|v| v.to_str().ok());
        let (Some(cluster), Some(target)) = (stamped(CLUSTER), stamped(TARGET)) else {
            return Err(refusal(format!(
                "the call lacks {CLUSTER} or {TARGET}; this port is for members of cluster {} only",
                self.cluster
            )));
        };
        if cluster != self.cluster {
            return Err(refusal(format!(
                "this is member {} of cluster {}, the caller belongs to cluster {cluster}; two \
                 clusters never merge. Check the peer addresses",
                self.me, self.cluster
            )));
        }
        if target != self.me.to_string() {
            return Err(refusal(format!(
                "this is member {}, the call is meant for member {target}; check the peer \
                 address of member {target}",
                self.me
            )));
        }
        Ok(request)
    }
}

/// Returns a refusal that tells the caller that nothing was looked at.
pub(super) fn refusal(why: impl Display) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(UNTOUCHED, MetadataValue::from_static("true"));
    Status::with_metadata(Code::FailedPrecondition, why.to_string(), metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(cluster: &str, target: MemberId, gate: &ClusterGate) -> Result<(), Status> {
        let mut stamp = ClusterStamp::new(cluster, target).unwrap();
        let request = stamp.call(Request::new(()))?;
        gate.clone().call(request).map(drop)
    }

    #[test]
    fn gate_admits_only_requests_for_this_member() {
        let gate = ClusterGate::new("aa11", 3);
        through("aa11", 3, &gate).unwrap();

        let other = through("bb22", 3, &gate).unwrap_err();
        assert_eq!(other.code(), Code::FailedPrecondition);
        assert!(other.message().contains("cluster aa11"), "{other}");
        assert!(other.message().contains("cluster bb22"), "{other}");
        assert!(other.metadata().contains_key(UNTOUCHED));

        let other = through("aa11", 4, &gate).unwrap_err();
        assert!(other.message().contains("meant for member 4"), "{other}");

        let bare = gate.clone().call(Request::new(())).unwrap_err();
        assert!(bare.message().contains("lacks"), "{bare}");
    }
}
