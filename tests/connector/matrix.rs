//! Types of queues, fences, and what happens to a channel meanwhile: what is handled, lost and
//! repeated. The table in docs/connectors/amqp.md is what this prints.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use lapin::{
    options::QueueDeclareOptions,
    types::{AMQPValue, FieldTable},
};
use nix::sys::signal::Signal;
use prost::Message;
use quorate_clock::Instant;
use quorate_proto::connector::ChannelProgress;
use quorate_resources::Kind;
use quorate_state::OperatorAction;
use quorate_supervisor::ConnectorState;
use serde_json::json;

use super::{load::order, world::*};

/// So many messages come before what happens, as many meanwhile, and as many after it.
const PART: usize = 40;
const PHASE: usize = 3 * PART;
/// Where messages go that have waited for longer than their queue lets them.
const DEAD: &str = "matrix-dead";
/// How long it lets them, in milliseconds.
const TTL: i32 = 3000;

enum Argument {
    Text(&'static str),
    Number(i32),
    Yes,
}

/// A type of queue.
struct QueueType {
    name: &'static str,
    arguments: &'static [(&'static str, Argument)],
    /// Whether it keeps others off an exclusive consumer.
    fences: bool,
}

static TYPES: [QueueType; 7] = [
    QueueType {
        name: "classic",
        arguments: &[],
        fences: true,
    },
    QueueType {
        name: "quorum",
        arguments: &[("x-queue-type", Argument::Text("quorum"))],
        fences: false,
    },
    QueueType {
        name: "stream",
        arguments: &[("x-queue-type", Argument::Text("stream"))],
        fences: false,
    },
    QueueType {
        name: "priority",
        arguments: &[("x-max-priority", Argument::Number(5))],
        fences: true,
    },
    QueueType {
        name: "single active consumer",
        arguments: &[("x-single-active-consumer", Argument::Yes)],
        fences: false,
    },
    QueueType {
        name: "lazy",
        arguments: &[("x-queue-mode", Argument::Text("lazy"))],
        fences: true,
    },
    QueueType {
        name: "TTL and DLX",
        arguments: &[
            ("x-message-ttl", Argument::Number(TTL)),
            ("x-dead-letter-exchange", Argument::Text("")),
            ("x-dead-letter-routing-key", Argument::Text(DEAD)),
        ],
        fences: true,
    },
];

impl QueueType {
    async fn declare(&self, client: &BrokerClient, queue: &str) {
        let mut arguments = FieldTable::default();
        for (name, value) in self.arguments {
            let value = match value {
                Argument::Text(text) => AMQPValue::LongString((*text).into()),
                Argument::Number(n) => AMQPValue::LongInt(*n),
                Argument::Yes => AMQPValue::Boolean(true),
            };
            arguments.insert((*name).into(), value);
        }
        let channel = client.connection().create_channel().await.unwrap();
        channel
            .queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments)
            .await
            .unwrap();
    }

    fn expires(&self) -> bool {
        self.arguments
            .iter()
            .any(|(name, _)| *name == "x-message-ttl")
    }
}

/// What happens to a channel.
#[derive(Clone, Copy)]
enum Event {
    Nothing,
    Pause,
    Kill,
    Restart,
}

const EVENTS: [(&str, Event); 4] = [
    ("normal", Event::Nothing),
    ("pause", Event::Pause),
    ("kill -9", Event::Kill),
    ("broker restart", Event::Restart),
];

/// The messages that are published around the event of this number.
fn numbers(event: usize) -> Range<usize> {
    event * PHASE..(event + 1) * PHASE
}

fn body(queue: &str, n: usize) -> String {
    format!("{queue} {n}")
}

/// A queue of a type behind a fence, and its channel, which is named as it is.
struct Cell {
    kind: &'static QueueType,
    fence: &'static str,
    queue: String,
}

/// What became of the messages of one event.
#[derive(Debug, Default)]
struct Outcomes {
    handled: usize,
    dead_lettered: usize,
    lost: usize,
    repeated: usize,
}

impl Outcomes {
    fn told(&self) -> String {
        let dead = match self.dead_lettered {
            0 => String::new(),
            n => format!("{n} dead-lettered, "),
        };
        format!(
            "{} handled, {dead}{} lost, {} repeated",
            self.handled, self.lost, self.repeated
        )
    }
}

