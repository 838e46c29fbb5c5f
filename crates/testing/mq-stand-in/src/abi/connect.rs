//! Connecting: MQCONN, MQCONNX and MQDISC.

use std::env;

use libmqm_sys as mq;

use super::{
    handles::{ask_plain, drop_handle, keep, tell},
    memory::{bytes, text},
    probe,
    structure::{Lent, channel},
};
use crate::{
    client::Client,
    wire::{Answer, Request},
};

/// The port of an address that names none.
const PORT: u16 = 1414;
/// Only one of each line goes.
const EXCLUSIVE: [mq::MQLONG; 4] = [
    mq::MQCNO_HANDLE_SHARE_NONE | mq::MQCNO_HANDLE_SHARE_BLOCK | mq::MQCNO_HANDLE_SHARE_NO_BLOCK,
    mq::MQCNO_RECONNECT | mq::MQCNO_RECONNECT_DISABLED | mq::MQCNO_RECONNECT_Q_MGR,
    mq::MQCNO_LOCAL_BINDING | mq::MQCNO_CLIENT_BINDING,
    mq::MQCNO_NO_CONV_SHARING | mq::MQCNO_ALL_CONVS_SHARE,
];

/// What a caller says of where to connect.
#[derive(Default)]
struct Wanted {
    channel: String,
    address: String,
    cipher: String,
    user: Option<String>,
    password: String,
    name: String,
    options: mq::MQLONG,
    version: mq::MQLONG,
}

/// The name of a program that says none: its file's.
fn program() -> String {
    let path = env::current_exe().unwrap_or_default();
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The channel and address of `MQSERVER`: `CHANNEL/TCP/host(port)`.
fn environment() -> Result<Wanted, mq::MQLONG> {
    let server = env::var("MQSERVER").unwrap_or_default();
    let mut parts = server.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(channel), Some("TCP"), Some(address)) => Ok(Wanted {
            channel: channel.to_owned(),
            address: address.to_owned(),
            name: program(),
            ..Wanted::default()
        }),
        // As IBM's client without a definition of any channel.
        _ => Err(mq::MQRC_Q_MGR_NAME_ERROR),
    }
}

/// The addresses of a list of `HOST(PORT)` or `HOST`.
fn addresses(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(|address| {
        let address = address.trim();
        match address.strip_suffix(')').and_then(|it| it.split_once('(')) {
            Some((host, port)) => format!("{host}:{port}"),
            None => format!("{address}:{PORT}"),
        }
    })
}

/// Connects, and gives the connection its handle if it is let in.
fn connect(
    name: &mq::MQCHAR48,
    wanted: Wanted,
    hconn: &mut mq::MQHCONN,
) -> Result<Answer, mq::MQLONG> {
    if wanted.user.as_deref() == Some(probe::USER) && !probe::is_confined(&wanted.password) {
        return Err(mq::MQRC_NOT_AUTHORIZED);
    }
    let options = wanted.options;
    let client = addresses(&wanted.address).find_map(|it| Client::connect(&it).ok());
    let mut client = client.ok_or(mq::MQRC_HOST_NOT_AVAILABLE)?;
    let request = Request::Connect {
        queue_manager: text(name),
        channel: wanted.channel,
        user: wanted.user,
        password: wanted.password,
        cipher: wanted.cipher,
        name: wanted.name,
        options,
        version: wanted.version,
    };
    let asked = client.ask(&request, &[]);
    let (told, _) = asked.map_err(|_| mq::MQRC_CONNECTION_BROKEN)?;
    if told.completion == mq::MQCC_OK {
        *hconn = keep(client, options);
    }
    Ok(told)
}

/// MQCONN, to the channel that `MQSERVER` names.
#[unsafe(no_mangle)]
pub extern "C" fn MQCONN(
    name: &mq::MQCHAR48,
    hconn: &mut mq::MQHCONN,
    completion: &mut mq::MQLONG,
    reason: &mut mq::MQLONG,
) {
    *hconn = mq::MQHC_UNUSABLE_HCONN;
    let told = environment().and_then(|wanted| connect(name, wanted, hconn));
    tell((completion, reason), told);
}

