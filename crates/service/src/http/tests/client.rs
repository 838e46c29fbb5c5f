//! A client that sends whatever it is given.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

pub(super) struct RawClient {
    pub(super) stream: TcpStream,
    buffer: Vec<u8>,
}

/// One answer, taken apart.
#[derive(Debug)]
pub(super) struct RawAnswer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl RawAnswer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl RawClient {
    pub(super) async fn connect(address: SocketAddr) -> RawClient {
        RawClient {
            stream: TcpStream::connect(address).await.unwrap(),
            buffer: Vec::new(),
        }
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The other side may have said its last word already.
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// The next answer; `None` when the connection ended without one.
    pub(super) async fn answer(&mut self) -> Option<RawAnswer> {
        self.answer_to("GET").await
    }

    pub(super) async fn answer_to(&mut self, method: &str) -> Option<RawAnswer> {
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                break String::from_utf8(head).unwrap();
            }
            if !self.read().await {
                assert!(self.buffer.is_empty(), "half an answer: {:?}", self.buffer);
                return None;
            }
        };
        let mut lines = head.lines();
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = RawAnswer {
            status,
            headers,
            body: String::new(),
        };
        let length = answer
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        if method != "HEAD" && answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await {
                answer.body += &chunk;
            }
        } else if method != "HEAD" {
            while self.buffer.len() < length {
                assert!(self.read().await, "half a body: {answer:?}");
            }
            answer.body = String::from_utf8(self.buffer.drain(..length).collect()).unwrap();
        }
        Some(answer)
    }

    /// The head of the next answer; its body is left to be read.
    pub(super) async fn head(&mut self) -> Option<RawAnswer> {
        self.answer_to("HEAD").await
    }

    /// The next chunk of a body; `None` at its end, with trailers or without.
    pub(super) async fn chunk(&mut self) -> Option<String> {
        let size = usize::from_str_radix(&self.line().await, 16).unwrap();
        if size == 0 {
            while !self.line().await.is_empty() {}
            return None;
        }
        while self.buffer.len() < size + 2 {
            assert!(self.read().await, "half a chunk");
        }
        let chunk = self.buffer.drain(..size + 2).take(size).collect();
        Some(String::from_utf8(chunk).unwrap())
    }

    pub(super) async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).unwrap();
            }
            assert!(self.read().await, "half a line: {:?}", self.buffer);
        }
    }

    /// Whether the other side closes, having said nothing more.
    pub(super) async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.read().await
    }

    async fn read(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.buffer);
        match timeout(Duration::from_secs(10), read)
            .await
            .expect("something within 10 s")
        {
            Ok(n) => n > 0,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}"),
        }
    }
}
