//! The supervisor that keeps one HAProxy running with the wanted configuration.
//!
//! The file is always written first, checked by HAProxy itself before it replaces the one in force;
//! then the running process is reconciled with it over the runtime socket, and replaced by a new
//! one only if that fails.

mod update;

use std::{io, net::TcpListener, time::Duration};

use nix::{sys::signal::Signal, unistd::Pid};
use quorate_clock::Instant;
use quorate_types::backoff::Backoff;
use tokio::time::{sleep, timeout};

use super::{
    BalancerError, BalancerSettings, backend_servers::BackendServer, files, follower::ClusterView,
    front_certificate::FrontCertificate, haproxy_process::HaproxyProcess,
    haproxy_program::HaproxyProgram, render, runtime_socket::RuntimeSocket,
};

const FILE: &str = "haproxy.cfg";
const CANDIDATE: &str = "haproxy.cfg.new";
/// The time from HAProxy's start until it answers.
const START: Duration = Duration::from_secs(5);
/// The pause before HAProxy is started again: doubled each time, up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);
/// The run time after which the pause is the shortest again.
const STEADY: Duration = Duration::from_secs(10);
/// The time for the end of a process that is killed.
const END: Duration = Duration::from_secs(1);

/// One HAProxy and its wanted configuration.
pub(super) struct HaproxySupervisor {
    settings: BalancerSettings,
    program: HaproxyProgram,
    runtime: RuntimeSocket,
    /// The text of the file in force.
    file: String,
    /// A text that HAProxy has refused; not tried again until it changes.
    refused: Option<String>,
    /// The view of the cluster that the file was made from.
    wanted: ClusterView,
    /// The servers that the process has; differs from the wanted ones only where a change failed.
    running: Vec<BackendServer>,
    /// The time for which the process waits for a member.
    running_wait: Duration,
    /// The certificate of the front, where it has one.
    certificate: Option<FrontCertificate>,
    /// The file that the process has it from.
    running_pem: Option<String>,
    /// Servers retired in the process, and not yet deleted.
    leaving: Vec<String>,
    /// None while HAProxy is down.
    process: Option<HaproxyProcess>,
    /// Processes that have been replaced and finish their requests.
    replaced: Vec<HaproxyProcess>,
    started: Instant,
    pauses: Backoff,
    next: Instant,
}

impl HaproxySupervisor {
    /// Starts HAProxy.
    pub(super) async fn start(
        mut settings: BalancerSettings,
        program: HaproxyProgram,
        view: ClusterView,
    ) -> Result<HaproxySupervisor, BalancerError> {
        let runtime = RuntimeSocket::new(&settings.dir)
            .map_err(|error| files::failed("can't open", &settings.dir, error))?;
        let certificate = match settings.tls.clone() {
            Some(files) => {
                let (certificate, pem) = FrontCertificate::load(files, &settings.dir)?;
                settings.front_pem = Some(pem);
                Some(certificate)
            }
            None => None,
        };
        let now = Instant::now();
        let mut engine = HaproxySupervisor {
            settings,
            program,
            runtime,
            file: String::new(),
            refused: None,
            wanted: view,
            running: Vec::new(),
            running_wait: Duration::ZERO,
            certificate,
            running_pem: None,
            leaving: Vec::new(),
            process: None,
            replaced: Vec::new(),
            started: now,
            pauses: Backoff::new(PAUSE, PAUSE_LONGEST),
            next: now,
        };
        let text = engine.render(&engine.wanted);
        engine.put_in_force(text).await?;
        engine.launch(None).await?;
        Ok(engine)
    }

    fn render(&self, view: &ClusterView) -> String {
        render::render(&self.settings, view.longest_wait, &view.servers)
    }

    /// Takes a view of the cluster as the wanted one.
    pub(super) async fn apply_view(&mut self, view: ClusterView) {
        let text = self.render(&view);
        if text == self.file || self.refused.as_ref() == Some(&text) {
            return;
        }
        if let Err(e) = self.put_in_force(text.clone()).await {
            tracing::error!("{e}; the configuration before it stays in force");
            self.refused = Some(text);
            return;
        }
        self.refused = None;
        self.pauses.reset();
        let servers = view.servers.iter();
        let names: Vec<&str> = servers.map(|server| server.name.as_str()).collect();
        tracing::info!(
            members = names.join(" "),
            longest_wait_ms = view.longest_wait.as_millis() as u64,
            "the cluster has changed"
        );
        self.wanted = view;
        self.reconcile().await;
    }

