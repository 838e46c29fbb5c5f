//! Frames on the control socket: a length in four bytes, then the message.

use std::io;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

/// Longest frame: the largest message that a broker can be set up to take (512 MiB), and room for
/// its headers and properties.
const FRAME_BYTES_MAX: usize = (512 + 16) << 20;

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .max_frame_length(FRAME_BYTES_MAX)
        .new_codec()
}

/// Reader of frames.
pub struct FrameReader<R>(FramedRead<R, LengthDelimitedCodec>);

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Returns a reader over `inner`.
    pub fn new(inner: R) -> Self {
        FrameReader(FramedRead::new(inner, codec()))
    }

    /// Returns the next frame; `None` at the end of file. Bytes that are no frame are
    /// `InvalidData`; any other error is the end of the writing process, in the middle of a frame
    /// or with frames unread. Cancel safe.
    pub async fn next<M: Message + Default>(&mut self) -> io::Result<Option<M>> {
        match self.0.next().await {
            None => Ok(None),
            Some(frame) => M::decode(frame?.freeze())
                .map(Some)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}

/// Writes what arrives on `frames` until that or the socket is closed.
pub async fn write_frames<M, W>(inner: W, mut frames: mpsc::Receiver<M>) -> io::Result<()>
where
    M: Message,
    W: AsyncWrite + Unpin,
{
    let mut out = FramedWrite::new(inner, codec());
    let encode = |frame: M| Bytes::from(frame.encode_to_vec());
    while let Some(frame) = frames.recv().await {
        out.feed(encode(frame)).await?;
        // One flush for all frames that are already there.
        while let Ok(frame) = frames.try_recv() {
            out.feed(encode(frame)).await?;
        }
        SinkExt::<Bytes>::flush(&mut out).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use quorate_proto::connector::{Activate, FromProcess, ToProcess, to_process::Frame};

    use super::*;

    #[tokio::test]
    async fn frames_survive_the_socket() {
        let (near, far) = tokio::io::duplex(64);
        let (sender, receiver) = mpsc::channel(4);
        let writing = tokio::spawn(write_frames(near, receiver));
        for epoch in 0..20 {
            let frame = Some(Frame::Activate(Activate {
                epoch,
                incarnation: 1,
                ..Activate::default()
            }));
            sender.send(ToProcess { frame }).await.unwrap();
            if epoch == 0 {
                tokio::task::yield_now().await;
            }
            if epoch == 3 {
                break;
            }
        }
        drop(sender);
        let mut reader = FrameReader::new(far);
        for epoch in 0..=3 {
            let frame: ToProcess = reader.next().await.unwrap().unwrap();
            assert_eq!(
                frame.frame,
                Some(Frame::Activate(Activate {
                    epoch,
                    incarnation: 1,
                    ..Activate::default()
                }))
            );
        }
        assert_eq!(reader.next::<ToProcess>().await.unwrap(), None);
        writing.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_length_beyond_the_longest_is_an_error() {
        let mut reader = FrameReader::new(&b"\xff\xff\xff\xff rest"[..]);
        let error = reader.next::<ToProcess>().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let mut reader = FrameReader::new(&b"\0\0\0\x02\xff\xff"[..]);
        let error = reader.next::<ToProcess>().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn end_within_a_frame_is_no_bad_frame() {
        let mut reader = FrameReader::new(&b"\0\0\0\x02\xff"[..]);
        let error = reader.next::<ToProcess>().await.unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::InvalidData);
    }

    proptest! {
        /// Test 65: whatever a process sends, its member reads frames or learns that they are none,
        /// and takes no more memory than was sent.
        #[test]
        fn any_bytes_are_frames_or_refused(bytes in vec(any::<u8>(), 0..200), length in any::<u8>()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            // Mostly a length that fits.
            let framed = [&[0, 0, 0, length][..], &bytes].concat();
            for bytes in [&bytes[..], &framed] {
                let mut reader = FrameReader::new(bytes);
                runtime.block_on(async {
                    while let Ok(Some(frame)) = reader.next::<FromProcess>().await {
                        assert!(frame.encoded_len() <= 4 * bytes.len());
                    }
                });
            }
        }
    }
}
