//! As much of ZooKeeper's protocol as a writer and a lock need: frames of a length and
//! big-endian fields, one request at a time.

use std::{io, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

const CREATE: i32 = 1;
const EXISTS: i32 = 3;
const SET_DATA: i32 = 5;
const GET_CHILDREN: i32 = 8;
const PING: i32 = 11;
const CLOSE: i32 = -11;
const XID_PING: i32 = -2;
const XID_EVENT: i32 = -1;
const EPHEMERAL_SEQUENTIAL: i32 = 3;
/// The error of `exists` and `set` where there is no such node.
pub const NO_NODE: i32 = -101;
/// The error of `create` where there is one.
pub const NODE_EXISTS: i32 = -110;

/// An answer: which transaction the server had seen, an error's number or 0, the rest.
pub struct Reply {
    pub zxid: u64,
    pub error: i32,
    pub body: Bytes,
}

impl Reply {
    /// The answer, unless it is an error other than `allowed`.
    pub fn ok(self, allowed: i32) -> Result<Reply, String> {
        match self.error == 0 || self.error == allowed {
            true => Ok(self),
            false => Err(format!("ZooKeeper's error {}", self.error)),
        }
    }
}

/// A session.
pub struct Session {
    frames: Framed<TcpStream, LengthDelimitedCodec>,
    xid: i32,
    /// What the server granted.
    pub timeout: Duration,
    /// Whether a watched node has changed since this was last cleared.
    pub event: bool,
}

impl Session {
    /// A new one, that ends when nothing was heard for `timeout`.
    pub async fn open(address: &str, timeout: Duration) -> Result<Session, String> {
        let stream = TcpStream::connect(address).await.map_err(told)?;
        stream.set_nodelay(true).map_err(told)?;
        let mut frames = Framed::new(stream, LengthDelimitedCodec::new());
        let mut hello = BytesMut::new();
        hello.put_i32(0);
        hello.put_i64(0);
        hello.put_i32(timeout.as_millis() as i32);
        hello.put_i64(0);
        put_bytes(&mut hello, &[0; 16]);
        hello.put_u8(0);
        frames.send(hello.freeze()).await.map_err(told)?;
        let mut answer = next(&mut frames).await?;
        if answer.len() < 16 {
            return Err("a short greeting".into());
        }
        answer.advance(4);
        let timeout = Duration::from_millis(answer.get_i32().max(0) as u64);
        if timeout.is_zero() {
            return Err("the session was refused".into());
        }
        Ok(Session {
            frames,
            xid: 0,
            timeout,
            event: false,
        })
    }

    /// Creates an empty node.
    pub async fn create(&mut self, path: &str) -> Result<Reply, String> {
        self.create_as(path, 0).await
    }

    /// Creates one that ends with the session and gets a number; gives its path.
    pub async fn create_numbered(&mut self, path: &str) -> Result<String, String> {
        let mut reply = self.create_as(path, EPHEMERAL_SEQUENTIAL).await?.ok(0)?;
        take_text(&mut reply.body)
    }

    async fn create_as(&mut self, path: &str, flags: i32) -> Result<Reply, String> {
        let mut body = BytesMut::new();
        put_bytes(&mut body, path.as_bytes());
        put_bytes(&mut body, b"");
        // One rule: anybody may do anything.
        body.put_i32(1);
        body.put_i32(31);
        put_bytes(&mut body, b"world");
        put_bytes(&mut body, b"anyone");
        body.put_i32(flags);
        self.call(CREATE, &body).await
    }

    /// Writes a node's data, whatever its version.
    pub async fn set(&mut self, path: &str, data: &[u8]) -> Result<Reply, String> {
        let mut body = BytesMut::new();
        put_bytes(&mut body, path.as_bytes());
        put_bytes(&mut body, data);
        body.put_i32(-1);
        self.call(SET_DATA, &body).await
    }

    /// Whether a node is there, and an event when that changes.
    pub async fn watch(&mut self, path: &str) -> Result<bool, String> {
        let mut body = BytesMut::new();
        put_bytes(&mut body, path.as_bytes());
        body.put_u8(1);
        Ok(self.call(EXISTS, &body).await?.ok(NO_NODE)?.error == 0)
    }

    /// The names below a node.
    pub async fn children(&mut self, path: &str) -> Result<Vec<String>, String> {
        let mut body = BytesMut::new();
        put_bytes(&mut body, path.as_bytes());
        body.put_u8(0);
        let mut reply = self.call(GET_CHILDREN, &body).await?.ok(0)?;
        let count = reply.body.try_get_i32().map_err(|e| e.to_string())?;
        (0..count).map(|_| take_text(&mut reply.body)).collect()
    }

    /// Ends the session; what it had created as ephemeral goes with it.
    pub async fn close(&mut self) -> Result<(), String> {
        self.call(CLOSE, &[]).await.map(drop)
    }

    /// Says that it lives, every third of the timeout, until a watched node changes.
    pub async fn idle(&mut self) -> Result<(), String> {
        while !self.event {
            match tokio::time::timeout(self.timeout / 3, next(&mut self.frames)).await {
                Err(_) => self.ping().await?,
                Ok(frame) => drop(self.reply(frame?)?),
            }
        }
        self.event = false;
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), String> {
        self.send(XID_PING, PING, &[]).await
    }

    async fn send(&mut self, xid: i32, kind: i32, body: &[u8]) -> Result<(), String> {
        let mut frame = BytesMut::with_capacity(8 + body.len());
        frame.put_i32(xid);
        frame.put_i32(kind);
        frame.put_slice(body);
        self.frames.send(frame.freeze()).await.map_err(told)
    }

    async fn call(&mut self, kind: i32, body: &[u8]) -> Result<Reply, String> {
        self.xid += 1;
        let asked = self.xid;
        self.send(asked, kind, body).await?;
        loop {
            let frame = next(&mut self.frames).await?;
            let (xid, reply) = self.reply(frame)?;
            if xid == asked {
                return Ok(reply);
            }
        }
    }

    fn reply(&mut self, mut frame: Bytes) -> Result<(i32, Reply), String> {
        if frame.len() < 16 {
            return Err("a short reply".into());
        }
        let (xid, zxid, error) = (frame.get_i32(), frame.get_u64(), frame.get_i32());
        self.event |= xid == XID_EVENT;
        Ok((
            xid,
            Reply {
                zxid,
                error,
                body: frame,
            },
        ))
    }
}

async fn next(frames: &mut Framed<TcpStream, LengthDelimitedCodec>) -> Result<Bytes, String> {
    match frames.next().await {
        Some(Ok(frame)) => Ok(frame.freeze()),
        Some(Err(problem)) => Err(problem.to_string()),
        None => Err("the server closed the connection".into()),
    }
}

fn told(problem: io::Error) -> String {
    problem.to_string()
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(bytes.len() as i32);
    out.put_slice(bytes);
}

fn take_text(from: &mut Bytes) -> Result<String, String> {
    let length = from.try_get_i32().map_err(|e| e.to_string())?.max(0) as usize;
    if from.len() < length {
        return Err("a short text".into());
    }
    Ok(String::from_utf8_lossy(&from.split_to(length)).into_owned())
}
