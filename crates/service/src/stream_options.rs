//! Options of an HTTP client's call that other calls lack.

use super::upload::ReplayableUpload;

/// Mode in which a service takes the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyMode {
    /// As it comes: an upstream that is called once.
    Stream,
    /// A short one whole, since it may have to be sent again, and a long one as it comes: an
    /// upstream with `retries`.
    ShortWhole,
    /// Whole: code.
    Whole,
}

/// Flow of the bodies, and abilities of the client. Messages and calls from other members go
/// without: their bodies are whole.
#[derive(Default)]
pub(crate) struct StreamOptions {
    /// The answer may be a stream.
    pub streams: bool,
    /// Body, where it is passed on as it comes; the request has none then, and is not tried again.
    pub upload: Option<ReplayableUpload>,
    /// The client wants to speak WebSocket.
    pub websocket: bool,
    /// The client takes trailers.
    pub trailers: bool,
}
