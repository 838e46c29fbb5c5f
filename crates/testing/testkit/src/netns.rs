//! Network namespaces on one bridge: a machine with an address of its own for each
//! member, and links between them that can be cut or forged resets on.
//!
//! The test process stays in the namespace it was started in and holds the bridge's
//! address, [`NamespaceNet::host`]: what listens there (a broker, a service) is reached from every
//! namespace, and what listens in a namespace is reached from the test. Faults are rules
//! of nftables inside the namespaces; nothing of the machine's own is touched. It takes
//! root, `ip`, `ss` (iproute2) and `nft` (nftables).

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write as _,
    net::Ipv4Addr,
    path::Path,
    process::{Child, Command, Stdio},
};

use parking_lot::Mutex;
use quorate_clock::rng;
use rand::Rng;

/// Names of everything made here begin with it.
const PREFIX: &str = "qr-";
/// What a bridge says of itself: whose it is, followed by a process id.
const OWNER: &str = "quorate test of process ";
/// Networks to choose from: the /24s of 198.18.0.0/15, which RFC 2544 sets aside for
/// tests of network equipment, so that no real network is hidden.
const NETWORKS: u16 = 512;
const TABLE: &str = "inet quorate_test";

/// What happens to the packets of one link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LinkFault {
    /// They vanish, in both directions.
    Cut,
    /// Every connection over it is reset at both ends, and every new one refused: what a
    /// firewall does that wants to be rid of somebody, and what the death of a process
    /// looks like from outside.
    Reset,
}

/// A bridge and its namespaces; all end with it.
pub struct NamespaceNet {
    network: u16,
    size: usize,
    /// By namespace: the faults of its links, by the other end.
    faults: Mutex<Vec<BTreeMap<usize, LinkFault>>>,
}

impl NamespaceNet {
    /// `size` namespaces; `None`, with a message, where this can't be done.
    pub fn new(size: usize) -> Option<NamespaceNet> {
        if let Some(problem) = missing() {
            println!("skipped: network namespaces need {problem}");
            return None;
        }
        sweep();
        let Some(network) = claim() else {
            println!("skipped: network namespaces need the right to make a bridge");
            return None;
        };
        let net = NamespaceNet {
            network,
            size,
            faults: Mutex::new(vec![BTreeMap::new(); size]),
        };
        let bridge = net.bridge();
        run(&format!("ip addr add {}/24 dev {bridge}", net.host()));
        run(&format!("ip link set {bridge} up"));
        for n in 0..size {
            let (name, address) = (net.namespace(n), net.address(n));
            run(&format!("ip netns add {name}"));
            run(&format!(
                "ip link add {name} type veth peer name eth0 netns {name}"
            ));
            run(&format!("ip link set {name} master {bridge} up"));
            run(&format!("ip -n {name} addr add {address}/24 dev eth0"));
            run(&format!("ip -n {name} link set eth0 up"));
            run(&format!("ip -n {name} link set lo up"));
        }
        Some(net)
    }

    /// How many namespaces there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The test's own address, reached from every namespace.
    pub fn host(&self) -> Ipv4Addr {
        let [high, low] = self.network.to_be_bytes();
        Ipv4Addr::new(198, 18 + high, low, 1)
    }

    /// The address of namespace `n`, counted from 0.
    pub fn address(&self, n: usize) -> Ipv4Addr {
        let [a, b, c, _] = self.host().octets();
        Ipv4Addr::new(a, b, c, 10 + n as u8)
    }

    /// The name of namespace `n`, as `ip netns` knows it.
    pub fn namespace(&self, n: usize) -> String {
        format!("{}-{n}", self.bridge())
    }

    /// A command that runs `program` in namespace `n`; its process id is the program's.
    pub fn command(&self, n: usize, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(self.entrance(n)).arg(program);
        command
    }

    /// The arguments by which `nsenter` runs a program in namespace `n`.
    pub fn entrance(&self, n: usize) -> [String; 2] {
        let namespace = format!("--net=/run/netns/{}", self.namespace(n));
        [namespace, "--".to_owned()]
    }

