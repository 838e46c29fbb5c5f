//! Answers that are read as they come.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use url::Url;

use super::{
    AdminClient, ApiAnswer, ApiCall,
    attempt::{SERVICES, bare, cause, is_of_services},
};

/// The outcome of a request for a stream at one URL.
pub enum StreamStart {
    /// The stream has begun.
    Stream(AnswerStream),
    /// The member answered something else.
    Answered(ApiAnswer),
    /// There was no answer, for this reason.
    Missed(String),
}

/// Reason why the next piece of a stream did not come.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The connection broke.
    #[error("{}", cause(.0))]
    Broken(reqwest::Error),
    /// Nothing came for this time.
    #[error("nothing was heard for {} s", .0.as_secs())]
    Silent(Duration),
}

/// The body of an answer, piece by piece.
pub struct AnswerStream(reqwest::Response);

impl AdminClient {
    /// Returns the URLs of the members, in the order given.
    pub fn urls(&self) -> &[Url] {
        &self.urls
    }

    /// Asks one member for a stream.
    pub async fn open(&self, url: &Url, call: &ApiCall) -> StreamStart {
        let target = format!("{}{}", bare(url), call.path);
        let request = self
            .http
            .request(call.method.clone(), target)
            .headers(call.headers.clone());
        let late = || StreamStart::Missed("no answer in time".into());
        let response = match timeout(self.timeout, request.send()).await {
            Ok(Ok(response)) if response.status().is_success() => {
                return StreamStart::Stream(AnswerStream(response));
            }
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return StreamStart::Missed(cause(&error)),
            Err(_) => return late(),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        match timeout(self.timeout, response.bytes()).await {
            Ok(Ok(body)) if is_of_services(status, &body) => StreamStart::Missed(SERVICES.into()),
            Ok(Ok(body)) => StreamStart::Answered(ApiAnswer {
                status,
                headers,
                body,
            }),
            Ok(Err(error)) => StreamStart::Missed(cause(&error)),
            Err(_) => late(),
        }
    }
}

impl AnswerStream {
    /// Waits for the next piece, `None` at the end; an error where the connection broke, or where
    /// nothing came for `wait`.
    pub async fn next(&mut self, wait: Duration) -> Result<Option<Bytes>, StreamError> {
        match timeout(wait, self.0.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(StreamError::Broken(error)),
            Err(_) => Err(StreamError::Silent(wait)),
        }
    }
}
