//! Broker URIs: `scheme://host:port/path` (contract section 3).

use core::fmt;

/// What a scheme stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme {
    /// Name in lower case, without `://`.
    pub name: &'static str,
    /// TLS under MQTT (or under WebSocket).
    pub tls: bool,
    /// WebSocket under MQTT.
    pub websocket: bool,
    /// Port of a URI that names none.
    pub default_port: u16,
}

const fn scheme(name: &'static str, tls: bool, websocket: bool, default_port: u16) -> Scheme {
    Scheme { name, tls, websocket, default_port }
}

/// The schemes. The first is also that of a URI without one.
static SCHEMES: [Scheme; 6] = [
    scheme("mqtt", false, false, 1883),
    scheme("tcp", false, false, 1883),
    scheme("mqtts", true, false, 8883),
    scheme("ssl", true, false, 8883),
    scheme("ws", false, true, 80),
    scheme("wss", true, true, 443),
];

/// Why a URI names no broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriError {
    /// A scheme that is not in the table.
    UnknownScheme,
    /// No host, or an IPv6 address without its closing bracket.
    BadHost,
    /// Not a port number from 1 to 65535.
    BadPort,
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UriError::UnknownScheme => "unknown scheme",
            UriError::BadHost => "no host name in the URI",
            UriError::BadPort => "bad port number in the URI",
        })
    }
}

/// A broker's address, borrowed from the URI's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// What to speak.
    pub scheme: &'static Scheme,
    /// Host name or IP address, IPv6 without its brackets.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
    /// Path and query, `/mqtt` where the URI has none; for WebSocket.
    pub path: &'a str,
}

impl<'a> Uri<'a> {
    /// Splits a URI. Without a scheme it is plain TCP.
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        // A search for one byte at a time: the general string search would cost 2 KB of flash.
        let colon = position(text, |c| c == b':');
        let (scheme, rest) = match text[colon..].strip_prefix("://") {
            Some(rest) => {
                let known = SCHEMES.iter().find(|s| s.name.eq_ignore_ascii_case(&text[..colon]));
                (known.ok_or(UriError::UnknownScheme)?, rest)
            }
            None => (&SCHEMES[0], text),
        };
        let (authority, path) = rest.split_at(position(rest, |c| matches!(c, b'/' | b'?' | b'#')));
        let (host, port) = split_authority(authority)?;
        if host.is_empty() {
            return Err(UriError::BadHost);
        }
        let port = match port {
            None => scheme.default_port,
            Some(digits) if digits.bytes().all(|d| d.is_ascii_digit()) => match digits.parse() {
                Ok(port) if port != 0 => port,
                _ => return Err(UriError::BadPort),
            },
            Some(_) => return Err(UriError::BadPort),
        };
        let path = &path[..position(path, |c| c == b'#')];
        Ok(Self { scheme, host, port, path: if path.is_empty() { "/mqtt" } else { path } })
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_authority(authority: &str) -> Result<(&str, Option<&str>), UriError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_at(position(rest, |c| c == b']'));
        return match rest.strip_prefix("]:") {
            Some(port) => Ok((host, Some(port))),
            None if rest == "]" => Ok((host, None)),
            None => Err(UriError::BadHost),
        };
    }
    let (host, port) = authority.split_at(position(authority, |c| c == b':'));
    Ok((host, port.strip_prefix(':')))
}

/// Where the first ASCII character of this kind stands; the end where there is none.
fn position(text: &str, kind: impl Fn(u8) -> bool) -> usize {
    text.bytes().position(kind).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split() {
        for (text, name, host, port, path) in [
            ("mqtt://broker", "mqtt", "broker", 1883, "/mqtt"),
            ("tcp://10.0.0.2:1884", "tcp", "10.0.0.2", 1884, "/mqtt"),
            ("mqtt.eclipseprojects.io", "mqtt", "mqtt.eclipseprojects.io", 1883, "/mqtt"),
            ("10.0.0.2:1883", "mqtt", "10.0.0.2", 1883, "/mqtt"),
            ("MQTTS://b", "mqtts", "b", 8883, "/mqtt"),
            ("ssl://b", "ssl", "b", 8883, "/mqtt"),
            ("ws://b", "ws", "b", 80, "/mqtt"),
            ("wss://b:8084/ws/mqtt?a=b#c", "wss", "b", 8084, "/ws/mqtt?a=b"),
            ("mqtt://[::1]:1885", "mqtt", "::1", 1885, "/mqtt"),
            ("[fe80::1]", "mqtt", "fe80::1", 1883, "/mqtt"),
            ("mqtt://b/", "mqtt", "b", 1883, "/"),
        ] {
            let uri = Uri::parse(text).unwrap();
            assert_eq!((uri.scheme.name, uri.host, uri.port, uri.path), (name, host, port, path), "{text}");
        }
    }

    #[test]
    fn errors() {
        for (text, error) in [
            ("foo://b", UriError::UnknownScheme),
            ("://b", UriError::UnknownScheme),
            ("", UriError::BadHost),
            ("mqtt://", UriError::BadHost),
            ("mqtt://:1883", UriError::BadHost),
            ("mqtt://[::1", UriError::BadHost),
            ("mqtt://[::1]x", UriError::BadHost),
            ("mqtt://b:", UriError::BadPort),
            ("mqtt://a:1:2", UriError::BadPort),
            ("mqtt://::1", UriError::BadHost),
            ("mqtt://b:0", UriError::BadPort),
            ("mqtt://b:99999", UriError::BadPort),
            ("mqtt://b:+1", UriError::BadPort),
        ] {
            assert_eq!(Uri::parse(text), Err(error), "{text}");
        }
    }
}
