//! HTTP clients of members and brokers, and responses that are read up to a bound.

use bytes::{Bytes, BytesMut};
use reqwest::{Client, ClientBuilder, redirect::Policy};

/// Begins a client that asks whom it is told to ask: it knows no proxy of the environment and
/// follows no redirect. Makes ring the process's provider of cryptography, which the client wants
/// even where it speaks plain HTTP; every call after the first finds it there.
pub fn builder() -> ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().redirect(Policy::none())
}

/// Reason for which a response was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ResponseError {
    /// The body has more bytes than it may have.
    #[error("its answer has more than {0} bytes, the most that is read")]
    TooLong(usize),
    /// The body broke off.
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
}

/// Reads the body of a response, up to a number of bytes: a peer may never stop sending.
pub async fn read_bounded(
    mut answer: reqwest::Response,
    bytes_max: usize,
) -> Result<Bytes, ResponseError> {
    let said = answer.content_length().unwrap_or(0);
    if said > bytes_max as u64 {
        return Err(ResponseError::TooLong(bytes_max));
    }
    let mut body = BytesMut::new();
    while let Some(piece) = answer.chunk().await? {
        if body.len() + piece.len() > bytes_max {
            return Err(ResponseError::TooLong(bytes_max));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Asks a server that answers with this head and never stops sending.
    async fn ask(head: &'static str, bytes_max: usize) -> Result<Bytes, ResponseError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let answering = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            // Until it is cut off.
            while stream.write_all(&[b'x'; 1000]).await.is_ok() {}
        });
        let client = builder().build().unwrap();
        let answer = client.get(url).send().await.unwrap();
        let read = read_bounded(answer, bytes_max).await;
        answering.abort();
        read
    }

    #[tokio::test]
    async fn an_answer_is_read_up_to_a_bound() {
        let endless = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
        let read = ask(endless, 100_000).await;
        assert!(
            matches!(read, Err(ResponseError::TooLong(100_000))),
            "{read:?}"
        );
        let whole = "HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n";
        assert_eq!(ask(whole, 5000).await.unwrap().len(), 5000);
        let read = ask(whole, 4999).await;
        assert!(
            matches!(read, Err(ResponseError::TooLong(4999))),
            "{read:?}"
        );
    }
}
