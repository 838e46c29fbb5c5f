//! A connection to the queue manager.

use std::{
    io,
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use crate::wire::{self, Answer, Request};

const CONNECT: Duration = Duration::from_secs(5);

/// One connection.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        let none = || io::Error::other("no address");
        let address = address.to_socket_addrs()?.next().ok_or_else(none)?;
        let stream = TcpStream::connect_timeout(&address, CONNECT)?;
        stream.set_nodelay(true)?;
        Ok(Client(stream))
    }

    /// Asks for something. An error means that the connection is broken.
    pub(crate) fn ask(&mut self, request: &Request, bytes: &[u8]) -> io::Result<(Answer, Vec<u8>)> {
        wire::write(&mut self.0, request, bytes)?;
        wire::read(&mut self.0)
    }
}
