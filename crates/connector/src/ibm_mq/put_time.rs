//! Time at which a message was put: the descriptor's PutDate (YYYYMMDD) and PutTime (HHMMSSTH), in
//! UTC.

use libmqm_sys as mq;

use super::fixed_fields::bytes;

/// Returns the time in milliseconds since 1970; `None` where the fields hold none.
pub(super) fn put_time_ms(descriptor: &mq::MQMD2) -> Option<i64> {
    let (date, time) = (bytes(&descriptor.PutDate), bytes(&descriptor.PutTime));
    let number = |digits: &[u8]| {
        let digits = digits.iter().map(|digit| char::from(*digit).to_digit(10));
        digits.reduce(|whole, digit| Some(whole? * 10 + digit?))?
    };
    let (year, month, day) = (
        i64::from(number(&date[..4])?),
        i64::from(number(&date[4..6])?),
        i64::from(number(&date[6..])?),
    );
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = i64::from(number(&time[..2])?) * 3600
        + i64::from(number(&time[2..4])?) * 60
        + i64::from(number(&time[4..6])?);
    let hundredths = i64::from(number(&time[6..])?);
    Some((days(year, month, day) * 86_400 + seconds) * 1000 + hundredths * 10)
}

/// Returns the days since 1970-01-01. Years are taken to begin in March, so that a leap day is
/// their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use libmqm_default::MQMD2_DEFAULT;

    use super::{super::fixed_fields::padded, *};

    #[test]
    fn put_time_is_read_if_valid() {
        let at = |date: &str, time: &str| {
            put_time_ms(&mq::MQMD2 {
                PutDate: padded(date),
                PutTime: padded(time),
                ..MQMD2_DEFAULT
            })
        };
        assert_eq!(at("19700101", "00000000"), Some(0));
        assert_eq!(at("20000229", "23595999"), Some(951_868_799_990));
        assert_eq!(at("20261124", "10203040"), Some(1_795_515_630_400));
        for (date, time) in [
            ("", ""),
            ("20261324", "10203040"),
            ("2026112x", "10203040"),
            ("20261124", "+1203040x"),
        ] {
            assert_eq!(at(date, time), None, "{date} {time}");
        }
    }
}