    /// Waits until HAProxy has ended by itself; for ever while it is down.
    pub(super) async fn ended(&mut self) -> String {
        match &mut self.process {
            Some(process) => process.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Schedules a start after a pause, since HAProxy has ended.
    pub(super) fn restart_later(&mut self, how: &str) {
        let output = self.process.take().map(|k| k.explain()).unwrap_or_default();
        if self.started.elapsed() >= STEADY {
            self.pauses.reset();
        }
        let pause_ms = self.put_off().as_millis();
        tracing::error!(
            "HAProxy is gone: {how}; it is started again in {pause_ms} ms. It said last: {output}"
        );
    }

    /// Does what is due: starts HAProxy again, retries changes that failed, deletes servers that
    /// left.
    pub(super) async fn tick(&mut self) {
        self.follow_certificate().await;
        if Instant::now() < self.next {
            return;
        }
        if self.process.is_none() {
            match self.launch(None).await {
                Ok(()) => tracing::info!("HAProxy runs again"),
                Err(e) => {
                    let pause_ms = self.put_off().as_millis();
                    tracing::error!("{e}; tried again in {pause_ms} ms");
                }
            }
        } else {
            self.replaced.retain(|process| process.pid().is_some());
            if self.is_reconciled() {
                self.delete_leaving().await;
                self.next = Instant::now() + PAUSE * 5;
            } else {
                self.reconcile().await;
                self.put_off();
            }
        }
    }

    /// Ends HAProxy: requests that run are finished, within the drain time.
    pub(super) async fn stop(mut self) {
        self.replaced.extend(self.process.take());
        let stages = [
            (Signal::SIGUSR1, self.settings.drain),
            (Signal::SIGKILL, END),
        ];
        for (signal, wait) in stages {
            self.replaced
                .iter()
                .for_each(|process| process.signal(signal));
            let all = async {
                for process in &mut self.replaced {
                    process.ended().await;
                }
            };
            if timeout(wait, all).await.is_ok() {
                return;
            }
        }
    }

    /// Puts the next try off. Returns for how long.
    fn put_off(&mut self) -> Duration {
        let pause = self.pauses.step();
        self.next = Instant::now() + pause;
        pause
    }

    /// Has HAProxy check the text, then makes it the file in force.
    async fn put_in_force(&mut self, text: String) -> Result<(), BalancerError> {
        let dir = &self.settings.dir;
        let candidate = dir.join(CANDIDATE);
        files::write(&candidate, &text)?;
        if let Err(error) = self.program.check(dir, CANDIDATE).await {
            return Err(BalancerError::Refused {
                path: candidate,
                error,
            });
        }
        files::rename(&candidate, &dir.join(FILE))?;
        self.file = text;
        Ok(())
    }

    /// Starts HAProxy with the file in force and waits until it answers. With `old`, the new
    /// process takes over from that one, which goes on as before on an error.
    async fn launch(&mut self, old: Option<Pid>) -> Result<(), BalancerError> {
        if old.is_none() {
            self.started = Instant::now();
            self.address_is_free()?;
        }
        let command = self.program.command(&self.settings.dir, FILE, old);
        let mut process = HaproxyProcess::start(command)
            .await
            .map_err(|e| BalancerError::Start(e.to_string()))?;
        let pid = process.pid();
        let answered = tokio::select! {
            how = process.ended() => Err(how),
            answered = timeout(START, self.answer_of(pid)) => answered
                .map_err(|_| format!("it gave no answer within {} s", START.as_secs())),
        };
        if let Err(how) = answered {
            let output = process.explain();
            return Err(BalancerError::Start(format!("{how}; it said: {output}")));
        }
        self.replaced.extend(self.process.replace(process));
        self.running = self.wanted.servers.clone();
        self.running_wait = self.wanted.longest_wait;
        self.running_pem.clone_from(&self.settings.front_pem);
        if let (Some(certificate), Some(pem)) = (&self.certificate, &self.running_pem) {
            certificate.remove_others(pem);
        }
        self.leaving.clear();
        Ok(())
    }

    fn is_reconciled(&self) -> bool {
        // A process that waits too long harms nobody, and need not be replaced.
        self.running == self.wanted.servers
            && self.running_wait >= self.wanted.longest_wait
            && self.running_pem == self.settings.front_pem
    }

    /// Checks the address before HAProxy does: its own message for this is long, and another
    /// HAProxy may share the address without an error.
    fn address_is_free(&self) -> Result<(), BalancerError> {
        let bind = self.settings.bind;
        match TcpListener::bind(bind) {
            Ok(_) => Ok(()),
            // Not ours to judge: HAProxy may have a right that we don't have.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            Err(error) => Err(BalancerError::Bind { bind, error }),
        }
    }

    /// Waits until this process answers.
    async fn answer_of(&self, pid: Option<Pid>) {
        let pid = pid.map(Pid::as_raw);
        while self.runtime.process().await.ok() != pid || pid.is_none() {
            sleep(Duration::from_millis(10)).await;
        }
    }
}
