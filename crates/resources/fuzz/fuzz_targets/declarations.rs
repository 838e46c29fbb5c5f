//! Any bytes as what is declared: JSON of a kind that the first byte chooses, and a path of a channel.
//! Each is taken or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_resources::{Kind, PathTemplate, Resource};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, text)) = bytes.split_first() else {
        return;
    };
    let kind = Kind::ALL[usize::from(*first) % Kind::ALL.len()];
    if let Ok(spec) = serde_json::from_slice::<Value>(text) {
        if Resource::parse(kind, &spec).is_ok() {
            assert!(
                Resource::read(kind, &spec).is_ok(),
                "what is taken is read again"
            );
        }
    }
    if let Ok(path) = std::str::from_utf8(text) {
        let template = PathTemplate::new(path);
        let _ = (template.shape(), template.overlapping_shapes());
        let _ = template.overlaps(&template);
    }
});
