//! Any bytes on the control socket: frames or refused, in either direction, and what is read takes no
//! more memory than a few times what was sent.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use quorate_ipc::frames::FrameReader;
use quorate_proto::connector::{FromProcess, ToProcess};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));

fuzz_target!(|bytes: &[u8]| {
    RUNTIME.block_on(async {
        let mut from = FrameReader::new(bytes);
        while let Ok(Some(_)) = from.next::<FromProcess>().await {}
        let mut to = FrameReader::new(bytes);
        while let Ok(Some(_)) = to.next::<ToProcess>().await {}
    });
});
