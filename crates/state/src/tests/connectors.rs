//! What connectors and their connections need of each other.

use quorate_resources::Kind;

use super::*;

fn mq() -> Value {
    json!({"name": "mq", "host": "mq", "queue_manager": "QM1", "channel": "APP"})
}

fn zmq(address: &str, socket_type: &str, method: &str) -> Value {
    json!({"name": "z", "address": address, "socket_type": socket_type, "method": method})
}

fn with(mut spec: Value, field: &str, value: impl Into<Value>) -> Value {
    spec[field] = value.into();
    spec
}

#[test]
fn connections_and_services_must_exist_and_stay() {
    let mut log = CommandLog::with_ping();
    done(log.put(Kind::Service, service("orders")));
    let amqp_out = json!({"name": "out", "connection": "rabbit", "exchange": "orders"});
    let mq_in = json!({"name": "in", "connection": "mq", "queue": "Q", "service": "orders"});
    let mq_out = json!({"name": "out", "connection": "mq", "queue": "Q"});
    let zmq_in = with(zmq("tcp://a:1", "PULL", "connect"), "service", "orders");
    let says = "create it first";
    for (kind, spec) in [
        (Kind::AmqpOutgoing, &amqp_out),
        (Kind::IbmMqChannel, &mq_in),
        (Kind::IbmMqOutgoing, &mq_out),
    ] {
        refused(log.put(kind, spec.clone()), "connection", says);
    }
    let nowhere = with(zmq_in.clone(), "service", "nope");
    refused(
        log.put(Kind::ZmqChannel, nowhere),
        "service",
        "echo, orders, ping",
    );
    done(log.put(Kind::AmqpConnection, connection()));
    done(log.put(Kind::IbmMqConnection, mq()));
    for (kind, spec) in [
        (Kind::AmqpOutgoing, amqp_out),
        (Kind::IbmMqChannel, mq_in),
        (Kind::IbmMqOutgoing, mq_out),
        (Kind::ZmqChannel, zmq_in),
        (Kind::ZmqOutgoing, zmq("tcp://a:1", "PUSH", "connect")),
    ] {
        done(log.put(kind, spec));
    }
    let by = |names: &[&str]| Answer::Referenced(names.iter().map(|it| it.to_string()).collect());
    assert_eq!(
        log.delete(Kind::Service, "orders"),
        by(&["ibm_mq_channel/in", "zmq_channel/z"])
    );
    assert_eq!(
        log.delete(Kind::AmqpConnection, "rabbit"),
        by(&["amqp_outgoing/out"])
    );
    assert_eq!(
        log.delete(Kind::IbmMqConnection, "mq"),
        by(&["ibm_mq_channel/in", "ibm_mq_outgoing/out"])
    );
    let restored = State::read_from(&mut &snapshot(log.state())[..]).unwrap();
    assert_eq!(restored.catalog(), log.state().catalog());
    let catalog = restored.catalog();
    assert_eq!(
        catalog.amqp_outgoings().next().unwrap().0.exchange,
        "orders"
    );
    assert_eq!(
        catalog.ibm_mq_connections().next().unwrap().0.channel,
        "APP"
    );
    assert_eq!(catalog.ibm_mq_channels().count(), 1);
    assert_eq!(catalog.ibm_mq_outgoings().count(), 1);
    assert_eq!(catalog.zmq_channels().count(), 1);
    assert_eq!(catalog.zmq_outgoings().count(), 1);
    // in the opposite order of their creation
    let all: Vec<(Kind, String)> = catalog
        .all()
        .map(|(kind, name, _)| (kind, name.to_owned()))
        .collect();
    for (kind, name) in all.into_iter().rev() {
        done(log.delete(kind, &name));
    }
}

#[test]
fn a_queue_of_ibm_mq_has_one_channel() {
    let mut log = CommandLog::with_ping();
    done(log.put(Kind::IbmMqConnection, mq()));
    let channel = |name: &str, queue: &str| json!({"name": name, "connection": "mq", "queue": queue, "service": "ping"});
    done(log.put(Kind::IbmMqChannel, channel("a", "Q")));
    let second = channel("b", "Q");
    refused(
        log.put(Kind::IbmMqChannel, second.clone()),
        "queue",
        "ibm_mq_channel/a",
    );
    done(log.put(Kind::IbmMqChannel, with(second, "active", false)));
    done(log.put(Kind::IbmMqChannel, channel("c", "R")));
}

