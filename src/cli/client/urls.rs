//! The list of admin URLs.

use url::Url;

use crate::cli::{argument_error::CliArgumentError, error::CliError};

/// The quickstart's three members.
pub const DEFAULT: &str = "http://127.0.0.1:17110,http://127.0.0.1:17111,http://127.0.0.1:17112";

/// One URL or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminUrls(pub Vec<Url>);

/// Parses `URL[,URL...]`; `host:port` alone means `http://host:port`.
pub fn parse(text: &str) -> Result<AdminUrls, CliArgumentError> {
    let urls = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(one)
        .collect::<Result<Vec<_>, _>>()?;
    if urls.is_empty() {
        return Err(CliArgumentError::NoUrl);
    }
    Ok(AdminUrls(urls))
}

/// Refuses URLs with a user or a password: they would stand in the history of a shell and in every
/// message about the URL, and members ask for none by this way. Not by [`parse`], whose errors show
/// what was given.
pub fn check_userinfo(urls: &[Url]) -> Result<(), CliError> {
    let has = |url: &&Url| !url.username().is_empty() || url.password().is_some();
    match urls.iter().find(has) {
        None => Ok(()),
        Some(url) => Err(CliError::Usage(format!(
            "the admin URL of {} has a user or a password in it, which no member asks for: leave out what stands before the @",
            url.host_str().unwrap_or_default()
        ))),
    }
}

fn one(text: &str) -> Result<Url, CliArgumentError> {
    let given = || text.to_owned();
    let whole = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let url = Url::parse(&whole).map_err(|cause| CliArgumentError::NotAUrl {
        text: given(),
        cause,
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(CliArgumentError::Scheme { text: given() });
    }
    if url.path() != "/" || url.query().is_some() || !url.has_host() {
        return Err(CliArgumentError::MoreThanHostAndPort { text: given() });
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_bare_addresses_are_taken() {
        let urls = parse("http://a:1, 127.0.0.1:2,").unwrap();
        let shown: Vec<_> = urls.0.iter().map(Url::as_str).collect();
        assert_eq!(shown, ["http://a:1/", "http://127.0.0.1:2/"]);
        assert!(parse("https://a:1").is_ok());
        assert_eq!(parse(DEFAULT).unwrap().0.len(), 3);
    }

    #[test]
    fn userinfo_is_refused_and_not_shown() {
        for bad in [
            "http://ann:hunter2@a:1",
            "http://b:1,hunter2@a:1",
            "http://:hunter2@a:1",
        ] {
            let told = check_userinfo(&parse(bad).unwrap().0)
                .unwrap_err()
                .to_string();
            assert!(told.contains("before the @"), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
        assert!(check_userinfo(&parse(DEFAULT).unwrap().0).is_ok());
    }

    #[test]
    fn non_admin_url_is_refused() {
        for bad in [
            "",
            ",",
            "wss://a:1",
            "http://a:1/v1",
            "http://a:1?x=1",
            "http://",
            "ftp://a",
            "a b",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
