//! Structures of MQI as a caller has them: of whatever version, and no longer than that.
//!
//! A caller's structure is read into one of the newest version, whose other fields have their
//! defaults, and written back no further than its own version reaches. All of them are plain
//! data in which every value of every byte is allowed.

use std::ptr;

use libmqm_default as default;
use libmqm_sys as mq;

/// A structure with an identifier, a version, and a length for each version.
pub(super) trait Structure: Copy {
    /// The first four bytes.
    const ID: [u8; 4];
    /// The lengths of the versions from 1 on.
    const LENGTHS: &'static [usize];
    /// The reason for one that is none.
    const WRONG: mq::MQLONG;
    /// One that says nothing.
    const DEFAULT: Self;
}

macro_rules! structure {
    ($type:ident, $id:literal, $default:ident, $wrong:ident, [$($length:expr),*]) => {
        impl Structure for mq::$type {
            const ID: [u8; 4] = *$id;
            const LENGTHS: &'static [usize] = &[$($length),*];
            const WRONG: mq::MQLONG = mq::$wrong;
            const DEFAULT: Self = default::$default;
        }
    };
}

structure!(
    MQCNO,
    b"CNO ",
    MQCNO_DEFAULT,
    MQRC_CNO_ERROR,
    [12, 24, 152, 168, 200, 224, 256, 272]
);
structure!(MQCSP, b"CSP ", MQCSP_DEFAULT, MQRC_CSP_ERROR, [56, 80, 104]);
structure!(
    MQOD,
    b"OD  ",
    MQOD_DEFAULT,
    MQRC_OD_ERROR,
    [168, 208, 344, 424]
);
structure!(MQMD2, b"MD  ", MQMD2_DEFAULT, MQRC_MD_ERROR, [324, 364]);
structure!(
    MQGMO,
    b"GMO ",
    MQGMO_DEFAULT,
    MQRC_GMO_ERROR,
    [72, 80, 100, 112]
);
structure!(
    MQPMO,
    b"PMO ",
    MQPMO_DEFAULT,
    MQRC_PMO_ERROR,
    [128, 160, 184]
);

/// A copy of a caller's structure, and where it goes back to.
pub(super) struct Lent<S> {
    /// The copy.
    pub(super) value: S,
    at: *mut S,
    length: usize,
}

impl<S: Structure> Lent<S> {
    /// Reads it, as far as its version goes.
    ///
    /// # Safety
    /// `at` is null, or the structure there is as long as one of the version that it says,
    /// and may be written for as long as this is used.
    pub(super) unsafe fn read(at: *mut S) -> Result<Self, mq::MQLONG> {
        if at.is_null() {
            return Err(S::WRONG);
        }
        // SAFETY: identifier and version are there in every version.
        let (id, version) = unsafe {
            let id = at.cast::<[u8; 4]>().read_unaligned();
            (id, at.cast::<mq::MQLONG>().add(1).read_unaligned())
        };
        let index = usize::try_from(version).unwrap_or(0).wrapping_sub(1);
        let length = S::LENGTHS.get(index).copied();
        let length = length.filter(|_| id == S::ID).ok_or(S::WRONG)?;
        let length = length.min(size_of::<S>());
        let mut value = S::DEFAULT;
        // SAFETY: as far as its version goes, and no further than ours.
        unsafe {
            ptr::copy_nonoverlapping(at.cast::<u8>(), (&raw mut value).cast(), length);
        }
        Ok(Lent { value, at, length })
    }

    /// Writes it back, as far as its version goes.
    pub(super) fn give_back(&self) {
        // SAFETY: as far as was read, by the promise of `read`.
        unsafe {
            let from = (&raw const self.value).cast::<u8>();
            ptr::copy_nonoverlapping(from, self.at.cast(), self.length);
        }
    }

    /// Where a structure is that this one points at: a pointer, or an offset from its start.
    pub(super) fn part<P>(&self, pointer: mq::MQPTR, offset: mq::MQLONG) -> *mut P {
        match usize::try_from(offset) {
            // SAFETY: the caller says that it is there.
            Ok(offset) if pointer.is_null() && offset > 0 => unsafe {
                self.at.cast::<u8>().add(offset).cast()
            },
            _ => pointer.cast(),
        }
    }
}

impl Lent<mq::MQMD2> {
    /// The descriptor's bytes, of version 2.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut value = self.value;
        value.Version = mq::MQMD_VERSION_2;
        let from = (&raw const value).cast::<u8>();
        // SAFETY: it is that long and has no gaps between its fields.
        unsafe { std::slice::from_raw_parts(from, size_of::<mq::MQMD2>()) }.to_vec()
    }

    /// Takes over what the queue manager says of a message, and gives it to the caller.
    pub(super) fn give(&mut self, descriptor: &[u8]) {
        let version = self.value.Version;
        let length = descriptor.len().min(size_of::<mq::MQMD2>());
        // SAFETY: both are that long.
        unsafe {
            let to = (&raw mut self.value).cast::<u8>();
            ptr::copy_nonoverlapping(descriptor.as_ptr(), to, length);
        }
        self.value.Version = version;
        self.give_back();
    }
}

/// A channel definition: it has no identifier, and its version stands behind its name.
///
/// # Safety
/// `at` is null, or the definition there is as long as one of the version that it says.
pub(super) unsafe fn channel(at: *mut mq::MQCD) -> Result<mq::MQCD, mq::MQLONG> {
    const LENGTHS: [usize; 13] = [
        984, 1312, 1480, 1568, 1584, 1688, 1792, 1888, 1912, 1920, 1984, 1992, 2000,
    ];
    if at.is_null() {
        return Err(mq::MQRC_CD_ERROR);
    }
    // SAFETY: name and version are there in every version.
    let version = unsafe { at.cast::<mq::MQLONG>().add(5).read_unaligned() };
    let index = usize::try_from(version).unwrap_or(0).wrapping_sub(1);
    let length = LENGTHS.get(index).ok_or(mq::MQRC_CD_ERROR)?;
    let length = (*length).min(size_of::<mq::MQCD>());
    let mut value = default::MQCD_CLIENT_CONN_DEFAULT;
    // SAFETY: as far as its version goes, and no further than ours.
    unsafe { ptr::copy_nonoverlapping(at.cast::<u8>(), (&raw mut value).cast(), length) };
    Ok(value)
}
