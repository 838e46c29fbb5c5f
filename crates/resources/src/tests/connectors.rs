//! The kinds that have connectors, and their connections.

use super::*;

pub(super) fn amqp_outgoing() -> Value {
    json!({"name": "orders", "connection": "rabbit", "exchange": "", "routing_key": "orders"})
}

pub(super) fn ibm_mq_connection() -> Value {
    json!({"name": "mq", "host": "mq.example.com", "queue_manager": "QM1", "channel": "APP.SVRCONN"})
}

pub(super) fn ibm_mq_channel() -> Value {
    json!({"name": "orders", "connection": "mq", "queue": "ORDERS.IN", "service": "orders"})
}

pub(super) fn ibm_mq_outgoing() -> Value {
    json!({"name": "orders", "connection": "mq", "queue": "ORDERS.OUT"})
}

pub(super) fn zmq_channel() -> Value {
    json!({
        "name": "ticks", "address": "tcp://ticks.example.com:5555", "socket_type": "SUB",
        "method": "connect", "service": "ticks",
    })
}

pub(super) fn zmq_outgoing() -> Value {
    json!({"name": "ticks", "address": "tcp://*:5555", "socket_type": "PUB", "method": "bind"})
}

const CA: &str =
    "# of the house\n-----BEGIN CERTIFICATE-----\nMIIB+w==\n-----END CERTIFICATE-----\n";

#[test]
fn each_reads_back() {
    for (kind, spec) in [
        (
            Kind::AmqpConnection,
            with(with(connection(), "tls", true), "tls_ca", CA),
        ),
        (Kind::AmqpChannel, with(channel(), "ordered", true)),
        (Kind::AmqpChannel, with(channel(), "pool_size", 3)),
        (Kind::AmqpOutgoing, amqp_outgoing()),
        (
            Kind::AmqpOutgoing,
            json!({
                "name": "o", "connection": "rabbit", "exchange": "orders", "delivery_mode": 1,
                "priority": 0, "content_type": "application/json", "content_encoding": "gzip",
                "expiration_ms": 60_000, "app_id": "shop", "mandatory": false,
                "active": false,
            }),
        ),
        (Kind::IbmMqConnection, ibm_mq_connection()),
        (
            Kind::IbmMqConnection,
            json!({
                "name": "mq", "host": "mq", "port": 1415, "queue_manager": "QM1", "channel": "C",
                "username": "app", "password": "hunter2", "ssl": true,
                "ssl_cipher_spec": "TLS_AES_256_GCM_SHA384", "ssl_key_repository": "/mq/key.kdb",
                "library": "/opt/mqm/lib64/libmqic_r.so",
            }),
        ),
        (Kind::IbmMqChannel, ibm_mq_channel()),
        (
            Kind::IbmMqChannel,
            with(
                with(ibm_mq_channel(), "backout_queue", "ORDERS.BAD"),
                "standby",
                "cold",
            ),
        ),
        (Kind::IbmMqOutgoing, ibm_mq_outgoing()),
        (
            Kind::IbmMqOutgoing,
            with(ibm_mq_outgoing(), "expiration_ms", 100),
        ),
        (Kind::IbmMqOutgoing, with(ibm_mq_outgoing(), "ccsid", 1148)),
        (Kind::ZmqChannel, with(zmq_channel(), "sub_key", "EURUSD")),
        (Kind::ZmqOutgoing, zmq_outgoing()),
    ] {
        reads_back(kind, spec);
    }
}

#[test]
fn defaults() {
    let shown = |kind, spec| Resource::parse(kind, &spec).unwrap().without_secret();
    let it = shown(Kind::AmqpOutgoing, amqp_outgoing());
    assert_eq!(
        (&it["delivery_mode"], &it["priority"]),
        (&json!(2), &json!(5))
    );
    assert_eq!(it["active"], true);
    let it = shown(Kind::IbmMqConnection, ibm_mq_connection());
    assert_eq!((&it["port"], &it["ssl"]), (&json!(1414), &json!(false)));
    assert_eq!(it["library"], "libmqic_r.so");
    let it = shown(Kind::IbmMqChannel, ibm_mq_channel());
    assert_eq!(
        (&it["jms"], &it["backout_threshold"]),
        (&json!(true), &json!(5))
    );
    assert_eq!(it["standby"], "warm");
    let it = shown(Kind::IbmMqOutgoing, ibm_mq_outgoing());
    assert_eq!(
        (&it["delivery_mode"], &it["priority"]),
        (&json!(2), &json!(5))
    );
    let it = shown(Kind::AmqpConnection, connection());
    assert_eq!(it["tls"], false);
    let it = shown(Kind::AmqpChannel, channel());
    assert_eq!((&it["ordered"], it.get("pool_size")), (&json!(false), None));
}

