//! URIs: what is accepted is a host and a port, says the same when it is written again, and what the `url` crate makes of it.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};
use wm_mqtt_client::transport::uri::{Uri, decode};

pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(uri) = Uri::parse(text) else { return };
    assert!(!uri.host.is_empty() && uri.port != 0);
    assert!(uri.host.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._~:".contains(&c)));
    assert!(uri.path.starts_with(['/', '?']));
    let info = uri.user_info.map_or(String::new(), |info| match info.password {
        Some(password) => format!("{}:{password}@", info.username),
        None => format!("{}@", info.username),
    });
    let host = if uri.host.contains(':') { format!("[{}]", uri.host) } else { uri.host.to_owned() };
    let again = format!("{}://{info}{host}:{}{}", uri.scheme.name, uri.port, uri.path);
    // Brackets around what is no IPv6 address do not come back.
    if !text.contains('[') || uri.host.contains(':') {
        let Ok(again) = Uri::parse(&again) else { panic!("{again} is none") };
        assert!(again == Uri { port: again.port, ..uri } && again.port == uri.port);
    }
    // The url crate drops some characters, and takes others for others.
    let is_plain = text.bytes().all(|c| c.is_ascii_graphic() && !b"\\".contains(&c));
    let has_scheme = text.split_once("://").is_some_and(|(name, _)| name.eq_ignore_ascii_case(uri.scheme.name));
    if !is_plain || !has_scheme {
        return;
    }
    let theirs = match Url::parse(text) {
        Ok(theirs) => theirs,
        // Punycode and addresses it checks, here they are the name lookup's matter: so are names that end like an IPv4 address.
        Err(url::ParseError::IdnaError | url::ParseError::InvalidIpv6Address | url::ParseError::InvalidIpv4Address) => {
            return;
        }
        Err(error) => panic!("{text}: {error}"),
    };
    assert_eq!(theirs.scheme(), uri.scheme.name);
    assert_eq!(theirs.port_or_known_default().unwrap_or(uri.scheme.default_port), uri.port, "{text}");
    match theirs.host() {
        Some(Host::Ipv6(address)) => assert_eq!(uri.host.parse(), Ok(address), "{text}"),
        // For ws and wss also in other forms than four numbers
        Some(Host::Ipv4(address)) => assert_eq!(uri.host.parse::<Ipv4Addr>().unwrap_or(address), address),
        Some(Host::Domain(name)) => {
            assert!(name.eq_ignore_ascii_case(uri.host) && uri.host.parse::<Ipv6Addr>().is_err(), "{text}")
        }
        None => panic!("{text}: no host"),
    }
    let (username, password) = uri.user_info.map_or(("", ""), |info| (info.username, info.password.unwrap_or("")));
    for (ours, theirs) in [(username, theirs.username()), (password, theirs.password().unwrap_or(""))] {
        assert!(decode(ours).eq(decode(theirs)), "{text}");
    }
}