/// All of them on one broker.
struct Matrix {
    broker: RabbitBroker,
    group: Arc<SimulatedGroup>,
    member: SimulatedMember,
    cells: Vec<Cell>,
    dead: BTreeSet<String>,
}

impl Matrix {
    /// Each type behind each fence; those that are refused are seen to be so, and left out.
    async fn start() -> Matrix {
        let broker = RabbitBroker::start().await;
        let client = broker.client().await;
        client.declare(DEAD).await;
        let group = SimulatedGroup::with_services();
        group.behave(|_| (Duration::from_millis(20), status(200)));
        let member = SimulatedMember::start(&group, 1, 2000);
        member.lead(2);
        let mut cells = Vec::new();
        for fence in ["exclusive", "lease"] {
            let mut to = connection(broker.port());
            to["name"] = json!(fence);
            to["fence"] = json!(fence);
            group.put(Kind::AmqpConnection, to);
            for kind in &TYPES {
                let queue = unique(&format!("{}-{fence}", kind.name.replace(' ', "-")));
                kind.declare(&client, &queue).await;
                let mut from = channel(&queue);
                from["connection"] = json!(fence);
                group.put(Kind::AmqpChannel, from);
                cells.push(Cell { kind, fence, queue });
            }
        }
        let refused = |cell: &Cell| cell.fence == "exclusive" && !cell.kind.fences;
        for cell in &cells {
            if !refused(cell) {
                member.active(&cell.queue).await;
                continue;
            }
            member
                .when(&cell.queue, "it is refused", |status| {
                    status.state == ConnectorState::Failed && says(status, "fence: lease")
                })
                .await;
            group.delete(Kind::AmqpChannel, &cell.queue);
        }
        cells.retain(|cell| !refused(cell));
        Matrix {
            broker,
            group,
            member,
            cells,
            dead: BTreeSet::new(),
        }
    }

    async fn publish(&self, client: &BrokerClient, numbers: Range<usize>) {
        for Cell { queue, .. } in &self.cells {
            let bodies = numbers.clone().map(|n| body(queue, n));
            client.publish(queue, bodies).await;
        }
    }

    /// Lets it happen while messages are in flight, and others come.
    async fn happen(&mut self, event: Event, from: usize) {
        let mut client = self.broker.client().await;
        self.publish(&client, from..from + PART).await;
        eventually("messages of each are handled", async || {
            let handled = self.group.calls_by_body();
            let begun = |cell: &Cell| handled.contains_key(&body(&cell.queue, from));
            self.cells.iter().all(begun).then_some(())
        })
        .await;
        let meanwhile = from + PART..from + 2 * PART;
        match event {
            Event::Nothing => self.publish(&client, meanwhile).await,
            Event::Pause => self.pause(&client, meanwhile).await,
            Event::Kill => self.kill(&client, meanwhile).await,
            Event::Restart => {
                self.broker.stop();
                self.broker.up().await;
                client = self.broker.client().await;
                // The broker returns what comes before a stream has its leader again.
                for Cell { queue, .. } in &self.cells {
                    let first = body(queue, meanwhile.start);
                    eventually("the queue takes messages again", async || {
                        client.try_publish(queue, &first).await.then_some(())
                    })
                    .await;
                }
                self.publish(&client, meanwhile.start + 1..meanwhile.end)
                    .await;
            }
        }
        self.publish(&client, from + 2 * PART..from + PHASE).await;
    }

    async fn pause(&self, client: &BrokerClient, meanwhile: Range<usize>) {
        for Cell { queue, .. } in &self.cells {
            order(&self.group, Kind::AmqpChannel, queue, OperatorAction::Pause);
        }
        for Cell { queue, .. } in &self.cells {
            self.member
                .when(queue, "paused", |it| it.state == ConnectorState::Paused)
                .await;
        }
        self.publish(client, meanwhile).await;
        // What may not wait so long is dead-lettered by the broker.
        let expire = self.cells.iter().filter(|cell| cell.kind.expires());
        let expire = expire.count() * PART;
        eventually("what is too old is dead-lettered", async || {
            let there = client.count(DEAD).await.0;
            (there as usize >= expire).then_some(())
        })
        .await;
        for Cell { queue, .. } in &self.cells {
            order(
                &self.group,
                Kind::AmqpChannel,
                queue,
                OperatorAction::Resume,
            );
        }
    }