#[test]
fn how_many_are_handled_at_a_time() {
    let at_a_time = |spec| match Resource::parse(Kind::AmqpChannel, &spec) {
        Ok(Resource::AmqpChannel(it)) => it.concurrency_max(),
        other => panic!("{other:?}"),
    };
    assert_eq!(at_a_time(channel()), 10);
    assert_eq!(at_a_time(with(channel(), "prefetch", 7)), 7);
    assert_eq!(at_a_time(with(channel(), "pool_size", 10)), 10);
    assert_eq!(at_a_time(with(channel(), "pool_size", 3)), 3);
    assert_eq!(at_a_time(with(channel(), "ordered", true)), 1);
    let q = Kind::AmqpChannel;
    refused(
        q,
        with(channel(), "pool_size", 11),
        "pool_size",
        "prefetch, which is 10",
    );
    refused(q, with(channel(), "pool_size", 0), "pool_size", "from 1 to");
    let both = with(with(channel(), "ordered", true), "pool_size", 2);
    refused(q, both, "pool_size", "one message at a time");
    let one = with(with(channel(), "ordered", true), "pool_size", 1);
    assert_eq!(at_a_time(one), 1);
    // The rules do not bind what another version let into the log.
    let read = Resource::read(q, &with(channel(), "pool_size", 0)).unwrap();
    assert_eq!(read.warning(None), None);
}

#[test]
fn authorities_of_a_tls_connection() {
    let c = Kind::AmqpConnection;
    let tls = |ca: &str| with(with(connection(), "tls", true), "tls_ca", ca);
    assert!(Resource::parse(c, &tls(&CA.repeat(2))).is_ok());
    refused(c, with(connection(), "tls_ca", CA), "tls_ca", "`tls: true`");
    for bad in [
        "",
        "/etc/ssl/ca.pem",
        "-----BEGIN CERTIFICATE-----\nMIIB",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\n<MIIB>\n-----END CERTIFICATE-----",
    ] {
        refused(c, tls(bad), "tls_ca", "PEM");
    }
    let key = format!("{CA}-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n");
    refused(c, tls(&key), "tls_ca", "no private key");
    assert!(!format!("{:?}", errors(c, tls(&key))).contains("hunter2"));
}

#[test]
fn bad_amqp_outgoings() {
    let o = Kind::AmqpOutgoing;
    let mut without = amqp_outgoing();
    without.as_object_mut().unwrap().remove("exchange");
    refused(o, without, "exchange", "\"\" for the default one");
    let long = "x".repeat(256);
    for (field, value, says) in [
        ("exchange", json!(long), "at most 255"),
        ("routing_key", json!("a\nb"), "control characters"),
        ("delivery_mode", json!(0), "1 (transient) or 2 (persistent)"),
        (
            "delivery_mode",
            json!("2"),
            "1 (transient) or 2 (persistent)",
        ),
        ("priority", json!(10), "from 0 to 9"),
        ("expiration_ms", json!(0), "from 1 to 4294967295"),
        ("content_type", json!(""), "1 to 255"),
        ("app_id", json!(7), "put it in quotes"),
        ("connection", json!("a b"), "1 to 128 letters"),
        ("queue", json!("orders"), "no such field"),
    ] {
        refused(o, with(amqp_outgoing(), field, value), field, says);
    }
}

