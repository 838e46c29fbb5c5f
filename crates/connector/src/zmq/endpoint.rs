//! Endpoint of a socket: the address of its peers, and which side connects.

use std::path::Path;

use quorate_ipc::local_rules::LocalRules;
use quorate_resources::ZmqMethod;
use zmq::Error;

use super::{super::broker_link::ConnectorError, host_locator::HostLocator};

/// Address of the peers. The same fields in channels and outgoings.
#[derive(Clone)]
pub(super) struct ZmqEndpoint {
    /// Address in libzmq's form: `tcp://host:port`, `ipc://path`.
    pub address: String,
    /// Side that connects.
    pub method: ZmqMethod,
}

impl ZmqEndpoint {
    /// Returns an endpoint that was declared, if this host allows it.
    pub(super) fn allowed(address: &str, method: ZmqMethod) -> Result<ZmqEndpoint, ConnectorError> {
        let endpoint = ZmqEndpoint {
            address: address.to_owned(),
            method,
        };
        endpoint.check(LocalRules::current())?;
        Ok(endpoint)
    }

    /// Returns the locator of the host that is connected to by its name; see [`HostLocator`].
    pub(super) fn locator(&self) -> Result<Option<HostLocator>, ConnectorError> {
        let address = self.address.strip_prefix("tcp://");
        let named = address.filter(|_| self.method == ZmqMethod::Connect);
        let Some((host, port)) = named.and_then(|it| it.rsplit_once(':')) else {
            return Ok(None);
        };
        HostLocator::new(host, port).map_err(|error| {
            ConnectorError::new(format!(
                "can't connect to {}: {error}; correct `address`, or give the name one",
                self.address
            ))
        })
    }

    /// Checks that this host allows the endpoint.
    fn check(&self, rules: &LocalRules) -> Result<(), ConnectorError> {
        let bind = self.method == ZmqMethod::Bind;
        let checked = if let Some(path) = self.address.strip_prefix("ipc://") {
            rules.ipc(path, bind)
        } else if let Some(rest) = self.address.strip_prefix("tcp://").filter(|_| bind) {
            rules.bind(rest.rsplit_once(':').map_or(rest, |(host, _)| host))
        } else {
            Ok(())
        };
        Ok(checked?)
    }

    /// Checks the folder of an `ipc` address: libzmq's binding for Rust has no words for some
    /// errors of `ipc`.
    pub(super) fn folder(&self) -> Result<(), ConnectorError> {
        let Some(path) = self.address.strip_prefix("ipc://") else {
            return Ok(());
        };
        let folder = Path::new(path).parent().unwrap_or(Path::new("/"));
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        if self.method == ZmqMethod::Connect || path.starts_with('@') || folder.is_dir() {
            return Ok(());
        }
        Err(ConnectorError::new(format!(
            "can't bind {}: there is no folder {}; create it, or correct `address`",
            self.address,
            folder.display()
        )))
    }

    /// Returns why the address can't be used, and what would be right.
    pub(super) fn explain(&self, error: Error) -> ConnectorError {
        let ZmqEndpoint { address, method } = self;
        let verb = match method {
            ZmqMethod::Bind => "bind",
            ZmqMethod::Connect => "connect to",
        };
        let right = match error {
            Error::EADDRINUSE => {
                return ConnectorError::transient(format!(
                    "another process has {address}; it is taken over as soon as that one is gone"
                ));
            }
            Error::EADDRNOTAVAIL | Error::ENODEV => {
                "`address` must be one of this host's, or tcp://*:PORT for all of them"
            }
            Error::EACCES => {
                "this process may not; take a port above 1023, or a path that it may write"
            }
            Error::EINVAL | Error::EPROTONOSUPPORT => {
                "`address` must be tcp://HOST:PORT or ipc://PATH"
            }
            Error::ENAMETOOLONG => "the path of an ipc address has at most 107 bytes",
            Error::EMFILE => "too many files are open: raise the limit of the member's process",
            _ => "correct `address` or `method`",
        };
        ConnectorError::new(format!(
            "can't {verb} {address}: {}; {right}",
            error.message()
        ))
    }
}
