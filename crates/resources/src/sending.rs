//! Fields that outgoings of several kinds share.

use crate::field_rules::{Number, OneOfNumbers, number};

/// `delivery_mode`
pub(crate) const DELIVERY_MODE: OneOfNumbers = OneOfNumbers(&[(1, "transient"), (2, "persistent")]);

/// `priority`
pub(crate) const PRIORITY: Number<u8> = number(5, 0..=9);
