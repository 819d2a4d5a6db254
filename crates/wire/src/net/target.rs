//! The address of a higher system.

use hyper::Uri;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use rustls::pki_types::ServerName;

use super::LinkError;

/// Port of an `https` URL that names none.
const DEFAULT_PORT: u16 = 443;

/// A checked `https://host[:port]`.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// As given, for messages.
    pub url: String,
    /// A name or an IP address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The host as TLS announces it. It is not what is checked.
    pub server_name: ServerName<'static>,
    authority: Authority,
}

/// Whether a text can be the address of a higher system.
pub fn is_address(url: &str) -> bool {
    Target::parse(url).is_ok()
}

impl Target {
    pub fn parse(url: &str) -> Result<Self, LinkError> {
        let bad = |why: &str| LinkError::Address { url: crate::pki::shortened(url), why: why.into() };
        let uri: Uri = url.parse().map_err(|_| bad("it is not a URL"))?;
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Err(bad("it must begin with https://"));
        }
        if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
            return Err(bad("nothing may follow host and port"));
        }
        let authority = uri.authority().ok_or_else(|| bad("the host is missing"))?.clone();
        if authority.as_str().contains('@') {
            return Err(bad("it must not name a user"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let server_name =
            ServerName::try_from(host.clone()).map_err(|_| bad("the host is not a name or address"))?;
        // Not `port()`, which answers none both for no port and for one that is no port number.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => DEFAULT_PORT,
            Some(rest) => rest
                .strip_prefix(':')
                .and_then(|digits| digits.parse().ok())
                .ok_or_else(|| bad("the port is not a number up to 65535"))?,
            None => return Err(bad("the host is not a name or address")),
        };
        Ok(Self { url: url.to_owned(), host, port, server_name, authority })
    }

    /// `host:port` as in a `Host` header.
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// The full URI of a path here, as HTTP/2 wants it.
    pub fn uri(&self, path: &str) -> Result<Uri, LinkError> {
        let bad = |_| LinkError::Address { url: self.url.clone(), why: format!("bad path {path:?}") };
        let path: PathAndQuery = path.parse().map_err(|e: hyper::http::uri::InvalidUri| bad(e.into()))?;
        Uri::builder()
            .scheme(Scheme::HTTPS)
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(bad)
    }

    pub fn unreachable(&self, why: impl Into<String>) -> LinkError {
        LinkError::Unreachable { url: self.url.clone(), why: why.into() }
    }

    pub fn protocol(&self, why: impl Into<String>) -> LinkError {
        LinkError::Protocol { url: self.url.clone(), why: why.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, want) in [
            ("https://localhost:8440", Some(("localhost", 8440))),
            ("https://localhost:8440/", Some(("localhost", 8440))),
            ("https://10.0.0.1", Some(("10.0.0.1", 443))),
            ("https://[::1]:8441", Some(("::1", 8441))),
            ("http://localhost:8440", None),
            ("localhost:8440", None),
            ("https://localhost:99999", None),
            ("https://localhost:", None),
            ("https://localhost/api", None),
            ("https://localhost/?x=1", None),
            ("https://me@localhost/", None),
            ("https:///", None),
            ("", None),
        ] {
            let got = Target::parse(url).ok();
            assert_eq!(got.as_ref().map(|t| (t.host.as_str(), t.port)), want, "{url}");
        }
    }
}