#[test]
fn bad_ibm_mq() {
    let c = Kind::IbmMqConnection;
    for (field, value, says) in [
        ("queue_manager", json!("Q".repeat(49)), "1 to 48"),
        ("queue_manager", json!("*QM"), "1 to 48"),
        ("channel", json!("C".repeat(21)), "1 to 20"),
        ("channel", json!("A B"), "1 to 20"),
        ("host", json!("mq(1414)"), "IP address alone"),
        ("library", json!("lib/libmqic_r.so"), "absolute path"),
        ("library", json!("/opt/"), "absolute path"),
        ("library", json!(""), "a file's name"),
        ("ssl_cipher_spec", json!("ANY_TLS12"), "`ssl: true`"),
        ("ssl_key_repository", json!("/mq/key.kdb"), "`ssl: true`"),
        ("username", json!(""), "1 to 1024"),
        ("password", json!("hunter2"), "goes with `username`"),
    ] {
        let spec = with(ibm_mq_connection(), field, value);
        refused(c, spec.clone(), field, says);
        assert!(!format!("{:?}", errors(c, spec)).contains("hunter2"));
    }
    let ssl = with(ibm_mq_connection(), "ssl", true);
    refused(c, ssl.clone(), "ssl_cipher_spec", "ANY_TLS12_OR_HIGHER");
    let ssl = with(ssl, "ssl_cipher_spec", "ANY_TLS12_OR_HIGHER");
    assert!(Resource::parse(c, &ssl).is_ok());
    let relative = with(ssl, "ssl_key_repository", "key.kdb");
    refused(c, relative, "ssl_key_repository", "absolute path");
    let secret = with(
        with(ibm_mq_connection(), "username", "a"),
        "password",
        "hunter2",
    );
    let debug = format!("{:?}", Resource::parse(c, &secret).unwrap());
    assert!(
        debug.contains("(hidden)") && !debug.contains("hunter2"),
        "{debug}"
    );

    let q = Kind::IbmMqChannel;
    let long = json!("Q".repeat(49));
    refused(q, with(ibm_mq_channel(), "queue", long), "queue", "1 to 48");
    let same = with(ibm_mq_channel(), "backout_queue", "ORDERS.IN");
    refused(q, same, "backout_queue", "another queue");
    let never = with(ibm_mq_channel(), "backout_threshold", 0);
    refused(q, never, "backout_threshold", "from 1 to 999999999");
    let o = Kind::IbmMqOutgoing;
    refused(
        o,
        with(ibm_mq_outgoing(), "priority", 10),
        "priority",
        "0 to 9",
    );
    for (ccsid, problem) in [(930, "37, 273, 277"), (0, "from 1 to 65535")] {
        refused(o, with(ibm_mq_outgoing(), "ccsid", ccsid), "ccsid", problem);
    }
    let mode = with(ibm_mq_outgoing(), "delivery_mode", 3);
    refused(o, mode, "delivery_mode", "2 (persistent)");
}

#[test]
fn addresses_of_zmq() {
    let c = Kind::ZmqChannel;
    let connect = |address: &str| with(zmq_channel(), "address", address);
    let bind = |address: &str| with(connect(address), "method", "bind");
    for both in [
        "tcp://127.0.0.1:5555",
        "tcp://[::1]:5555",
        "ipc:///run/a",
        "tcp://eth0.1:1",
    ] {
        assert!(Resource::parse(c, &connect(both)).is_ok(), "{both}");
        assert!(Resource::parse(c, &bind(both)).is_ok(), "{both}");
    }
    for only in ["tcp://localhost:5555", "tcp://ticks.example.com:5555"] {
        assert!(Resource::parse(c, &connect(only)).is_ok(), "{only}");
        refused(
            c,
            bind(only),
            "address",
            "the names of hosts can't be bound",
        );
    }
    assert!(Resource::parse(c, &bind("tcp://*:5555")).is_ok());
    refused(c, connect("tcp://*:5555"), "address", "`method: bind`");
    let long = format!("ipc:///{}", "x".repeat(107));
    for (bad, says) in [
        ("", "tcp://HOST:PORT"),
        ("127.0.0.1:5555", "tcp://HOST:PORT"),
        ("inproc://a", "tcp://HOST:PORT"),
        ("udp://127.0.0.1:5555", "tcp://HOST:PORT"),
        ("tcp://127.0.0.1", "port is missing"),
        ("tcp://127.0.0.1:", "1 to 65535"),
        ("tcp://127.0.0.1:0", "1 to 65535"),
        ("tcp://127.0.0.1:+5", "1 to 65535"),
        ("tcp://127.0.0.1:65536", "1 to 65535"),
        ("tcp://*:*", "1 to 65535"),
        ("tcp://::1:5555", "in brackets"),
        ("ipc://run/a", "must be absolute"),
        ("ipc:///", "must be absolute"),
        ("ipc://@a", "must be absolute"),
        (&long, "at most 107"),
    ] {
        refused(c, connect(bad), "address", says);
        refused(c, bind(bad), "address", says);
    }
    for bad in ["tcp://a b:1", "tcp://:5555", "tcp://a;b:1"] {
        refused(c, connect(bad), "address", "of a host");
        refused(c, bind(bad), "address", "a network interface");
    }
}

