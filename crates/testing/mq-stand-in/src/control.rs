//! What a test asks of the queue manager.

use std::io;

use crate::{
    client::Client,
    descriptor::LENGTH,
    wire::{Answer, Attributes, Fault, Order, Request},
};

/// A connection that gives orders.
pub struct Control(Client);

/// A message as it lies on a queue: its descriptor's bytes, and what follows them.
pub struct Taken {
    /// The descriptor.
    pub descriptor: Vec<u8>,
    /// Headers and body.
    pub message: Vec<u8>,
}

impl Control {
    /// To the queue manager at this address.
    pub fn connect(address: &str) -> io::Result<Self> {
        Client::connect(address).map(Control)
    }

    fn order(&mut self, order: Order, bytes: &[u8]) -> io::Result<(Answer, Vec<u8>)> {
        let (answer, bytes) = self.0.ask(&Request::Control(order), bytes)?;
        if answer.completion != libmqm_sys::MQCC_OK {
            return Err(io::Error::other(format!("answered {}", answer.reason)));
        }
        Ok((answer, bytes))
    }

    fn done(&mut self, order: Order) -> io::Result<()> {
        self.order(order, &[]).map(drop)
    }

    /// Defines a queue.
    pub fn define(&mut self, queue: &str, attributes: Attributes) -> io::Result<()> {
        let queue = queue.to_owned();
        self.done(Order::Define { queue, attributes })
    }

    /// Puts a message.
    pub fn put(&mut self, queue: &str, descriptor: &[u8], message: &[u8]) -> io::Result<()> {
        let queue = queue.to_owned();
        self.order(Order::Put { queue }, &[descriptor, message].concat())
            .map(drop)
    }

    /// Takes a message.
    pub fn take(&mut self, queue: &str) -> io::Result<Option<Taken>> {
        let queue = queue.to_owned();
        let (_, mut bytes) = self.order(Order::Take { queue }, &[])?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let message = bytes.split_off(LENGTH);
        Ok(Some(Taken {
            descriptor: bytes,
            message,
        }))
    }

    /// How many messages a queue has, those in units of work included.
    pub fn depth(&mut self, queue: &str) -> io::Result<usize> {
        let queue = queue.to_owned();
        let (answer, _) = self.order(Order::Count { queue }, &[])?;
        usize::try_from(answer.number).map_err(io::Error::other)
    }

    /// How many have a queue open for input.
    pub fn readers(&mut self, queue: &str) -> io::Result<usize> {
        let queue = queue.to_owned();
        let (answer, _) = self.order(Order::Readers { queue }, &[])?;
        usize::try_from(answer.number).map_err(io::Error::other)
    }

    /// Who is let in.
    pub fn users(&mut self, users: Option<(&str, &str)>) -> io::Result<()> {
        let owned = |(user, password): (&str, &str)| (user.to_owned(), password.to_owned());
        self.done(Order::Users(users.map(owned)))
    }

    /// What goes wrong next.
    pub fn fault(&mut self, fault: Fault) -> io::Result<()> {
        self.done(Order::Fault(fault))
    }

    /// See [`Order::Quiesce`].
    pub fn quiesce(&mut self, quiescing: bool) -> io::Result<()> {
        self.done(Order::Quiesce(quiescing))
    }

    /// See [`Order::Hang`].
    pub fn hang(&mut self, hanging: bool) -> io::Result<()> {
        self.done(Order::Hang(hanging))
    }

    /// See [`Order::Unavailable`].
    pub fn unavailable(&mut self, unavailable: bool) -> io::Result<()> {
        self.done(Order::Unavailable(unavailable))
    }

    /// See [`Order::Cut`].
    pub fn cut(&mut self) -> io::Result<()> {
        self.done(Order::Cut)
    }

    /// How many connections of libraries were made so far.
    pub fn connections(&mut self) -> io::Result<u64> {
        let (answer, _) = self.order(Order::Connections, &[])?;
        u64::try_from(answer.number).map_err(io::Error::other)
    }

    /// The options and their version of each connection of a library that was made so far.
    pub fn connect_options(&mut self) -> io::Result<Vec<(i32, i32)>> {
        let (_, bytes) = self.order(Order::ConnectOptions, &[])?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}
