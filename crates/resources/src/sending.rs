//! Fields that outgoings of several kinds share.

use crate::{
    field_reader::GivenValue,
    field_rules::{DefaultedField, NumberValue, ValueRule, number},
};

/// `priority`
pub(crate) const PRIORITY: DefaultedField<NumberValue<u8>, u8> = number(5, 0..=9);

/// `delivery_mode`
pub(crate) const DELIVERY_MODE: DefaultedField<DeliveryMode, u8> = DefaultedField(DeliveryMode, 2);

pub(crate) struct DeliveryMode;

impl ValueRule for DeliveryMode {
    type Value = u8;

    fn parse(&self, given: &mut GivenValue<'_, '_>) -> Option<u8> {
        let mode = [1_u8, 2].into_iter().find(|it| *given.value == *it);
        if mode.is_none() {
            given.refuse_unreadable("must be 1 (transient) or 2 (persistent)");
        }
        mode
    }
}
