//! RabbitMQ of a run, which a nemesis may kill.

use quorate_testkit::rabbitmq::RabbitBroker;
use tokio::sync::Mutex;

/// RabbitMQ of a run, with its addresses.
pub struct TestBroker {
    /// The process; locked while it is killed or started.
    pub rabbit: Mutex<RabbitBroker>,
    /// The address for lapin.
    pub uri: String,
    /// The address and port for connections.
    pub address: (std::net::Ipv4Addr, u16),
}

impl TestBroker {
    /// Starts RabbitMQ.
    pub async fn start(at: std::net::Ipv4Addr) -> TestBroker {
        let rabbit = RabbitBroker::start_at(at).await;
        TestBroker {
            uri: rabbit.uri(),
            address: (rabbit.address(), rabbit.port()),
            rabbit: Mutex::new(rabbit),
        }
    }
}