    /// Cuts the link between two.
    pub fn cut(&self, a: usize, b: usize) {
        self.fail(a, &[b], LinkFault::Cut);
    }

    /// Cuts `n` off from all the others; it still reaches what listens at the host.
    pub fn cut_off(&self, n: usize) {
        self.fail(n, &self.others(n), LinkFault::Cut);
    }

    /// Gets ready to cut `n` off: what takes milliseconds of a cut is done before it.
    pub fn aim(&self, n: usize) -> AimedCut<'_> {
        let mut nft = self.command(n, "nft");
        nft.arg("-i").stdin(Stdio::piped()).stdout(Stdio::null());
        let mut nft = nft.stderr(Stdio::piped()).spawn().expect("nft");
        let stdin = nft.stdin.as_mut().expect("its input");
        stdin.write_all(b"list tables\n").expect("its input");
        // It doesn't tell when it has started; should it take longer, that counts as cutting.
        std::thread::sleep(std::time::Duration::from_millis(100));
        AimedCut { net: self, n, nft }
    }

    /// Resets the link between two, and goes on to.
    pub fn reset(&self, a: usize, b: usize) {
        self.fail(a, &[b], LinkFault::Reset);
    }

    /// Resets all links of `n` to the others, and goes on to; it still reaches what listens
    /// at the host.
    pub fn reset_all(&self, n: usize) {
        self.fail(n, &self.others(n), LinkFault::Reset);
    }

    /// Takes every fault back.
    pub fn heal(&self) {
        let mut faults = self.faults.lock();
        for n in 0..self.size {
            if !std::mem::take(&mut faults[n]).is_empty() {
                self.nft(n, &format!("delete table {TABLE}\n"));
            }
        }
    }

    /// How many packets the faults of namespace `n` have met since the last change of its
    /// faults: a fault that met none has shown nothing.
    pub fn met(&self, n: usize) -> u64 {
        let mut command = self.command(n, "nft");
        let output = command.args(["list", "table"]).args(TABLE.split(' '));
        let output = output.output().expect("nft");
        let rules = String::from_utf8_lossy(&output.stdout);
        let counts = rules.split("counter packets ").skip(1);
        let counts = counts.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok());
        counts.sum()
    }

    fn bridge(&self) -> String {
        format!("{PREFIX}{}", self.network)
    }

    fn others(&self, n: usize) -> Vec<usize> {
        (0..self.size).filter(|other| *other != n).collect()
    }

    /// The rules stand in the namespace of `n` alone, for both directions.
    fn fail(&self, n: usize, others: &[usize], fault: LinkFault) {
        let mut faults = self.faults.lock();
        faults[n].extend(others.iter().map(|other| (*other, fault)));
        self.nft(n, &self.table(&faults[n]));
        if fault == LinkFault::Reset {
            for other in others {
                // A connection on which nothing is being sent meets no rule. The socket's
                // end here is ended by the kernel, which tells the other end by a reset.
                let mut ss = self.command(n, "ss");
                ss.args(["-t", "-K", "dst", &self.address(*other).to_string()]);
                finish(ss, "");
            }
        }
    }

    fn table(&self, faults: &BTreeMap<usize, LinkFault>) -> String {
        let (mut input, mut output) = (String::new(), String::new());
        for (other, fault) in faults {
            let address = self.address(*other);
            // The resets that the rules themselves send go through.
            let verdicts: &[&str] = match fault {
                LinkFault::Cut => &["counter drop"],
                LinkFault::Reset => &[
                    "tcp flags & rst == rst accept",
                    "meta l4proto tcp counter reject with tcp reset",
                    "counter drop",
                ],
            };
            for verdict in verdicts {
                let _ = writeln!(input, "ip saddr {address} {verdict}");
                let _ = writeln!(output, "ip daddr {address} {verdict}");
            }
        }
        // One transaction: made first so that there is something to delete.
        format!(
            "add table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n\
             chain in {{ type filter hook input priority 0;\n{input}}}\n\
             chain out {{ type filter hook output priority 0;\n{output}}}\n}}\n"
        )
    }

    fn nft(&self, n: usize, rules: &str) {
        let mut nft = self.command(n, "nft");
        nft.args(["-f", "-"]);
        finish(nft, rules);
    }
}

