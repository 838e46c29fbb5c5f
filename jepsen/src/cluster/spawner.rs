//! Thread that starts all processes.
//!
//! The kernel kills them when the thread that started them ends (PDEATHSIG), so none
//! outlives the harness, however that ends; a runtime's worker thread may end earlier.

use std::{
    io,
    process::{Child, Command},
    sync::{OnceLock, mpsc},
    thread,
};

type SpawnRequest = (Command, mpsc::SyncSender<io::Result<Child>>);

/// Starts a process; `command` should come from [`bound`].
pub fn spawn(command: Command) -> io::Result<Child> {
    static ORDERS: OnceLock<mpsc::SyncSender<SpawnRequest>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, received) = mpsc::sync_channel::<SpawnRequest>(64);
        thread::spawn(move || {
            for (mut command, reply) in received {
                let _ = reply.send(command.spawn());
            }
        });
        orders
    });
    let (reply, answer) = mpsc::sync_channel(1);
    let gone = |_| io::Error::other("the thread that starts processes is gone");
    orders.send((command, reply)).map_err(|_| gone(()))?;
    answer.recv().map_err(|_| gone(()))?
}

/// A command that runs `program` and is killed with this process.
pub fn bound(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}
