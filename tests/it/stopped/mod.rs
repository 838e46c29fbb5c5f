//! A whole connector server under load is stopped, alone or with its connectors' processes,
//! and goes on when it was replaced long ago; or it is killed. By kind of connector: what is
//! lost, what comes twice, and what callers are told.

mod amqp;
mod callers;
mod handled;
mod ibm_mq;
mod peers;
mod queue_manager;
mod round;
mod zeromq;
