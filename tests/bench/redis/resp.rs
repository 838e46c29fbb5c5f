//! As much of Redis' protocol as is needed: a command is a list of texts, a reply is text.

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// A connection.
pub struct Redis {
    stream: BufReader<TcpStream>,
}

impl Redis {
    /// Connects.
    pub async fn connect(address: &str) -> Result<Redis, String> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|e| format!("{address}: {e}"))?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        Ok(Redis {
            stream: BufReader::new(stream),
        })
    }

    /// One command; `None` for Redis' nil. Lists are not understood.
    pub async fn call(&mut self, words: &[&str]) -> Result<Option<String>, String> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command += &format!("${}\r\n{word}\r\n", word.len());
        }
        let told = |e: std::io::Error| e.to_string();
        self.stream
            .write_all(command.as_bytes())
            .await
            .map_err(told)?;
        let mut line = String::new();
        if self.stream.read_line(&mut line).await.map_err(told)? == 0 {
            return Err("the server closed the connection".into());
        }
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).ok_or("an empty reply")?;
        match kind {
            "+" | ":" => Ok(Some(rest.to_owned())),
            "$" if rest == "-1" => Ok(None),
            "$" => {
                let length: usize = rest.parse().map_err(|_| format!("the reply {line:?}"))?;
                let mut text = vec![0; length + 2];
                self.stream.read_exact(&mut text).await.map_err(told)?;
                text.truncate(length);
                Ok(Some(String::from_utf8_lossy(&text).into_owned()))
            }
            _ => Err(line.to_owned()),
        }
    }
}
