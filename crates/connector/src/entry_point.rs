//! Entry point of a connector process, from `main` to the run loop.

use std::{
    io::{self, IsTerminal},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use nix::{
    sys::{
        prctl,
        signal::Signal,
        socket::{UnixAddr, getsockname},
    },
    unistd::{dup2_stdin, dup2_stdout, getppid},
};
use quorate_clock::Instant;
use quorate_ipc::{
    PROCESS_ARGUMENT, connector_sandbox,
    frames::{FrameReader, write_frames},
    lease::LeaseReader,
    local_rules::LocalRules,
};
use quorate_log::LogSettings;
use quorate_platform::process_secrecy;
use quorate_proto::connector::{ToProcess, to_process};
use rustix::process::setpriority_process;
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::{
    amqp::AmqpLink,
    consume::ChannelRole,
    ibm_mq::MqLink,
    process_context::{DesiredState, PendingSend, ProcessContext},
    run_loop::RunLoop,
    send::OutgoingRole,
    watchdog::{LeaseWatchdog, end_now},
    zmq::ZmqLink,
};

/// Nice value: a third of a member's share where all want the processor. With 10 a busy connector
/// was held up by its own broker and service, and a member was no better off.
const BEHIND_MEMBERS: i32 = 5;

/// Runs the connector process and never returns, if this process is one; otherwise returns at once.
/// To be called first in `main`.
pub fn run_if_asked() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some(PROCESS_ARGUMENT) {
        return;
    }
    let code = match start(args) {
        Ok(()) => 0,
        Err(error) => {
            quorate_log::print_note(format_args!("connector process: {error}"));
            1
        }
    };
    quorate_log::finish();
    std::process::exit(code)
}

fn wrong(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text.into())
}

fn milliseconds(text: &str) -> io::Result<Duration> {
    let number: u64 = text
        .parse()
        .map_err(|_| wrong(format!("{text:?} is no number of milliseconds")))?;
    Ok(Duration::from_millis(number.clamp(1, 60_000)))
}

fn start(mut args: impl Iterator<Item = String>) -> io::Result<()> {
    let [Some(label), Some(parent), Some(alive), Some(grace), None] =
        std::array::from_fn(|_| args.next())
    else {
        return Err(wrong("it is started by a member, not by hand"));
    };
    let parent: i32 = parent
        .parse()
        .map_err(|_| wrong(format!("{parent:?} is no process id")))?;
    let (alive, grace) = (milliseconds(&alive)?, milliseconds(&grace)?);

    // From here on the kernel kills this process when its parent's thread ends. Had the
    // parent died before, this process would have another one by now.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid().as_raw() != parent {
        return Err(wrong(format!("its parent {parent} is gone")));
    }

    // Members go first: while a thousand connector processes are busy, heartbeats still are in
    // time.
    let _ = setpriority_process(None, BEHIND_MEMBERS);

    // Each thread and each of a library's buffers takes memory of which it uses little. In huge
    // pages, which some systems give everywhere, that little is 2 MiB each. A kernel that knows no
    // huge pages refuses.
    let _ = prctl::set_thp_disable(true);

    let (control, lease) = inherited()?;
    LocalRules::load_from_environment()?;
    let sandbox_abi = protect(&label)?;
    let watchdog = LeaseWatchdog::start(lease.clone(), grace)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    quorate_log::start(&LogSettings::from_environment());
    debug!(connector = label, sandbox_abi, "connector process up");
    runtime.block_on(serve(label, control, lease, watchdog, alive))
}

/// Keeps what this process has from other processes, and from it what it doesn't need. Before the
/// first frame, which has a password, and before the second thread, which the sandbox would not
/// hold.
fn protect(label: &str) -> io::Result<u8> {
    let rules = LocalRules::current();
    if !rules.process.core_dumps {
        process_secrecy::keep_memory()?;
    }
    prctl::set_no_new_privs()?;
    let kind = label.split('/').next().unwrap_or_default();
    connector_sandbox::enter(kind, rules).map_err(io::Error::other)
}

