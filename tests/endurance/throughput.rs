//! How many messages a second, beside a program that has nothing but lapin.

pub mod bare;
mod stretch;
mod subject;

use std::{collections::BTreeMap, fmt::Write as _, net::Ipv4Addr, time::Duration};

use clap::Args;
use quorate_testkit::{rabbitmq::RabbitBroker, traffic::sink::MessageSink};
use serde_json::{Value, json};

use super::{Common, report};
use stretch::{BYTES, Bench, Stretch, Work};
use subject::Subject;

/// Messages at a time, and how many go through in a stretch.
const STEPS: [(u16, usize); 3] = [(1, 1500), (10, 6000), (100, 6000)];
/// The least part of what the bare program does, by the aim.
const AIM: f64 = 0.7;

/// How much of it.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How often each stretch is gone through, in turns with the others.
    #[arg(long, default_value_t = 3)]
    laps: usize,
    /// A part of the messages of a stretch, in percent.
    #[arg(long, default_value_t = 100)]
    percent: usize,
    #[command(flatten)]
    common: Common,
}

type Series = BTreeMap<(Work, u16, &'static str), Vec<Stretch>>;

/// Measures and writes the report; gives what must not be.
pub async fn run(options: Options) -> Vec<String> {
    let rabbit = RabbitBroker::start().await;
    let sink = MessageSink::start_at(Ipv4Addr::LOCALHOST, Duration::ZERO).await;
    let bench = Bench {
        broker: rabbit.client().await,
        rabbit,
        sink,
        http: reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client"),
    };
    let url = bench.sink.url();
    let promise = options.common.failover_ms;
    let mut subjects = [
        Subject::bare(),
        Subject::cluster("three members", (3, promise), &bench.rabbit, &url).await,
        Subject::cluster("one member", (1, promise), &bench.rabbit, &url).await,
    ];
    let mut series = Series::new();
    let mut findings = Vec::new();
    for lap in 0..options.laps {
        for work in [Work::In, Work::Out] {
            for (at_a_time, messages) in STEPS {
                let messages = (messages * options.percent / 100).max(20);
                for subject in &mut subjects {
                    let name = subject.name();
                    let what = format!("lap {lap}, {}, {at_a_time} at a time, {name}", work.word());
                    match bench.stretch(subject, work, at_a_time, messages).await {
                        Ok(stretch) => {
                            let rate = stretch.messages as f64 / stretch.seconds;
                            let cost = stretch.processor_seconds / stretch.messages as f64 * 1e6;
                            println!("{what}: {rate:.0}/s, {cost:.0} us of processor each");
                            let key = (work, at_a_time, name);
                            series.entry(key).or_default().push(stretch);
                        }
                        Err(problem) => findings.push(format!("{what}: {problem}")),
                    }
                }
            }
        }
    }
    let markdown = markdown(&options, &series, &findings);
    report::write(
        &options.common.out,
        "throughput",
        &markdown,
        &raw(&series, &findings),
    );
    findings
}

/// Messages a second and processor microseconds for each, over all laps.
fn figures(stretches: &[Stretch]) -> (f64, f64) {
    let sum = |of: fn(&Stretch) -> f64| stretches.iter().map(of).sum::<f64>();
    let messages = sum(|it| it.messages as f64);
    (
        messages / sum(|it| it.seconds),
        sum(|it| it.processor_seconds) / messages * 1e6,
    )
}

fn markdown(options: &Options, series: &Series, findings: &[String]) -> String {
    let mut command = "make throughput".to_owned();
    if (options.laps, options.percent) != (3, 100) {
        let _ = write!(
            command,
            " ARGS=\"--laps {} --percent {}\"",
            options.laps, options.percent
        );
    }
    let mut text = report::head("Throughput beside bare lapin", &command);
    let _ = writeln!(
        text,
        "\n{} laps, all in turn in each; messages of {BYTES} bytes. Aim: at least {AIM} of what the bare program does. What is measured and how: [benchmarks.md](../benchmarks.md#throughput-beside-bare-lapin).",
        options.laps
    );
    for (work, title) in [
        (Work::In, "AMQP channel to a service over HTTP"),
        (Work::Out, "Sending by an AMQP outgoing over REST"),
    ] {
        let _ = writeln!(
            text,
            "\n## {title}\n\n| at a time | what | messages/s | of bare | processor µs each | times bare |\n|---|---|---|---|---|---|"
        );
        for ((_, at_a_time, name), stretches) in series.iter().filter(|(key, _)| key.0 == work) {
            let (rate, cost) = figures(stretches);
            let bare = series.get(&(work, *at_a_time, "bare lapin"));
            let (bare_rate, bare_cost) = bare.map_or((rate, cost), |it| figures(it));
            let _ = writeln!(
                text,
                "| {at_a_time} | {name} | {rate:.0} | {:.2} | {cost:.0} | {:.1} |",
                rate / bare_rate,
                cost / bare_cost
            );
        }
    }
    for finding in findings {
        let _ = writeln!(text, "\nFound: {finding}");
    }
    if findings.is_empty() {
        text.push_str("\nEvery message arrived, each once.\n");
    }
    text
}

fn raw(series: &Series, findings: &[String]) -> Value {
    let rows = series.iter().map(|((work, at_a_time, name), stretches)| {
        let stretches = stretches.iter().map(|it| {
            json!({
                "messages": it.messages, "seconds": it.seconds,
                "processor_seconds": it.processor_seconds,
            })
        });
        json!({
            "way": work.word(), "at_a_time": at_a_time, "what": name,
            "stretches": stretches.collect::<Vec<_>>(),
        })
    });
    json!({"bytes": BYTES, "series": rows.collect::<Vec<_>>(), "findings": findings})
}
