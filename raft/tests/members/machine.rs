//! The machine of these tests: what was written, and how often each thing was.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_raft::{CommittedCommand, MachineSnapshot, StateMachine};

/// Key, times applied, last value.
type Map = BTreeMap<u64, (u64, Arc<[u8]>)>;

#[derive(Clone, Default)]
pub struct View(Arc<Mutex<(Map, u64)>>);

impl View {
    /// How often a write of `key` was applied.
    pub fn times(&self, key: u64) -> u64 {
        self.0.lock().0.get(&key).map_or(0, |(times, _)| *times)
    }

    pub fn len(&self) -> usize {
        self.0.lock().0.len()
    }

    pub fn applied(&self) -> u64 {
        self.0.lock().1
    }

    /// Everything, for comparing members.
    pub fn all(&self) -> Vec<(u64, u64, usize)> {
        let view = self.0.lock();
        view.0.iter().map(|(k, (n, v))| (*k, *n, v.len())).collect()
    }
}

/// Writes `value` under `key`.
pub fn write(key: u64, value: &[u8]) -> Bytes {
    [&key.to_le_bytes(), value].concat().into()
}

#[derive(Default)]
pub struct Counting {
    map: Map,
    view: View,
}

impl Counting {
    pub fn new(view: View) -> Self {
        Counting {
            map: Map::new(),
            view,
        }
    }
}

impl StateMachine for Counting {
    fn apply(&mut self, command: CommittedCommand<'_>) -> io::Result<Vec<u8>> {
        let (key, value) = command.bytes.split_at(8);
        let key = u64::from_le_bytes(key.try_into().unwrap());
        let (times, kept) = self.map.entry(key).or_insert_with(|| (0, Arc::from([])));
        *times += 1;
        *kept = value.into();
        // What is applied is shown at once; nothing here depends on it being shown later.
        let shown = (*times, kept.clone());
        self.view.0.lock().0.insert(key, shown);
        Ok(times.to_le_bytes().to_vec())
    }

    fn publish(&mut self, applied: u64) {
        self.view.0.lock().1 = applied;
    }

    fn freeze(&self) -> Box<dyn MachineSnapshot> {
        Box::new(Copy(self.map.clone()))
    }

    fn restore(&mut self, snapshot: &mut dyn Read) -> io::Result<()> {
        let mut word = || {
            let mut bytes = [0; 8];
            snapshot
                .read_exact(&mut bytes)
                .map(|()| u64::from_le_bytes(bytes))
        };
        let mut map = Map::new();
        let count = word()?;
        for _ in 0..count {
            let mut word = || {
                let mut bytes = [0; 8];
                snapshot
                    .read_exact(&mut bytes)
                    .map(|()| u64::from_le_bytes(bytes))
            };
            let (key, times, length) = (word()?, word()?, word()?);
            let mut value = vec![0; length as usize];
            snapshot.read_exact(&mut value)?;
            map.insert(key, (times, value.into()));
        }
        self.view.0.lock().0 = map.clone();
        self.map = map;
        Ok(())
    }
}

struct Copy(Map);

impl MachineSnapshot for Copy {
    fn write_to(self: Box<Self>, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&(self.0.len() as u64).to_le_bytes())?;
        for (key, (times, value)) in &self.0 {
            for word in [*key, *times, value.len() as u64] {
                out.write_all(&word.to_le_bytes())?;
            }
            out.write_all(value)?;
        }
        Ok(())
    }
}
