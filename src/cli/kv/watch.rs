//! `quorate kv watch`: a line for each change, whichever member is alive.
//!
//! When a member is lost, the next one is followed from the last revision that was printed: each
//! change is printed once and in order, or the command ends and reports why.

use std::{borrow::Cow, time::Duration};

use http::{HeaderName, Method, StatusCode};
use quorate_clock::Instant;
use quorate_types::backoff;

use super::{
    shown,
    sse_parser::{SseEvent, SseParser},
};
use crate::{
    admin::watch::{ChangeKind, ChangeRow, WatchStarted},
    cli::{
        client::{
            AdminClient, AnswerStream, ApiCall, ClientArgs, ProblemAnswer, StreamStart,
            no_member_answered,
        },
        error::CliError,
        output::{self, OutputFormat, quoted},
    },
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The silence after which a stream is given up: a member gives a sign of life every 5 s.
const SILENCE: Duration = Duration::from_secs(15);
/// The time after which a stream that is lost was no failure; one that brought a change was none
/// either.
const SETTLED: Duration = Duration::from_secs(5);
/// The time for which no member may be found once the watch has begun.
const GIVE_UP: Duration = Duration::from_secs(300);
/// The pause between two rounds over all members; it doubles each time.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The end of a stream, for the command.
enum WatchEnd {
    /// The reader of our output has gone.
    Unread,
    /// The stream was lost; another member may go on.
    Lost(String),
}

/// A watch over all its streams.
struct KeyWatch {
    output: OutputFormat,
    prefix: String,
    from: Option<u64>,
    /// Everything up to here was printed, or was not asked for.
    seen: Option<String>,
    /// The number of losses since the last stream that lived.
    failures: u32,
}

/// Prints changes until the watch can't go on.
pub(super) async fn run(
    prefix: String,
    from: Option<u64>,
    args: &ClientArgs,
) -> Result<(), CliError> {
    let client = AdminClient::new(args)?;
    let mut watch = KeyWatch {
        output: args.output,
        prefix,
        from,
        seen: None,
        failures: 0,
    };
    watch.run(&client).await
}

impl KeyWatch {
    async fn run(&mut self, client: &AdminClient) -> Result<(), CliError> {
        let members = u32::try_from(client.urls().len()).unwrap_or(u32::MAX);
        let (mut misses, mut weak) = (Vec::new(), None);
        let mut lost_at = Instant::now();
        for url in client.urls().iter().cycle() {
            match client.open(url, &self.call()?).await {
                StreamStart::Stream(stream) => {
                    let began = Instant::now();
                    let end = self.print(stream, url.as_str()).await?;
                    let WatchEnd::Lost(why) = end else {
                        return Ok(());
                    };
                    if began.elapsed() > SETTLED {
                        self.failures = 0;
                    }
                    lost_at = Instant::now();
                    misses.clear();
                    weak = None;
                    quorate_log::print_note(format_args!(
                        "{url} is lost ({why}); going on at the next member"
                    ));
                }
                StreamStart::Answered(answer)
                    if answer.status == StatusCode::SERVICE_UNAVAILABLE =>
                {
                    weak = Some(answer.problem().into_failure());
                }
                StreamStart::Answered(answer) => {
                    return Err(self.refused(&answer.problem()));
                }
                StreamStart::Missed(why) => misses.push(format!("{url}: {why}")),
            }
            self.failures += 1;
            let rounds = self.failures / members;
            if rounds > 0 && self.seen.is_none() {
                return Err(weak.unwrap_or_else(|| no_member_answered(&misses)));
            }
            if lost_at.elapsed() > GIVE_UP {
                let failure = weak.unwrap_or_else(|| no_member_answered(&misses));
                return Err(failure.about(format!(
                    "no member was found for {} s, {}",
                    GIVE_UP.as_secs(),
                    self.place()
                )));
            }
            if self.failures.is_multiple_of(members) {
                tokio::time::sleep(pause(rounds)).await;
                misses.clear();
            }
        }
        Err(no_member_answered(&misses))
    }

    fn call(&self) -> Result<ApiCall, CliError> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("prefix", &self.prefix);
        if let Some(from) = self.from {
            query.append_pair("from", &from.to_string());
        }
        let call = ApiCall::new(Method::GET, format!("/v1/watch?{}", query.finish()));
        match &self.seen {
            Some(seen) => call.header(LAST_EVENT_ID, seen),
            None => Ok(call),
        }
    }

    /// Prints the events that come, until the stream ends.
    async fn print(&mut self, mut stream: AnswerStream, url: &str) -> Result<WatchEnd, CliError> {
        let mut events = SseParser::default();
        loop {
            let piece = match stream.next(SILENCE).await {
                Ok(Some(piece)) => piece,
                Ok(None) => return Ok(WatchEnd::Lost("it ended the stream".into())),
                Err(error) => return Ok(WatchEnd::Lost(error.to_string())),
            };
            for event in events.take(&piece).map_err(not_understood)? {
                let end = self.event(&event, url)?;
                // only now: what was not printed is asked for again
                if event.id.is_some() {
                    self.seen = event.id;
                }
                if let Some(end) = end {
                    return Ok(end);
                }
            }
        }
    }

    /// Returns true if the stream lived long enough to be no failure.
    fn event(&mut self, event: &SseEvent, url: &str) -> Result<Option<WatchEnd>, CliError> {
        match event.name.as_str() {
            "" if event.data.is_empty() => Ok(None),
            "" => {
                self.failures = 0;
                let read_on = output::streamed(&self.line(&read(event)?)?)?;
                Ok((!read_on).then_some(WatchEnd::Unread))
            }
            "watching" => {
                let WatchStarted { from, .. } = read(event)?;
                quorate_log::print_note(format_args!("watching from revision {from} at {url}"));
                Ok(None)
            }
            "cut_off" => Ok(Some(WatchEnd::Lost(
                "it hears no leader and may be late".into(),
            ))),
            "compacted" | "forbidden" => Err(self.refused(&read(event)?)),
            // Of a later version.
            _ => Ok(None),
        }
    }

    fn line(&self, change: &ChangeRow) -> Result<String, CliError> {
        if self.output == OutputFormat::Json {
            return serde_json::to_string(change)
                .map_err(|error| CliError::Refused(format!("can't write JSON: {error}")));
        }
        let key = match output::printable(&change.key) {
            Cow::Borrowed(key) => Cow::Borrowed(key),
            Cow::Owned(_) => Cow::Owned(format!("{:?}", change.key)),
        };
        let revision = change.revision;
        Ok(match (change.kind, &change.value_base64) {
            (ChangeKind::Delete, _) => format!("{revision}  delete  {key}"),
            (ChangeKind::Put, value) => {
                let value = shown(value.as_deref().unwrap_or_default());
                format!("{revision}  put     {key}  {value}")
            }
        })
    }

    /// Returns the reason why the watch ends for good. For a history that is gone it names the way
    /// to go on.
    fn refused(&self, problem: &ProblemAnswer) -> CliError {
        let failure = problem.clone().into_failure();
        if problem.code.as_deref() != Some("compacted") {
            return failure;
        }
        CliError::Refused(format!(
            "{failure}\nFor that: `quorate kv list --prefix {} --output json` shows what is there, and \"revision\"; then `quorate kv watch --from` that revision + 1",
            quoted(&self.prefix)
        ))
    }

    fn place(&self) -> String {
        match &self.seen {
            Some(seen) => format!("and nothing after revision {seen} was seen"),
            None => "and nothing was seen".into(),
        }
    }
}

