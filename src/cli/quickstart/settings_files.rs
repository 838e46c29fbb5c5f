//! The settings files that a quickstart writes, meant to be read and to be copied.

/// The ports of the first member; the second has each plus 1, and so on.
pub(super) const HTTP: u16 = 17010;
/// The first member's REST face.
pub(super) const ADMIN: u16 = 17110;
/// The first member's port for other members.
pub(super) const PEER: u16 = 17210;
/// The balancer.
pub(super) const BALANCER: u16 = 11223;

/// Writes a member's `quorate.toml`. `shift` is added to the first member's ports.
pub(super) fn member(name: &str, shift: u16) -> String {
    let (http, admin, peer) = (HTTP + shift, ADMIN + shift, PEER + shift);
    format!(
        r#"# The settings of {name}. Start it with
#   quorate server --config THIS_FILE
# Every setting can also come from the environment (QUORATE_HTTP_BIND for http.bind) or
# from a flag (--set http.bind=...). Relative paths count from this file's folder.

# The name people use; every member of a cluster has its own.
name = "{name}"

# The log, the state, and the marker that says which member of which cluster this is.
data_dir = "data"

# The longest time from the loss of the connector server to the takeover by another
# member, in milliseconds. Must be the same on every member.
failover_ms = 500

# How long requests and messages in flight may take to finish when the member is stopped.
# drain_ms = 4000

# At most so many connectors stand by here, connected, while another member runs them.
# standby_max = 200

# Where the services listen. Beyond loopback there is no TLS yet: `insecure = ["http"]` says
# that the network is trusted with this face. `advertise` is the address that others are told.
[http]
bind = "127.0.0.1:{http}"
# advertise = "127.0.0.1:{http}"

# REST, health and metrics.
[admin]
bind = "127.0.0.1:{admin}"

# Member to member.
[peer]
bind = "127.0.0.1:{peer}"

# IBM MQ's client libraries that a connection may name. The stand-in is for examples/ibm-mq.yaml.
[ibm_mq]
libraries = ["libmqic_r.so", "libmqm_r.so", "/opt/mqm/**", "libmq_stand_in.so"]
# key_repositories = "/etc/quorate/mq"

# Where sockets of ipc:// addresses may lie; one folder for the members of this machine.
[zmq]
ipc_dir = "../run/zmq"
# bind = ["eth0"]   # what may be listened at beside loopback

[log]
level = "info"     # off, error, warn, info, debug, trace; "info,quorate_raft=debug"
format = "text"    # or "json"

# A snapshot is taken after so many log entries, or so many bytes of them.
# [snapshot]
# entries = 100000
# bytes = 268435456
# keep = 5000
"#
    )
}
