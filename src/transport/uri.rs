//! Broker URIs: `scheme://host:port/path` (contract section 3).

use crate::log::Say;

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
#[repr(u32)] // whole words are moved in less flash than bytes beside others
pub enum UriError {
    /// A scheme that is not in the table.
    UnknownScheme,
    /// No host, a character that no host name has, or an IPv6 address without its brackets.
    BadHost,
    /// Not a port number from 1 to 65535.
    BadPort,
    /// A character that must be percent-encoded: for WebSocket a blank, a control character or one outside ASCII in path or
    /// query; elsewhere a `/`, `?` or `#` in the user name or password, so that the `@` seems to stand behind the host.
    NotEncoded,
}

/// Said by init with the code of `BAD_PROTOCOL`, which it cannot return.
pub const UNKNOWN_SCHEME: &str = "unknown scheme in the URI (error -5014)";

impl Say for UriError {
    fn say(&self, out: &mut dyn FnMut(&str)) {
        out(match self {
            UriError::UnknownScheme => UNKNOWN_SCHEME,
            UriError::BadHost => "no host name or IP address in the URI",
            UriError::BadPort => "bad port number in the URI",
            UriError::NotEncoded => "a character in the URI that must be percent-encoded",
        })
    }
}

/// User name and password of a URI, still percent-encoded: see [`decode`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UserInfo<'a> {
    /// User name, may be empty.
    pub username: &'a str,
    /// Password, if there is a colon.
    pub password: Option<&'a str>,
}

/// A broker's address, borrowed from the URI's text. No `Debug`: there may be a password in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a> {
    /// What to speak.
    pub scheme: &'static Scheme,
    /// What stands before an `@`.
    pub user_info: Option<UserInfo<'a>>,
    /// Host name or IP address, IPv6 without its brackets.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
    /// Path and query, `/mqtt` where the URI has neither; for WebSocket.
    pub path: &'a str,
}

impl<'a> Uri<'a> {
    /// Splits a URI (RFC 3986). Without a scheme it is plain TCP.
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        let (name, rest) = split(text, b":");
        let (scheme, rest) = match rest.strip_prefix("://") {
            Some(rest) => {
                let known = SCHEMES.iter().find(|s| s.name.eq_ignore_ascii_case(name));
                (known.ok_or(UriError::UnknownScheme)?, rest)
            }
            None => (&SCHEMES[0], text),
        };
        let (authority, path) = split(rest, b"/?#");
        // What stands before the path is no host then, but part of a secret, maybe.
        if !scheme.websocket && path.bytes().any(|c| c == b'@') {
            return Err(UriError::NotEncoded);
        }
        let (user_info, place) = split_user_info(authority);
        let (host, port) = split_host(place)?;
        let port = if port.is_empty() { scheme.default_port } else { number(port)? };
        let (path, _) = split(path, b"#");
        if scheme.websocket && !path.bytes().all(|c| c.is_ascii_graphic()) {
            return Err(UriError::NotEncoded);
        }
        Ok(Self { scheme, user_info, host, port, path: if path.is_empty() { "/mqtt" } else { path } })
    }
}

/// A port number.
fn number(digits: &str) -> Result<u16, UriError> {
    let mut number = 0u16;
    for digit in digits.bytes() {
        let digit = digit.wrapping_sub(b'0');
        let longer = number.checked_mul(10).and_then(|number| number.checked_add(digit.into()));
        number = longer.filter(|_| digit < 10).ok_or(UriError::BadPort)?;
    }
    if number == 0 { Err(UriError::BadPort) } else { Ok(number) }
}

/// The bytes of a percent-encoded text. A `%` that begins no encoding stands for itself.
pub fn decode(text: &str) -> impl Iterator<Item = u8> + '_ {
    percent_encoding::percent_decode_str(text)
}

/// `user:password` before the last `@`, and what stands behind it.
fn split_user_info(authority: &str) -> (Option<UserInfo<'_>>, &str) {
    let Some(at) = authority.bytes().rposition(|c| c == b'@') else { return (None, authority) };
    let (username, password) = split(&authority[..at], b":");
    let user_info = UserInfo { username, password: password.strip_prefix(':') };
    ((at > 0).then_some(user_info), &authority[at + 1..])
}