/// Takes the control socket and the lease page from where the parent put them, and puts /dev/null
/// there.
fn inherited() -> io::Result<(UnixStream, LeaseReader)> {
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    if io::stdin().is_terminal() || getsockname::<UnixAddr>(stdin.as_raw_fd()).is_err() {
        return Err(wrong(
            "it is started by a member, not by hand: standard input is no socket",
        ));
    }
    let stdout = io::stdout().as_fd().try_clone_to_owned()?;
    let lease = LeaseReader::open(&stdout)?;
    let null = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    let control = UnixStream::from(stdin);
    control.set_nonblocking(true)?;
    Ok((control, lease))
}

async fn serve(
    label: String,
    control: UnixStream,
    lease: LeaseReader,
    watchdog: LeaseWatchdog,
    alive: Duration,
) -> io::Result<()> {
    let (read, write) = tokio::net::UnixStream::from_std(control)?.into_split();
    let (frames, outbox) = mpsc::channel(64);
    let (desired, desired_receiver) = watch::channel(DesiredState::default());
    // The parent has no more deliveries at a time than the largest prefetch there is, so
    // this never fills, and a command behind an outcome never waits.
    let (outcomes, results) = mpsc::channel(usize::from(u16::MAX) + 1);
    // The parent bounds these too.
    let (commands, sends) = mpsc::channel(usize::from(u16::MAX) + 1);
    let mut context = ProcessContext::new(
        label,
        desired_receiver,
        results,
        sends,
        frames,
        lease,
        watchdog,
    );

    let writing = tokio::spawn(async move {
        if write_frames(write, outbox).await.is_err() {
            end_now();
        }
    });
    tokio::spawn(receive_commands(
        FrameReader::new(read),
        desired,
        outcomes,
        commands,
    ));
    let frame_sender = context.frames.clone();
    let heartbeats = tokio::spawn(
        frame_sender
            .clone()
            .send_heartbeats(alive, context.desired.clone()),
    );

    if let Some(configure) = context.first_configuration().await {
        match configure.kind.as_str() {
            "amqp_channel" => RunLoop::new(context).run::<ChannelRole<AmqpLink>>().await,
            "amqp_outgoing" => RunLoop::new(context).run::<OutgoingRole<AmqpLink>>().await,
            "zmq_channel" => RunLoop::new(context).run::<ChannelRole<ZmqLink>>().await,
            "zmq_outgoing" => RunLoop::new(context).run::<OutgoingRole<ZmqLink>>().await,
            "ibm_mq_channel" => RunLoop::new(context).run::<ChannelRole<MqLink>>().await,
            "ibm_mq_outgoing" => RunLoop::new(context).run::<OutgoingRole<MqLink>>().await,
            other => context.unknown_kind(other).await,
        }
    }
    // The last frames get out before the process ends.
    heartbeats.abort();
    frame_sender.send_tally().await;
    drop(frame_sender);
    let _ = tokio::time::timeout(Duration::from_millis(100), writing).await;
    Ok(())
}

/// Receives the parent's orders until the socket closes, which ends the process.
async fn receive_commands(
    mut commands: FrameReader<tokio::net::unix::OwnedReadHalf>,
    desired: watch::Sender<DesiredState>,
    outcomes: mpsc::Sender<quorate_proto::connector::Outcome>,
    sends: mpsc::Sender<PendingSend>,
) {
    loop {
        let Ok(Some(ToProcess { frame: Some(frame) })) = commands.next::<ToProcess>().await else {
            end_now();
        };
        match frame {
            to_process::Frame::Outcome(outcome) => {
                if outcomes.send(outcome).await.is_err() {
                    warn!("an outcome came after the end");
                }
            }
            to_process::Frame::Send(send) => {
                let until = Instant::now() + Duration::from_millis(send.within_ms);
                if sends.send(PendingSend { send, until }).await.is_err() {
                    warn!("a message to be sent came after the end");
                }
            }
            command => desired.send_modify(|desired| desired.apply(command)),
        }
    }
}
