//! Members of the real binary, each on a machine of its own as far as that can be had.

pub mod api;
pub mod disk;
pub mod error;
pub mod links;
pub mod member;
pub mod relay;
pub mod shim;

use quorate_testkit::{
    cluster::sees_voters, host::MemberHost, netns::NamespaceNet, scratch::ScratchFolder,
};
use std::{fs, io, path::Path, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use crate::{plan::RunPlan, planted_bugs};
use disk::{DiskKind, MemberDisk};
use error::ClusterError;
use member::{ClusterMember, LOG, MemberPorts};
use relay::RelayDelay;

/// Time limit on a busy machine for what should take a second or two.
pub const SOON: Duration = Duration::from_secs(30);

/// The members, and what they stand on.
pub struct ChaosCluster {
    /// The members, from member 1 on.
    pub members: Vec<Arc<ClusterMember>>,
    /// The members' disks, in the same order.
    pub disks: Vec<MemberDisk>,
    /// The namespaces, where there are.
    pub net: Option<Arc<NamespaceNet>>,
    /// The delay of the relays between members, where there are some.
    pub slowness: Option<Arc<RelayDelay>>,
    /// The switch of the library that is loaded into each process, where there is a library.
    pub shims: Vec<shim::ShimSwitch>,
    // Last: what is on it ends before it.
    scratch: ScratchFolder,
}

impl ChaosCluster {
    /// Folders, disks, namespaces and settings; starts nothing.
    pub async fn prepare(
        plan: &RunPlan,
        net: Option<Arc<NamespaceNet>>,
        scratch: ScratchFolder,
        run: &Path,
    ) -> io::Result<ChaosCluster> {
        let mut cluster = ChaosCluster {
            members: Vec::new(),
            disks: Vec::new(),
            net,
            slowness: plan
                .nemeses
                .iter()
                .any(|name| ["latency", "far"].contains(&name.as_str()))
                .then(Arc::default),
            shims: Vec::new(),
            scratch,
        };
        let shim = if shim::needed(plan) {
            Some(shim::build(cluster.scratch.path())?)
        } else {
            None
        };
        for id in 1..=plan.members as u64 {
            cluster.add_member(plan, id, shim.as_deref(), run).await?;
        }
        Ok(cluster)
    }

    /// Makes a member's folder, disk, settings and, where there are some, its relay.
    async fn add_member(
        &mut self,
        plan: &RunPlan,
        id: u64,
        shim: Option<&Path>,
        run: &Path,
    ) -> io::Result<()> {
        let kind = DiskKind::for_nemeses(&plan.nemeses);
        let dir = run.join("members").join(id.to_string());
        fs::create_dir_all(&dir)?;
        let disk = MemberDisk::make(kind, &self.scratch.path().join(format!("disk-{id}")))?;
        let environment = self.environment(plan, id, shim)?;
        let (host, ports) = match &self.net {
            Some(net) => (MemberHost::namespace(net, id as usize - 1), NAMESPACE_PORTS),
            None => (MemberHost::loopback(), MemberPorts::free()),
        };
        let ip = host.address();
        let log = match kind {
            DiskKind::Small => disk.path().join(LOG),
            DiskKind::Ext4 | DiskKind::Folder => std::path::absolute(&dir)?.join(LOG),
        };
        let member = ClusterMember {
            id,
            log,
            data: disk.path().join("data"),
            dir: std::path::absolute(&dir)?,
            ip,
            ports,
            host,
            quorate: plan.quorate.clone(),
            environment,
            process: Default::default(),
            ended: Default::default(),
            excused: Default::default(),
        };
        let mut text = settings(plan, &member);
        if let Some(slowness) = &self.slowness {
            let host = self.net.as_ref().map_or(ip, |net| net.host());
            let peer = (ip, ports.peer).into();
            let relay = relay::start(host, peer, slowness.clone()).await?;
            text += &format!("peer.advertise = \"{relay}\"\n");
        }
        fs::write(member.config(), text)?;
        self.members.push(Arc::new(member));
        self.disks.push(disk);
        Ok(())
    }

    /// Makes the environment of a member's process: the library's, and the planted bug's.
    fn environment(
        &mut self,
        plan: &RunPlan,
        id: u64,
        shim: Option<&Path>,
    ) -> io::Result<Vec<(String, String)>> {
        let mut environment = Vec::new();
        if let Some(library) = shim {
            let switch = self.scratch.path().join(format!("switch-{id}"));
            let switch = shim::ShimSwitch::make(&switch)?;
            environment.extend(switch.environment(library));
            if plan.mutant.as_deref() == Some(shim::LIES) {
                switch.sync_errno(-1)?;
            }
            self.shims.push(switch);
        }
        let planted = plan.mutant.as_ref();
        if let Some(mutant) = planted.filter(|name| !planted_bugs::in_harness(name)) {
            environment.push(("QUORATE_MUTANT".to_owned(), mutant.clone()));
        }
        Ok(environment)
    }

    /// Starts all members; returns when each sees all as voters and one leader.
    pub async fn boot(&self) -> Result<(), ClusterError> {
        self.members[0].start(&["--bootstrap"])?;
        self.voters(1).await?;
        let join = self.members[0].admin("");
        for member in &self.members[1..] {
            member.start(&["--join", &join])?;
        }
        self.voters(self.members.len()).await
    }

    /// Waits until every running member sees so many voters and is ready.
    pub async fn voters(&self, count: usize) -> Result<(), ClusterError> {
        for member in self.members.iter().filter(|member| member.pid().is_some()) {
            let what = format!("{count} voters at member {}", member.id);
            let admin = member.admin("");
            api::until(&what, SOON, || sees_voters(api::client(), &admin, count)).await?;
        }
        Ok(())
    }

    /// Returns the member of this id.
    pub fn member(&self, id: u64) -> &Arc<ClusterMember> {
        &self.members[id as usize - 1]
    }

    /// Returns the member that most of the running ones take for the leader.
    pub async fn leader(&self) -> Option<u64> {
        for _ in 0..100 {
            let mut asked = JoinSet::new();
            for member in self.members.iter().filter(|member| member.pid().is_some()) {
                asked.spawn(known_leader(member.admin("/v1/cluster/leader")));
            }
            let mut votes = vec![0; self.members.len() + 1];
            while let Some(told) = asked.join_next().await {
                if let Some(id) = told.ok().flatten().filter(|id| *id < votes.len()) {
                    votes[id] += 1;
                }
            }
            let most = (1..votes.len()).max_by_key(|id| votes[*id])?;
            if votes[most] > 0 {
                return Some(most as u64);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    /// Returns the folder for files that end with the run.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }
}

impl Drop for ChaosCluster {
    fn drop(&mut self) {
        for member in &self.members {
            member.end();
        }
        self.disks.clear();
    }
}

const NAMESPACE_PORTS: MemberPorts = MemberPorts {
    http: 17010,
    admin: 17110,
    peer: 17210,
};

/// Returns the id that a member's name tells, which need not be its id in the group.
pub fn id_of(name: &str) -> Option<usize> {
    name.strip_prefix("member-")?.parse().ok()
}

fn settings(plan: &RunPlan, member: &ClusterMember) -> String {
    let ClusterMember {
        id,
        ip,
        data,
        ports,
        ..
    } = member;
    let insecure = member.host.net().is_some();
    let MemberPorts { http, admin, peer } = ports;
    format!(
        "name = \"member-{id}\"\ndata_dir = {data:?}\npid_file = \"pid\"\n\
         failover_ms = {}\ninsecure = {insecure}\n\
         http.bind = \"{ip}:{http}\"\nadmin.bind = \"{ip}:{admin}\"\npeer.bind = \"{ip}:{peer}\"\n\
         snapshot.entries = {}\nsnapshot.keep = {}\n",
        plan.failover_ms,
        plan.snapshot_entries,
        plan.snapshot_entries / 4,
    )
}

/// Returns the leader that a member knows; a member that is silent for long knows none.
async fn known_leader(url: String) -> Option<usize> {
    let asked = tokio::time::timeout(Duration::from_millis(200), api::get(&url)).await;
    let told = asked.ok()?.ok()?;
    id_of(told["leader"]["name"].as_str()?)
}
