//! A range of IP addresses: `10.0.0.0/8`, or one address.

use std::{fmt, net::IpAddr, str::FromStr};

/// Error of a text that is no address or network.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no address or network such as 10.0.0.5, 10.0.0.0/8 or fd00::/8")]
pub struct InvalidIpNetwork(String);

/// Range of the addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNetwork {
    address: IpAddr,
    prefix: u32,
}

impl IpNetwork {
    /// Returns `true` if the address lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => same(
                mine.to_bits().into(),
                other.to_bits().into(),
                32,
                self.prefix,
            ),
            (IpAddr::V6(mine), IpAddr::V6(other)) => {
                same(mine.to_bits(), other.to_bits(), 128, self.prefix)
            }
            _ => false,
        }
    }
}

fn same(a: u128, b: u128, bits: u32, prefix: u32) -> bool {
    (a ^ b).checked_shr(bits - prefix).unwrap_or(0) == 0
}

impl FromStr for IpNetwork {
    type Err = InvalidIpNetwork;

    fn from_str(text: &str) -> Result<IpNetwork, InvalidIpNetwork> {
        let wrong = || InvalidIpNetwork(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|prefix| *prefix <= bits)
                .ok_or_else(wrong)?,
        };
        Ok(IpNetwork { address, prefix })
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lie_in_their_networks() {
        for (network, address, lies_in) in [
            ("10.0.0.0/8", "10.200.3.4", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.5", "10.0.0.5", true),
            ("10.0.0.5", "10.0.0.6", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("fd00::/8", "fd12::1", true),
            ("::/0", "fe80::1", true),
            ("::1", "::1", true),
        ] {
            let parsed: IpNetwork = network.parse().unwrap();
            assert_eq!(
                parsed.contains(address.parse().unwrap()),
                lies_in,
                "{network} {address}"
            );
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "host",
            "10.0.0.0/x",
            "::/129",
            "10.0.0.0/",
        ] {
            let error = bad.parse::<IpNetwork>().unwrap_err().to_string();
            assert!(error.contains("10.0.0.0/8"), "{error}");
        }
    }
}
