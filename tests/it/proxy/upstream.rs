//! An HTTP server of a user's, as plain as can be: what a proxy adds or takes away shows.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Starts it; it ends with the test.
pub async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        };
        let head: Vec<u8> = read.drain(..end).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        answer(&mut stream, &head, &mut read).await?;
    }
}

async fn answer(stream: &mut TcpStream, head: &str, read: &mut Vec<u8>) -> std::io::Result<()> {
    let target = head.split(' ').nth(1).unwrap_or_default();
    let header = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
    };
    let whole = |extra: &str, body: &[u8]| {
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\n{extra}content-length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    let bytes = match target.split('?').next().unwrap_or_default() {
        // What was asked, and how.
        "/echo" => {
            if header("transfer-encoding").is_some() {
                count(stream, head, read).await?;
            }
            let length = header("content-length").map_or(0, |it| it.parse().expect("a length"));
            while read.len() < length {
                if stream.read_buf(read).await? == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
            }
            read.drain(..length);
            whole("", head.as_bytes())
        }
        "/count" => whole("", count(stream, head, read).await?.to_string().as_bytes()),
        "/events" => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                        transfer-encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            for n in 0..3 {
                stream
                    .write_all(format!("9\r\ndata: {n}\n\n\r\n").as_bytes())
                    .await?;
                // Longer than any silence that the test allows a whole answer.
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
            b"0\r\n\r\n".to_vec()
        }
        "/large" => whole("", &vec![b'x'; 20 << 20]),
        "/late" => {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            whole("", b"late")
        }
        "/long-head" => whole(&format!("x-long: {}\r\n", "a".repeat(16_000)), b""),
        "/many-heads" => whole(&"x-one: 1\r\n".repeat(300), b""),
        "/range" => {
            assert_eq!(header("range").as_deref(), Some("bytes=2-4"));
            b"HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 2-4/10\r\n\
              etag: \"1\"\r\ncontent-length: 3\r\n\r\n234"
                .to_vec()
        }
        "/unchanged" => {
            assert_eq!(header("if-none-match").as_deref(), Some("\"1\""));
            b"HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n".to_vec()
        }
        "/nothing" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        "/early" => {
            let refusal = "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbig!";
            stream.write_all(refusal.as_bytes()).await?;
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        "/away" => {
            let own = header("host").unwrap_or_default();
            format!(
                "HTTP/1.1 302 Found\r\nlocation: http://{own}/login\r\ncontent-length: 0\r\n\r\n"
            )
            .into_bytes()
        }
        "/socket" => {
            let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                        upgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            let (mut from, mut to) = stream.split();
            tokio::io::copy(&mut from, &mut to).await?;
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        "/trailers" => {
            let trailers = trailers(stream, head, read).await?;
            let size = trailers.len();
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-back\r\n\r\n\
                 {size:x}\r\n{trailers}\r\n0\r\nx-back: 7\r\n\r\n"
            )
            .into_bytes()
        }
        "/needs-upgrade" => b"HTTP/1.1 426 Upgrade Required\r\nconnection: upgrade\r\n\
              upgrade: websocket\r\nsec-websocket-version: 14\r\ncontent-length: 5\r\n\r\nnewer"
            .to_vec(),
        path if path.starts_with("/breaks-") => {
            let announced =
                |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            let begun = match path {
                "/breaks-short" => announced(10) + "half",
                "/breaks-long" => announced(1 << 20) + &"x".repeat(100 << 10),
                "/breaks-chunked" => {
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n".into()
                }
                _ => String::new(),
            };
            stream.write_all(begun.as_bytes()).await?;
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        _ => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
    };
    let bodiless = head.starts_with("HEAD ");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let length = end.filter(|_| bodiless).map_or(bytes.len(), |at| at + 4);
    stream.write_all(&bytes[..length]).await
}

/// Reads a chunked body; how many bytes it has.
async fn count(stream: &mut TcpStream, head: &str, read: &mut Vec<u8>) -> std::io::Result<usize> {
    let bytes = chunks(stream, head, read).await?;
    line(stream, read).await?;
    Ok(bytes)
}

/// Reads a chunked body; the trailers behind it, a line for each.
async fn trailers(
    stream: &mut TcpStream,
    head: &str,
    read: &mut Vec<u8>,
) -> std::io::Result<String> {
    chunks(stream, head, read).await?;
    let mut trailers = String::new();
    loop {
        match line(stream, read).await?.as_str() {
            "" => return Ok(trailers),
            trailer => trailers += &format!("{trailer}\n"),
        }
    }
}

async fn line(stream: &mut TcpStream, read: &mut Vec<u8>) -> std::io::Result<String> {
    loop {
        if let Some(at) = read.windows(2).position(|two| two == b"\r\n") {
            let line: Vec<u8> = read.drain(..at + 2).take(at).collect();
            return Ok(String::from_utf8_lossy(&line).into_owned());
        }
        if stream.read_buf(read).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Reads chunks up to and with the size of the last one.
async fn chunks(stream: &mut TcpStream, head: &str, read: &mut Vec<u8>) -> std::io::Result<usize> {
    assert!(
        head.to_ascii_lowercase()
            .contains("transfer-encoding: chunked")
    );
    let mut bytes = 0;
    loop {
        let size = usize::from_str_radix(&line(stream, read).await?, 16).expect("a size");
        if size == 0 {
            return Ok(bytes);
        }
        while read.len() < size + 2 {
            stream.read_buf(read).await?;
        }
        read.drain(..size + 2);
        bytes += size;
    }
}