/// A cut that is ready to be made.
pub struct AimedCut<'a> {
    net: &'a NamespaceNet,
    n: usize,
    nft: Child,
}

impl AimedCut<'_> {
    /// Cuts it off from all the others, within a millisecond or two where the machine is
    /// idle; returns when the rules are in force for certain.
    pub fn cut_off(mut self) {
        let mut faults = self.net.faults.lock();
        let others = self.net.others(self.n);
        faults[self.n].extend(others.into_iter().map(|other| (other, LinkFault::Cut)));
        // One line is one transaction.
        let table = self.net.table(&faults[self.n]);
        let rules = table
            .lines()
            .skip(2)
            .map(|line| match line.ends_with(['{', ';']) {
                true => line.to_owned(),
                false => format!("{line};"),
            });
        let rules = rules.collect::<Vec<_>>().join(" ") + "\n";
        let stdin = self.nft.stdin.as_mut().expect("its input");
        stdin.write_all(rules.as_bytes()).expect("its input");
        let output = self.nft.wait_with_output().expect("its end");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.is_empty(),
            "{said}\n{rules}"
        );
    }
}

impl Drop for NamespaceNet {
    fn drop(&mut self) {
        remove(self.network);
    }
}

/// What stands in the way, in a few words.
fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("root".into());
    }
    let needed = [("ip", "-V"), ("ss", "-V"), ("nft", "-v"), ("nsenter", "-V")];
    let missing = needed.into_iter().find(|(program, flag)| {
        let mut command = Command::new(program);
        let status = command.arg(flag).stdout(Stdio::null()).status();
        !status.is_ok_and(|status| status.success())
    });
    missing.map(|(program, _)| format!("the program {program}"))
}

/// Takes a network that nobody has: the kernel lets one bridge only have the name.
fn claim() -> Option<u16> {
    let first = rng().random_range(0..NETWORKS);
    for tried in 0..NETWORKS {
        let network = (first + tried) % NETWORKS;
        let bridge = format!("{PREFIX}{network}");
        let mut add = Command::new("ip");
        add.args(["link", "add", &bridge, "type", "bridge"]);
        if add.stderr(Stdio::null()).status().expect("ip").success() {
            let mut alias = Command::new("ip");
            let owner = format!("{OWNER}{}", std::process::id());
            alias.args(["link", "set", &bridge, "alias", &owner]);
            finish(alias, "");
            return Some(network);
        }
    }
    None
}

/// Removes what test processes that are gone have left.
fn sweep() {
    for entry in std::fs::read_dir("/sys/class/net").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let alias = std::fs::read_to_string(entry.path().join("ifalias")).unwrap_or_default();
        let owner = alias.trim().strip_prefix(OWNER);
        let network = name.strip_prefix(PREFIX).and_then(|n| n.parse().ok());
        if let (Some(owner), Some(network)) = (owner, network)
            && !Path::new("/proc").join(owner).exists()
        {
            remove(network);
        }
    }
}

/// A process that still runs in a namespace keeps it, without a name and without a link.
fn remove(network: u16) {
    let bridge = format!("{PREFIX}{network}");
    for entry in std::fs::read_dir("/run/netns")
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name
            .strip_prefix(&bridge)
            .is_some_and(|n| n.starts_with('-'))
        {
            quietly(&format!("ip link del {name}"));
            quietly(&format!("ip netns del {name}"));
        }
    }
    quietly(&format!("ip link del {bridge}"));
}

fn split(command: &str) -> Command {
    let mut words = command.split(' ');
    let mut split = Command::new(words.next().expect("a program"));
    split.args(words);
    split
}

fn quietly(command: &str) {
    let _ = split(command).stderr(Stdio::null()).status();
}

fn run(command: &str) {
    finish(split(command), "");
}

/// Runs it to its end; panics with what it said when it fails.
fn finish(mut command: Command, input: &str) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().expect("a process");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input.as_bytes()).expect("its input");
    drop(stdin);
    let output = child.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}\n{input}");
}