#[test]
fn bad_zmq() {
    let (c, o) = (Kind::ZmqChannel, Kind::ZmqOutgoing);
    refused(
        c,
        with(zmq_channel(), "socket_type", "PUSH"),
        "socket_type",
        "PULL or SUB or REP or ROUTER",
    );
    refused(
        o,
        with(zmq_outgoing(), "socket_type", "pub"),
        "socket_type",
        "PUSH or PUB or REQ or DEALER",
    );
    for field in ["socket_type", "method", "address"] {
        let mut without = zmq_channel();
        without.as_object_mut().unwrap().remove(field);
        refused(c, without, field, "is required");
    }
    let key = with(with(zmq_channel(), "socket_type", "PULL"), "sub_key", "a");
    refused(c, key, "sub_key", "SUB` alone");
    let long = "x".repeat(256);
    refused(
        c,
        with(zmq_channel(), "sub_key", long),
        "sub_key",
        "at most 255",
    );
    refused(
        c,
        with(zmq_channel(), "standby", "warm"),
        "standby",
        "no such field",
    );
    for field in ["curve_server_key", "curve_public_key", "curve_secret_key"] {
        for (kind, spec) in [(c, zmq_channel()), (o, zmq_outgoing())] {
            let spec = with(spec, field, "hunter2");
            refused(kind, spec.clone(), field, "built without CURVE");
            assert!(!format!("{:?}", errors(kind, spec)).contains("hunter2"));
        }
    }
}

#[test]
fn kinds_with_connectors() {
    let with: Vec<&str> = Kind::ALL
        .into_iter()
        .filter(|kind| kind.has_connector())
        .map(Kind::as_str)
        .collect();
    let wanted = [
        "amqp_channel",
        "amqp_outgoing",
        "ibm_mq_channel",
        "ibm_mq_outgoing",
        "zmq_channel",
        "zmq_outgoing",
    ];
    assert_eq!(with, wanted);
    assert!(
        Kind::ALL
            .into_iter()
            .all(|kind| !(kind.is_inbound() && kind.is_outgoing()))
    );
}

#[test]
fn waits_beyond_the_brokers_patience_are_warned_of() {
    let warned = |on_failure: Value| {
        let spec = with(channel(), "on_failure", on_failure);
        Resource::parse(Kind::AmqpChannel, &spec)
            .unwrap()
            .warning(None)
    };
    assert_eq!(warned(json!({})), None);
    assert_eq!(warned(json!({"retries": 50})), None);
    // With the waits that are the default: some 47 minutes.
    let told = warned(json!({"retries": 100})).unwrap();
    assert!(told.contains("consumer_timeout"), "{told}");
    assert!(told.contains("46 min in all"), "{told}");
    // In order one waits for those before it.
    let ordered = |prefetch: u64| {
        let spec = with(channel(), "on_failure", json!({"retries": 20}));
        let spec = with(
            with(spec, "ordered", json!(true)),
            "prefetch",
            json!(prefetch),
        );
        Resource::parse(Kind::AmqpChannel, &spec)
            .unwrap()
            .warning(None)
    };
    assert_eq!(ordered(1), None);
    let told = ordered(10).unwrap();
    assert!(told.contains("`prefetch` messages in turn"), "{told}");
    let day = json!({"retries": 1, "backoff_ms": 86_400_000, "backoff_max_ms": 86_400_000});
    assert!(warned(day).unwrap().contains("1440 min"));
}