/// What the options and what they point at say.
///
/// # Safety
/// The options point at structures of the versions that they say.
unsafe fn wanted(options: &Lent<mq::MQCNO>) -> Result<Wanted, mq::MQLONG> {
    let said = &options.value;
    let many = |all: &mq::MQLONG| (said.Options & all).count_ones() > 1;
    if EXCLUSIVE.iter().any(many) {
        return Err(mq::MQRC_OPTIONS_ERROR);
    }
    let definition: *mut mq::MQCD = options.part(said.ClientConnPtr, said.ClientConnOffset);
    let mut wanted = if definition.is_null() {
        environment()?
    } else {
        // SAFETY: as the caller says.
        let definition = unsafe { channel(definition) }?;
        Wanted {
            channel: text(&definition.ChannelName),
            address: text(&definition.ConnectionName),
            cipher: text(&definition.SSLCipherSpec),
            ..Wanted::default()
        }
    };
    let tls: *mut mq::MQSCO = options.part(said.SSLConfigPtr.cast(), said.SSLConfigOffset);
    if !wanted.cipher.is_empty() && tls.is_null() && env::var_os("MQSSLKEYR").is_none() {
        return Err(mq::MQRC_KEY_REPOSITORY_ERROR);
    }
    let credentials: *mut mq::MQCSP =
        options.part(said.SecurityParmsPtr.cast(), said.SecurityParmsOffset);
    if !credentials.is_null() {
        // SAFETY: as the caller says, and in them texts as long as they say.
        unsafe {
            let credentials = Lent::read(credentials)?;
            let text = |pointer: mq::MQPTR, offset, length| {
                let from: *mut u8 = credentials.part(pointer, offset);
                String::from_utf8_lossy(bytes(from.cast(), length)).into_owned()
            };
            let it = &credentials.value;
            if it.AuthenticationType == mq::MQCSP_AUTH_USER_ID_AND_PWD {
                wanted.user = Some(text(
                    it.CSPUserIdPtr,
                    it.CSPUserIdOffset,
                    it.CSPUserIdLength,
                ));
                wanted.password = text(
                    it.CSPPasswordPtr,
                    it.CSPPasswordOffset,
                    it.CSPPasswordLength,
                );
            }
        }
    }
    wanted.name = text(&said.ApplName);
    if wanted.name.is_empty() {
        wanted.name = program();
    }
    wanted.options = said.Options;
    wanted.version = said.Version;
    Ok(wanted)
}

/// MQCONNX.
///
/// # Safety
/// The options, and what they point at, are as long as structures of the versions that they
/// say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn MQCONNX(
    name: &mq::MQCHAR48,
    options: *mut mq::MQCNO,
    hconn: &mut mq::MQHCONN,
    completion: &mut mq::MQLONG,
    reason: &mut mq::MQLONG,
) {
    *hconn = mq::MQHC_UNUSABLE_HCONN;
    // SAFETY: as the caller says.
    let told = unsafe { connect_with(name, options, hconn) };
    tell((completion, reason), told);
}

/// Connects as the options say.
///
/// # Safety
/// As for MQCONNX.
unsafe fn connect_with(
    name: &mq::MQCHAR48,
    options: *mut mq::MQCNO,
    hconn: &mut mq::MQHCONN,
) -> Result<Answer, mq::MQLONG> {
    // SAFETY: as the caller says.
    let mut options = unsafe { Lent::read(options) }?;
    // SAFETY: as the caller says.
    let wanted = unsafe { wanted(&options) }?;
    let told = connect(name, wanted, hconn)?;
    if *hconn != mq::MQHC_UNUSABLE_HCONN {
        let id = &mut options.value.ConnectionId;
        id[..8].copy_from_slice(b"STANDIN ");
        id[16..].copy_from_slice(&told.number.to_be_bytes());
        options.give_back();
    }
    Ok(told)
}

/// MQDISC.
#[unsafe(no_mangle)]
pub extern "C" fn MQDISC(
    hconn: &mut mq::MQHCONN,
    completion: &mut mq::MQLONG,
    reason: &mut mq::MQLONG,
) {
    let told = ask_plain(*hconn, &Request::Disconnect);
    if told != Err(mq::MQRC_HCONN_ERROR) {
        drop_handle(*hconn);
    }
    *hconn = mq::MQHC_UNUSABLE_HCONN;
    tell((completion, reason), told);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_list_with_ports_or_without() {
        let read = |list| addresses(list).collect::<Vec<_>>();
        assert_eq!(read("a.b(1415)"), ["a.b:1415"]);
        assert_eq!(read("a, b(2)"), ["a:1414", "b:2"]);
    }
}