    async fn kill(&self, client: &BrokerClient, meanwhile: Range<usize>) {
        let mut killed = Vec::new();
        for Cell { queue, .. } in &self.cells {
            let pid = self.member.active(queue).await.pid.unwrap();
            signal(pid, Signal::SIGKILL);
            killed.push((queue, pid));
        }
        self.publish(client, meanwhile).await;
        for (queue, pid) in killed {
            self.member
                .when(queue, "another process", |status| {
                    status.state == ConnectorState::Active && status.pid != Some(pid)
                })
                .await;
        }
    }

    /// Waits until nothing is missing, or the time is over.
    async fn settle(&mut self, event: usize) {
        let client = self.broker.client().await;
        let deadline = Instant::now() + WAIT;
        loop {
            while let Some(letter) = client.take(DEAD).await {
                let body = String::from_utf8_lossy(&letter.data).into_owned();
                self.dead.insert(body);
            }
            let handled = self.group.calls_by_body();
            let lost = self.cells.iter().map(|cell| {
                let outcomes = self.outcomes(&handled, cell, event);
                outcomes.lost
            });
            if lost.sum::<usize>() == 0 || Instant::now() > deadline {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for Cell { queue, .. } in &self.cells {
            self.member
                .when(queue, "nothing in flight", |status| {
                    status.counts.in_flight == 0
                })
                .await;
        }
        // A kill repeats what a stream has given since its offset was written last.
        for cell in self.cells.iter().filter(|cell| cell.kind.name == "stream") {
            eventually("its offset is kept", async || {
                let state = self.group.state();
                let progress = state.progress().get(Kind::AmqpChannel, &cell.queue);
                let offset = ChannelProgress::decode(progress).ok()?.offset?;
                (offset >= numbers(event).end as u64).then_some(())
            })
            .await;
        }
    }

    fn outcomes(&self, handled: &BTreeMap<String, usize>, cell: &Cell, event: usize) -> Outcomes {
        let mut outcomes = Outcomes::default();
        for n in numbers(event) {
            let body = body(&cell.queue, n);
            match handled.get(&body) {
                Some(times) => {
                    outcomes.handled += 1;
                    outcomes.repeated += times - 1;
                }
                None if self.dead.contains(&body) => outcomes.dead_lettered += 1,
                None => outcomes.lost += 1,
            }
        }
        outcomes
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_queue_type_loses_messages_on_channel_events() {
    let mut matrix = Matrix::start().await;
    for (number, (_, event)) in EVENTS.iter().enumerate() {
        matrix.happen(*event, numbers(number).start).await;
        matrix.settle(number).await;
    }
    let titles: Vec<&str> = EVENTS.iter().map(|(title, _)| *title).collect();
    println!("| queue | fence | {} |", titles.join(" | "));
    println!("|---|---|{}", "---|".repeat(EVENTS.len()));
    for kind in TYPES.iter().filter(|kind| !kind.fences) {
        println!(
            "| {} | exclusive |{}",
            kind.name,
            " refused |".repeat(EVENTS.len())
        );
    }
    let handled = matrix.group.calls_by_body();
    let mut wrong = Vec::new();
    for cell in &matrix.cells {
        let mut row = format!("| {} | {} |", cell.kind.name, cell.fence);
        for (number, (title, event)) in EVENTS.iter().enumerate() {
            let outcomes = matrix.outcomes(&handled, cell, number);
            row += &format!(" {} |", outcomes.told());
            // What ends in order repeats nothing.
            let in_order = matches!(event, Event::Nothing | Event::Pause);
            if outcomes.lost > 0 || in_order && outcomes.repeated > 0 {
                wrong.push(format!("{title}, {}: {outcomes:?}", cell.queue));
            }
        }
        println!("{row}");
    }
    assert_eq!(wrong, Vec::<String>::new());
}
