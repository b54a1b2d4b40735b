//! PEM texts as editors and other tools leave them: what OpenSSL reads, we read, and nothing is lost without a word.

use wm_mqtt_client::transport::tls::{Settings, TlsConfig};

use crate::certificates::*;
use crate::openssl::{openssl, openssl_reads};
use crate::support::*;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// A text as it may be left, and whether OpenSSL reads it too.
fn spoiled(text: &str) -> Vec<(&'static str, Vec<u8>, bool)> {
    let lines = |change: &dyn Fn(&[u8]) -> Vec<u8>| text.lines().flat_map(|line| change(line.as_bytes())).collect();
    let ending = |end: &[u8]| lines(&|line| [line, end].concat());
    let is_base64 = |line: &[u8]| !line.starts_with(b"-");
    vec![
        ("nothing", text.into(), true),
        ("a byte order mark", [BOM, text.as_bytes()].concat(), true),
        ("tabs", ending(b"\t\n"), true),
        ("blanks", ending(b"  \n"), true),
        ("no-break spaces", ending(b"\xc2\xa0\n"), true),
        ("no-break spaces of Latin 1", ending(b"\xa0\n"), true),
        ("form feeds", ending(b"\x0c\n"), true),
        ("CRLF", ending(b"\r\n"), true),
        ("CRLF behind blanks", ending(b" \t\r\n"), true),
        ("no end of the last line", text.trim_end().into(), true),
        ("Chinese before it", [b"# \xe4\xb8\xad\n", text.as_bytes()].concat(), true),
        ("CR", ending(b"\r"), false),
        ("blank lines", ending(b"\n\n"), false),
        ("tabs before lines", lines(&|line| [b"\t", line, b"\n"].concat()), false),
        ("a NUL behind it", [text.as_bytes(), b"\0"].concat(), false),
        (
            "blanks in lines",
            lines(&|line| match is_base64(line) {
                true => [&line[..2], b" ", &line[2..], b"\n"].concat(),
                false => [line, b"\n"].concat(),
            }),
            false,
        ),
        (
            "one line of Base64",
            lines(&|line| match is_base64(line) {
                true => line.to_vec(),
                false => [b"\n", line, b"\n"].concat(),
            }),
            false,
        ),
    ]
}

#[test]
fn authorities() {
    let (ca, other) = (root("ca"), root("other"));
    let server = server(VERSIONS[0], &issue(&ca, |_| {}));
    for (what, text, by_openssl) in spoiled(&ca.pem()) {
        if by_openssl {
            assert!(openssl_reads(&["x509", "-noout"], &text), "{what}");
        }
        let other = other.pem();
        for ca in [&[&text[..]][..], &[&text, b"\n", other.as_bytes()], &[other.as_bytes(), &text]] {
            let ca = ca.concat();
            let settings = Settings { verify: true, ca: Some(&ca), ..settings() };
            let (config, lines) = logged(|| TlsConfig::new(settings).expect(what));
            assert_eq!(lines, [""; 0], "{what}");
            assert_eq!(Pair::new(&config, &server).run(), Ok(()), "{what}");
        }
    }
}

#[test]
fn certificates_and_keys() {
    let identity = self_signed(|_| {});
    let server = server_asking(
        VERSIONS[0],
        &self_signed(|_| {}),
        std::sync::Arc::new(Curious { mandatory: true, names: Vec::new() }),
    );
    let key = identity.key.serialize_pem();
    for ((what, certificate, _), (_, key, by_openssl)) in spoiled(&identity.pem[0]).into_iter().zip(spoiled(&key)) {
        if by_openssl {
            assert!(openssl_reads(&["pkey", "-noout"], &key), "{what}");
        }
        let identity = Some((&certificate[..], &key[..]));
        let config = TlsConfig::new(Settings { identity, ..settings() }).expect(what);
        assert_eq!(Pair::new(&config, &server).run(), Ok(()), "{what}");
    }
}

#[test]
fn what_is_left_out_is_named() {
    let ca = root("ca");
    let good = ca.pem();
    let server = server(VERSIONS[0], &issue(&ca, |_| {}));
    let none = pem(b"\x30\x03\x02\x01\x01");
    // Cut off, so that it is DER no more.
    let half = pem(&ca.der()[..200]);
    let trusted = openssl(&["x509", "-trustout"], good.as_bytes());
    assert!(trusted.contains("BEGIN TRUSTED CERTIFICATE"));
    let malformed = |number| format!("WARN: certificate {number} in `ca` is of no use: malformed");
    let foreign = "WARN: a certificate is left out: `TRUSTED CERTIFICATE` is OpenSSL's own format".to_owned();
    let cases = [
        (format!("{none}{good}"), vec![malformed(1)]),
        (format!("{good}{half}"), vec![malformed(2)]),
        (format!("{good}{none}{good}{half}"), vec![malformed(2), malformed(4)]),
        (format!("{trusted}{good}"), vec![foreign]),
        (good.replace("CERTIFICATE", "X509 CERTIFICATE"), vec![]),
    ];
    for (text, expected) in cases {
        let (config, lines) = logged(|| trusting(&text));
        assert_eq!(lines, expected, "{text}");
        assert_eq!(Pair::new(&config, &server).run(), Ok(()), "{text}");
    }
}

#[test]
fn sections_that_are_broken() {
    let good = root("ca").pem();
    let (begin, end) = ("-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n");
    let cases = [
        ("the end missing before another", good.replace(end, "") + &good),
        ("the end missing", good.replace(end, "")),
        ("one inside of another", format!("-----BEGIN X-----\n{good}-----END X-----\n")),
        ("another end", good.replace(end, "-----END PRIVATE KEY-----\n")),
        ("four dashes at the end", good.replace(begin, "-----BEGIN CERTIFICATE----\n")),
        ("no padding where there should be some", begin.to_owned() + "MA\n" + end),
        ("padding in the middle", good.replacen("MII", "MA==MII", 1)),
        ("another alphabet", good.replacen("MII", "M-_", 1)),
        ("text in it", good.replacen("MII", "# text\nMII", 1)),
        ("a byte order mark in a line", good.replacen("MII", "M\u{feff}II", 1)),
    ];
    for (what, text) in cases {
        let error = TlsConfig::new(Settings { verify: true, ca: Some(text.as_bytes()), ..settings() }).err();
        assert_eq!(error.map(|error| error.to_string()).as_deref(), Some("`ca` is not PEM"), "{what}");
    }
}