fn pause(rounds: u32) -> Duration {
    backoff::nth(PAUSE, PAUSE_MAX, rounds.saturating_sub(1))
}

fn read<T: serde::de::DeserializeOwned>(event: &SseEvent) -> Result<T, CliError> {
    serde_json::from_str(&event.data).map_err(not_understood)
}

fn not_understood(why: impl std::fmt::Display) -> CliError {
    CliError::Refused(format!(
        "the stream is not understood ({why}); is that URL a member's admin port?"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(output: OutputFormat) -> KeyWatch {
        KeyWatch {
            output,
            prefix: "a b".into(),
            from: Some(7),
            seen: None,
            failures: 0,
        }
    }

    fn change(value: Option<&str>, key: &str) -> ChangeRow {
        ChangeRow {
            revision: 42,
            kind: match value {
                Some(_) => ChangeKind::Put,
                None => ChangeKind::Delete,
            },
            key: key.into(),
            value_base64: value.map(str::to_owned),
            previous_revision: None,
        }
    }

    #[test]
    fn a_line_for_each_change() {
        let table = watch(OutputFormat::Table);
        let line = |value, key| table.line(&change(value, key)).unwrap();
        assert_eq!(line(Some("dg=="), "a/b"), "42  put     a/b  v");
        assert_eq!(line(None, "a\nb"), "42  delete  \"a\\nb\"");
        let json = watch(OutputFormat::Json).line(&change(None, "a")).unwrap();
        assert!(
            json.contains("\"kind\":\"delete\"") && !json.contains('\n'),
            "{json}"
        );
    }

    #[test]
    fn watch_resumes_after_last_printed_revision() {
        let mut watch = watch(OutputFormat::Table);
        let call = watch.call().unwrap();
        assert_eq!(call.path, "/v1/watch?prefix=a+b&from=7");
        assert!(call.headers.is_empty());
        watch.seen = Some("9".into());
        assert_eq!(watch.call().unwrap().headers[LAST_EVENT_ID], "9");
    }

    #[test]
    fn compacted_watch_error_names_the_remedy() {
        let event = |code: &str| SseEvent {
            name: "compacted".into(),
            data: format!("{{\"code\":{code:?},\"detail\":\"gone\"}}"),
            ..SseEvent::default()
        };
        let mut watch = watch(OutputFormat::Table);
        let mut fail = |event| watch.event(&event, "u").err().expect("an end");
        let failure = fail(event("compacted"));
        assert_eq!(failure.code(), 1);
        for part in ["gone", "quorate kv list --prefix 'a b'", "--from"] {
            assert!(failure.to_string().contains(part), "{failure}");
        }
        let forbidden = SseEvent {
            name: "forbidden".into(),
            ..event("forbidden")
        };
        for other in [event("other"), forbidden] {
            assert_eq!(fail(other).to_string(), "gone");
        }
    }

    #[test]
    fn a_member_that_hears_no_leader_is_left() {
        let cut_off = SseEvent {
            id: Some("9".into()),
            name: "cut_off".into(),
            data: "{\"revision\":9}".into(),
        };
        let end = watch(OutputFormat::Table).event(&cut_off, "u").unwrap();
        assert!(matches!(end, Some(WatchEnd::Lost(why)) if why.contains("no leader")));
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        assert_eq!(pause(1), PAUSE);
        assert_eq!(pause(2), PAUSE * 2);
        assert_eq!(pause(u32::MAX), PAUSE_MAX);
    }
}