/// Whether this has the form of an IPv6 address: eight groups, of which an IPv4 address stands for two, or `::` for some of them,
/// once. How long each group is the name lookup finds out: the standard library's parser would cost 600 bytes of flash.
fn is_v6(host: &str) -> bool {
    let (mut colons, mut gaps, mut last) = (0, 0, 0);
    for c in host.bytes() {
        if c == b':' {
            colons += 1;
            gaps += u32::from(last == c);
        } else if !c.is_ascii_hexdigit() && c != b'.' {
            return false;
        }
        last = c;
    }
    gaps == 1 || (gaps == 0 && colons | 1 == 7)
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`; the port is empty where there is none.
fn split_host(place: &str) -> Result<(&str, &str), UriError> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = split(rest, b"]");
            if !is_v6(host) {
                return Err(UriError::BadHost);
            }
            (host, rest.strip_prefix(']').ok_or(UriError::BadHost)?)
        }
        None => {
            let (host, port) = split(place, b":");
            // Names outside ASCII have to be written in Punycode.
            if !host.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'~')) {
                return Err(UriError::BadHost);
            }
            (host, port)
        }
    };
    match port.strip_prefix(':') {
        _ if host.is_empty() => Err(UriError::BadHost),
        Some(digits) => Ok((host, digits)),
        None if port.is_empty() => Ok((host, "")),
        None => Err(UriError::BadHost),
    }
}

/// What stands before the first of these ASCII characters, and the rest with it. A search for one byte at a time: the general
/// string search would cost 2 KB of flash.
fn split<'a>(text: &'a str, any: &[u8]) -> (&'a str, &'a str) {
    text.split_at(text.bytes().position(|c| any.contains(&c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// Panics without printing the URI.
    fn parse(text: &str) -> Uri<'_> {
        Uri::parse(text).unwrap_or_else(|error| panic!("{error:?}"))
    }

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
            ("ws://b?a=/b", "ws", "b", 80, "?a=/b"),
            ("mqtt://[::1]:1885", "mqtt", "::1", 1885, "/mqtt"),
            ("[fe80::1]", "mqtt", "fe80::1", 1883, "/mqtt"),
            ("[::]", "mqtt", "::", 1883, "/mqtt"),
            ("[1:2:3:4:5:6:7:8]", "mqtt", "1:2:3:4:5:6:7:8", 1883, "/mqtt"),
            ("[::1:2:3:4:5:6:7]", "mqtt", "::1:2:3:4:5:6:7", 1883, "/mqtt"),
            ("[1:2:3:4:5:6:7::]", "mqtt", "1:2:3:4:5:6:7::", 1883, "/mqtt"),
            ("ssl://[::ffff:10.0.0.2]:1", "ssl", "::ffff:10.0.0.2", 1, "/mqtt"),
            ("[1:2:3:4:5:6:10.0.0.2]", "mqtt", "1:2:3:4:5:6:10.0.0.2", 1883, "/mqtt"),
            ("mqtt://b/", "mqtt", "b", 1883, "/"),
            ("mqtt://b:", "mqtt", "b", 1883, "/mqtt"),
        ] {
            let uri = parse(text);
            assert_eq!((uri.scheme.name, uri.host, uri.port, uri.path), (name, host, port, path), "{text}");
        }
    }

    #[test]
    fn user_info() {
        for (text, username, password) in [
            ("mqtt://u@b", Some("u"), None),
            ("u:p@b:1883", Some("u"), Some("p")),
            ("mqtt://u:@[::1]", Some("u"), Some("")),
            ("mqtt://:p@b", Some(""), Some("p")),
            ("mqtt://a%40b:c%3ad%2F@b", Some("a@b"), Some("c:d/")),
            ("mqtt://a@c:1@2@b", Some("a@c"), Some("1@2")),
            ("mqtt://100%:p%zz@b", Some("100%"), Some("p%zz")),
            ("mqtt://@b", None, None),
            ("ws://b/u:p@c", None, None),
            ("wss://u:p@b?u:p@c#@", Some("u"), Some("p")),
        ] {
            let uri = parse(text);
            let bytes = |text: &str| decode(text).collect::<Vec<u8>>();
            assert_eq!(uri.user_info.map(|u| bytes(u.username)), username.map(|u| u.as_bytes().to_vec()), "{text}");
            let found = uri.user_info.and_then(|u| u.password).map(bytes);
            assert_eq!(found, password.map(|p| p.as_bytes().to_vec()), "{text}");
            assert!(uri.host == "b" || uri.host == "::1");
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
            ("mqtt://u@", UriError::BadHost),
            ("mqtt://[::1", UriError::BadHost),
            ("mqtt://[::1]x", UriError::BadHost),
            ("mqtt://[]", UriError::BadHost),
            ("mqtt://[12]", UriError::BadHost),
            ("[cafe]:1883", UriError::BadHost),
            ("ws://[127.0.0.1]", UriError::BadHost),
            ("mqtt://[1:2]", UriError::BadHost),
            ("mqtt://[1:2:3:4:5:6]", UriError::BadHost),
            ("mqtt://[1:2:3:4:5:6:7:8:9]", UriError::BadHost),
            ("mqtt://[1::2::3]", UriError::BadHost),
            ("mqtt://[:::]", UriError::BadHost),
            ("mqtt://[::g]", UriError::BadHost),
            ("mqtt://[fe80::1%eth0]", UriError::BadHost),
            ("mqtt://a b", UriError::BadHost),
            ("mqtt://a%62c", UriError::BadHost),
            ("mqtt://b\u{fc}cher", UriError::BadHost),
            ("mqtt://b:0", UriError::BadPort),
            ("mqtt://b:99999", UriError::BadPort),
            ("mqtt://b:+1", UriError::BadPort),
            ("mqtt://a:1:2", UriError::BadPort),
            ("mqtt://::1", UriError::BadHost),
            // A password that is not percent-encoded.
            ("mqtt://user:pa/ss@b", UriError::NotEncoded),
            ("tcp://user:pa?ss@b:1883", UriError::NotEncoded),
            ("mqtts://user:pa#ss@b/mqtt", UriError::NotEncoded),
            ("SSL://us/er@b", UriError::NotEncoded),
            ("user:12/ss@b", UriError::NotEncoded),
            ("mqtt://user@a:1/ss@b", UriError::NotEncoded),
            ("mqtt://a b:/@", UriError::NotEncoded),
            ("ws://b/a b", UriError::NotEncoded),
            ("ws://b/\u{fc}", UriError::NotEncoded),
        ] {
            assert_eq!(Uri::parse(text).err(), Some(error), "{text}");
        }
    }

    #[test]
    fn the_log_tells_errors_apart() {
        use UriError::*;
        assert!(crate::log::tests::differ(&[UnknownScheme, BadHost, BadPort, NotEncoded]));
    }

    proptest! {
        #[test]
        fn agrees_with_the_url_crate(
            scheme in prop::sample::select(&["mqtt", "TCP", "mqtts", "Ssl", "ws", "wss"][..]),
            user in "([a-z%@:.!]|%[0-9a-fA-F]{2}){0,6}@?",
            host in r"[a-z][a-z0-9-]{0,8}(\.[a-z]{1,5})?|\[::[1-9a-f]{1,4}\]|10\.1\.2\.3",
            port in "(:[1-9][0-9]{0,3}|:)?",
            path in "(/[a-z0-9/%._~-]{0,9})?(\\?[a-z0-9=&/]{0,5})?(#[a-z?/]{0,3})?",
        ) {
            // The url crate checks Punycode; here that is the name server's matter.
            prop_assume!(!host.starts_with("xn--"));
            let user = if user.ends_with('@') { user } else { String::new() };
            let text = std::format!("{scheme}://{user}{host}{port}{path}");
            let (Ok(ours), Ok(theirs)) = (Uri::parse(&text), url::Url::parse(&text)) else {
                return Err(TestCaseError::fail("one of the two refuses it"));
            };
            prop_assert_eq!(ours.scheme.name, theirs.scheme());
            let host = theirs.host_str().unwrap_or_default();
            prop_assert_eq!(ours.host, host.trim_start_matches('[').trim_end_matches(']'));
            let default = ours.scheme.default_port;
            prop_assert_eq!(ours.port, theirs.port_or_known_default().unwrap_or(default));
            let bytes = |text: &str| decode(text).collect::<Vec<u8>>();
            let (username, password) = ours.user_info.map_or(("", None), |u| (u.username, u.password));
            prop_assert_eq!(bytes(username), bytes(theirs.username()));
            prop_assert_eq!(bytes(password.unwrap_or("")), bytes(theirs.password().unwrap_or("")));
            let query = theirs.query().map(|q| std::format!("?{q}")).unwrap_or_default();
            if ours.path.starts_with('/') && path.starts_with('/') && !path.contains('.') {
                prop_assert_eq!(ours.path, std::format!("{}{query}", theirs.path()));
            }
        }

        #[test]
        fn never_panics(text in ".*") {
            let _ = Uri::parse(&text);
        }
    }
}