#[test]
fn an_address_is_bound_once() {
    let mut log = CommandLog::with_ping();
    let inward = |name: &str, address: &str, method: &str| {
        with(
            with(zmq(address, "PULL", method), "name", name),
            "service",
            "ping",
        )
    };
    let outward = |name: &str, address: &str| with(zmq(address, "PUB", "bind"), "name", name);
    done(log.put(
        Kind::ZmqChannel,
        inward("a", "tcp://127.0.0.1:5555", "bind"),
    ));
    // the same again, and with another socket
    let again = with(
        inward("a", "tcp://127.0.0.1:5555", "bind"),
        "socket_type",
        "REP",
    );
    done(log.put(Kind::ZmqChannel, again));
    for address in [
        "tcp://127.0.0.1:5555",
        "tcp://*:5555",
        "tcp://0.0.0.0:5555",
        "tcp://[::]:5555",
    ] {
        let says = "zmq_channel/a binds tcp://127.0.0.1:5555 already";
        refused(
            log.put(Kind::ZmqChannel, inward("b", address, "bind")),
            "address",
            says,
        );
        refused(
            log.put(Kind::ZmqOutgoing, outward("a", address)),
            "address",
            says,
        );
    }
    done(log.put(
        Kind::ZmqChannel,
        inward("b", "tcp://127.0.0.1:5555", "connect"),
    ));
    done(log.put(Kind::ZmqOutgoing, outward("a", "tcp://10.0.0.1:5555")));
    done(log.put(Kind::ZmqOutgoing, outward("b", "tcp://*:5556")));
    done(log.put(Kind::ZmqOutgoing, outward("c", "ipc:///run/c")));
    let says = "zmq_outgoing/c binds";
    refused(
        log.put(Kind::ZmqChannel, inward("c", "ipc:///run/c", "bind")),
        "address",
        says,
    );
    let inactive = with(outward("d", "tcp://*:5555"), "active", false);
    done(log.put(Kind::ZmqOutgoing, inactive));
    refused(
        log.put(Kind::ZmqOutgoing, outward("d", "tcp://*:5555")),
        "address",
        "zmq_",
    );
}

#[test]
fn order_needs_the_fence_of_the_broker() {
    let mut log = CommandLog::with_ping();
    let lease = with(connection(), "fence", "lease");
    done(log.put(Kind::AmqpConnection, lease.clone()));
    let ordered = with(amqp_channel("a", "a"), "ordered", true);
    refused(
        log.put(Kind::AmqpChannel, ordered.clone()),
        "ordered",
        "amqp_connection/rabbit has `lease`: with `lease` the messages",
    );
    done(log.put(Kind::AmqpChannel, amqp_channel("b", "b")));
    done(log.put(Kind::AmqpConnection, connection()));
    done(log.put(Kind::AmqpChannel, ordered));
    refused(
        log.put(Kind::AmqpConnection, lease.clone()),
        "fence",
        "(there are: a)",
    );
    done(log.put(Kind::AmqpChannel, amqp_channel("a", "a")));
    done(log.put(Kind::AmqpConnection, lease));
}

#[test]
fn ibm_mq_password_goes_with_its_user() {
    let mut log = CommandLog::with_ping();
    let password = |log: &CommandLog| {
        let (it, _) = log.state().catalog().ibm_mq_connections().next().unwrap();
        it.password.clone()
    };
    // never given
    done(log.put(Kind::IbmMqConnection, mq()));
    done(log.put(Kind::IbmMqConnection, with(mq(), "username", "app")));
    assert_eq!(password(&log), None);
    let whole = with(with(mq(), "username", "app"), "password", "one");
    done(log.put(Kind::IbmMqConnection, whole));
    // left out, and kept
    let kept = with(mq(), "username", "app");
    done(log.put(Kind::IbmMqConnection, kept));
    assert_eq!(password(&log).as_deref(), Some("one"));
    let restored = State::read_from(&mut &snapshot(log.state())[..]).unwrap();
    assert_eq!(restored.catalog(), log.state().catalog());
    // without a user there is none
    done(log.put(Kind::IbmMqConnection, mq()));
    assert_eq!(password(&log), None);
}
