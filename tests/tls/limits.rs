//! What a server may bring in its handshake: bounds, what is said of what exceeds them, and the heap meanwhile.

use std::cell::Cell;
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, CustomExtension, ExtendedKeyUsagePurpose};
use rustls::{DistinguishedName, SupportedProtocolVersion};
use wm_mqtt_client::transport::tls::{Need, Settings, TlsConfig};

use crate::certificates::*;
use crate::memory::{in_own_process, live, peak};
use crate::openssl;
use crate::scripted::*;
use crate::support::*;

// Kinds of messages
const SERVER_HELLO: u8 = 2;
const TICKET: u8 = 4;
const ENCRYPTED_EXTENSIONS: u8 = 8;
const CERTIFICATE: u8 = 11;
const REQUEST: u8 = 13;

thread_local! {
    /// What the connection has put in reserve beside what it has said before.
    static MORE: Cell<usize> = const { Cell::new(0) };
    /// How much of that there is.
    static MOST: Cell<usize> = const { Cell::new(usize::MAX) };
}

pub(crate) fn more(need: Need) -> bool {
    MORE.set(MORE.get() + need.bytes);
    let may = need.least.iter().sum::<usize>() <= need.bytes && need.bytes <= MOST.get();
    may && Vec::<u8>::new().try_reserve_exact(need.bytes).is_ok()
}

/// What was added since the last time.
pub(crate) fn added() -> usize {
    MORE.replace(0)
}

/// Hands this to the client in pieces. Within each, not more was allocated than it had said that it needs.
pub(crate) fn receive(client: &mut Client, bytes: &[u8]) -> (Result<(), String>, usize) {
    receive_again(client, bytes, 0)
}

/// The same, where the ClientHello may be sent again with a session that takes so much.
fn receive_again(client: &mut Client, bytes: &[u8], offered: usize) -> (Result<(), String>, usize) {
    let mut most = 0;
    let mut rest = bytes;
    while !rest.is_empty() {
        let (len, need) = client.layers.handshake_step(rest).unwrap();
        let (piece, behind) = rest.split_at(len);
        let is_handshake = !client.layers.is_open();
        rest = behind;
        // What the test itself collects.
        client.up.reserve(bytes.len());
        MORE.set(0);
        let (result, peak) = peak(|| client.receive(piece));
        // Nor much more than a message may take: the name of an authority has three bytes, and takes 96. Tickets behind the handshake
        // take two copies of the server's certificates.
        let may = if is_handshake { 32 * bytes.len() + 8192 + offered } else { 2 * bytes.len() + 2 * 65_536 };
        assert!(MORE.get() <= may, "{} bytes for {}", MORE.get(), bytes.len());
        let need = need.bytes + MORE.get();
        assert!(!is_handshake || peak <= need, "{peak} bytes, and not {need} for {len} of {}", piece.len());
        most = most.max(peak);
        if result.is_err() {
            return (result, most);
        }
    }
    (Ok(()), most)
}

/// A whole handshake, up to the tickets.
pub(crate) fn shake_hands(pair: &mut Pair) -> (Result<(), String>, usize) {
    shake_hands_again(pair, 0)
}

/// The same, for [`receive_again`].
pub(crate) fn shake_hands_again(pair: &mut Pair, offered: usize) -> (Result<(), String>, usize) {
    let mut most = 0;
    loop {
        let bytes = pair.answer();
        if bytes.is_empty() && pair.client.out.is_empty() {
            return (Ok(()), most);
        }
        let (result, peak) = receive_again(&mut pair.client, &bytes, offered);
        most = most.max(peak);
        if result.is_err() {
            return (result, most);
        }
    }
}

/// Without memory for what a message brings, it is not parsed: nothing is allocated for it.
#[test]
fn no_memory_for_a_message() {
    if !in_own_process("limits::no_memory_for_a_message") {
        return;
    }
    for version in VERSIONS {
        for (most, connects) in [(0, false), (2000, false), (20_000, true)] {
            let identity = self_signed(|params| {
                params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![0; 3000]));
            });
            let mut pair = Pair::new(&unverified(), &server(version, &identity));
            MOST.set(most);
            let (result, peak) = shake_hands(&mut pair);
            MOST.set(usize::MAX);
            let expected = if connects { Ok(()) } else { Err("out of memory".to_owned()) };
            assert_eq!(result, expected, "{} {most}", name(version));
            assert!(connects || peak < 6000, "{peak}");
        }
    }
}

fn excess(message: &str, most: usize, what: &str) -> String {
    format!("TLS: the server's {message} has more than {most} {what}")
}

/// What the server has to say at once: ServerHello for TLS 1.2 in the clear, and this.
fn in_the_clear(messages: &[u8], size: usize) -> Vec<u8> {
    let hello = [&[3, 3][..], &[7; 32], &[0, 0xc0, 0x2b, 0]].concat();
    [plain(&message(SERVER_HELLO, &hello), 16_384), plain(messages, size)].concat()
}

/// Sends the message whole and in small pieces, as the server's first one behind ServerHello: what the client says to it, and
/// what it has allocated meanwhile.
fn says_first(version: &'static SupportedProtocolVersion, kind: u8, body: &[u8]) -> (String, usize) {
    let (mut most, mut errors) = (0, Vec::new());
    let message = message(kind, body);
    for size in [16_384, 1000, 100] {
        let (result, peak) = if name(version) == "TLS 1.3" {
            let records: Vec<_> = message.chunks(size).map(<[u8]>::to_vec).collect();
            let mut identity = self_signed(|_| {});
            // So that it has as many records to say.
            identity.chain.push(vec![0; 64 * records.len()].into());
            let server = server_saying(version, &identity, records, vec![]);
            let mut pair = Pair::new(&unverified(), &server);
            let result = shake_hands(&mut pair);
            // The server is told.
            pair.deliver(&mut || usize::MAX);
            let told = matches!(pair.refusal, Some(rustls::Error::AlertReceived(_)));
            assert_eq!(told, result.0.is_err(), "{result:?} {:?}", pair.refusal);
            result
        } else {
            let mut client = Client::new(&unverified(), HOST).unwrap();
            client.out.clear();
            let result = receive(&mut client, &in_the_clear(&message, size));
            assert_eq!(client.out.starts_with(&[21, 3, 3, 0, 2, 2]), result.0.is_err());
            result
        };
        most = most.max(peak);
        errors.push(result.err().unwrap_or_default());
    }
    errors.dedup();
    assert_eq!(errors.len(), 1, "{errors:?}");
    (errors.remove(0), most)
}

/// What exceeds a bound is refused, with not more of the heap than its own length, three times, and some kilobytes.
fn assert_refused(version: &'static SupportedProtocolVersion, kind: u8, body: &[u8], expected: &str) {
    let (error, peak) = says_first(version, kind, body);
    assert_eq!(error, expected, "{}", name(version));
    assert!(peak < 3 * body.len().min(18_437) + 8000, "{expected}: {peak}");
}

/// What does not, is not refused for that.
fn assert_not_refused(version: &'static SupportedProtocolVersion, kind: u8, body: &[u8]) {
    let (error, _) = says_first(version, kind, body);
    assert!(!error.contains("more than"), "{} {error}", name(version));
}

#[test]
fn certificates() {
    if !in_own_process("limits::certificates") {
        return;
    }
    for version in VERSIONS {
        let chain = |count| match name(version) {
            "TLS 1.3" => [vec![0], vector(3, &[0, 0, 1, 0x30, 0, 0].repeat(count))].concat(),
            _ => vector(3, &[0, 0, 1, 0x30].repeat(count)),
        };
        assert_not_refused(version, CERTIFICATE, &chain(8));
        for count in [9, 1000, 4000] {
            assert_refused(version, CERTIFICATE, &chain(count), &excess("Certificate", 8, "certificates"));
        }
        // Lists that are said to be longer than what they are in, or shorter.
        let liar = [&chain(4000)[..1 + 3], &[0xff; 16_000]].concat();
        let (_, peak) = says_first(version, CERTIFICATE, &liar);
        assert!(peak < 3 * 18_437, "{peak}");
    }
}

/// rustls parses a message as those of TLS 1.3 if its record says so, also before it has come to that.
#[test]
fn a_record_of_another_version() {
    if !in_own_process("limits::a_record_of_another_version") {
        return;
    }
    for (minor, entry) in [(4, &[0, 0, 1, 0x30, 0, 0][..]), (3, &[0, 0, 1, 0x30]), (1, &[0, 0, 1, 0x30])] {
        let chain = vector(3, &entry.repeat(3000));
        let body = if minor == 4 { [vec![0], chain].concat() } else { chain };
        for size in [16_384, 3] {
            let mut records = plain(&message(CERTIFICATE, &body), size);
            // The first record's version is the message's.
            records[2] = minor;
            let mut client = Client::new(&unverified(), HOST).unwrap();
            let (result, peak) = receive(&mut client, &records);
            assert_eq!(result, Err(excess("Certificate", 8, "certificates")), "{minor} {size}");
            assert!(peak < 40_000, "{peak}");
        }
    }
}

#[test]
fn extensions() {
    if !in_own_process("limits::extensions") {
        return;
    }
    let unknown = |count: u16| vector(2, &(0..count).flat_map(|i| [0x7a, i as u8, 0, 0]).collect::<Vec<_>>());
    let hello = |count| [&[3, 3][..], &[7; 32], &[0, 0xc0, 0x2b, 0], &unknown(count)].concat();
    for version in VERSIONS {
        let is_tls13 = name(version) == "TLS 1.3";
        let certificate = |count| [&[0][..], &vector(3, &[&[0, 0, 1, 0x30][..], &unknown(count)].concat())].concat();
        let request = |count| [&[0][..], &unknown(count)].concat();
        type Body<'a> = &'a dyn Fn(u16) -> Vec<u8>;
        let mut cases: Vec<(u8, &str, Body<'_>)> =
            vec![(SERVER_HELLO, "ServerHello", &hello), (ENCRYPTED_EXTENSIONS, "EncryptedExtensions", &unknown)];
        if is_tls13 {
            cases.extend([
                (CERTIFICATE, "Certificate", &certificate as _),
                (REQUEST, "CertificateRequest", &request as _),
            ]);
        }
        for (kind, message, body) in cases {
            assert_not_refused(version, kind, &body(64));
            for count in [65, 400] {
                assert_refused(version, kind, &body(count), &excess(message, 64, "extensions"));
            }
        }
        // Lists of lists that nobody has asked for.
        let keys = [&[0xfe, 0x0d][..], &vector(2, &vector(2, &[0xfe, 0, 0, 0].repeat(400)))].concat();
        let expected = excess("EncryptedExtensions", 0, "keys for encrypted_client_hello");
        assert_refused(version, ENCRYPTED_EXTENSIONS, &vector(2, &keys), &expected);
        let ticket = |count| [&[0; 8][..], &[0], &[0, 1, 7], &unknown(count)].concat();
        if is_tls13 {
            assert_not_refused(version, TICKET, &ticket(64));
            assert_refused(version, TICKET, &ticket(65), &excess("NewSessionTicket", 64, "extensions"));
        }
    }
}

/// CertificateRequest with so many signature schemes and names.
fn request(version: &'static SupportedProtocolVersion, schemes: usize, names: usize) -> Vec<u8> {
    let (schemes, names) = (vector(2, &[4, 3].repeat(schemes)), vector(2, &[0, 1, 0x30].repeat(names)));
    if name(version) == "TLS 1.3" {
        let extensions = [&[0, 13][..], &vector(2, &schemes), &[0, 47], &vector(2, &names), &[0x7a, 0, 0, 0]].concat();
        [vec![0], vector(2, &extensions)].concat()
    } else {
        [vec![1, 1], schemes, names].concat()
    }
}

#[test]
fn certificate_requests() {
    if !in_own_process("limits::certificate_requests") {
        return;
    }
    for version in VERSIONS {
        assert_not_refused(version, REQUEST, &request(version, 64, NAMES));
        for names in [NAMES + 1, 20_000] {
            let expected = excess("CertificateRequest", NAMES, "names of authorities");
            assert_refused(version, REQUEST, &request(version, 64, names), &expected);
        }
        for schemes in [65, 30_000] {
            let expected = excess("CertificateRequest", 64, "signature schemes");
            assert_refused(version, REQUEST, &request(version, schemes, 1), &expected);
        }
    }
}

/// Each kind of message that there may be, announced with 16 MB.
#[test]
fn announcements() {
    if !in_own_process("limits::announcements") {
        return;
    }
    let bounds = [
        (2, "ServerHello", 2048),
        (4, "NewSessionTicket", 16_384),
        (8, "EncryptedExtensions", 2048),
        (11, "Certificate", CHAIN),
        (12, "ServerKeyExchange", 2048),
        (13, "CertificateRequest", CHAIN),
        (15, "CertificateVerify", 2048),
        (20, "Finished", 64),
        (22, "CertificateStatus", 8192),
        (24, "KeyUpdate", 1),
    ];
    for version in VERSIONS {
        for kind in 0..=255 {
            let (_, message, most) =
                bounds.into_iter().find(|bound| bound.0 == kind).unwrap_or((0, "message of another kind", 0));
            for announced in [most + 1, 0xff_ffff] {
                let header = [&[kind][..], &(announced as u32).to_be_bytes()[1..]].concat();
                let (result, peak) = if name(version) == "TLS 1.3" {
                    let server = server_saying(version, &self_signed(|_| {}), vec![header], vec![]);
                    shake_hands(&mut Pair::new(&unverified(), &server))
                } else {
                    receive(&mut Client::new(&unverified(), HOST).unwrap(), &in_the_clear(&header, 2))
                };
                assert_eq!(result, Err(excess(message, most, "bytes")), "{kind} {}", name(version));
                assert!(peak < 8000, "{peak}");
            }
        }
    }
}

#[test]
fn messages_in_a_record() {
    if !in_own_process("limits::messages_in_a_record") {
        return;
    }
    for (count, refused) in [(16, false), (17, true), (4000, true)] {
        let empty = message(0, b"").repeat(count);
        let mut client = Client::new(&unverified(), HOST).unwrap();
        let (result, peak) = receive(&mut client, &plain(&empty, 16_384));
        assert_eq!(result.as_ref().unwrap_err() == &excess("record", 16, "messages"), refused, "{count} {result:?}");
        assert!(peak < 26_000, "{peak}");
    }
}

/// In TLS 1.2 the last message of the handshake is encrypted, and comes before the server must have a right certificate
/// where nothing is verified.
#[cfg(feature = "tls12")]
#[test]
fn encrypted_in_tls12() {
    if !in_own_process("limits::encrypted_in_tls12") {
        return;
    }
    let flood = message(CERTIFICATE, &vector(3, &[0, 0, 1, 0x30].repeat(4000)));
    let version = VERSIONS[1];
    let server = server_saying(version, &self_signed(|_| {}), vec![flood], vec![]);
    let (result, peak) = shake_hands(&mut Pair::new(&unverified(), &server));
    assert_eq!(result, Err(excess("Certificate", 8, "certificates")));
    assert!(peak < 40_000, "{peak}");
}

/// A ticket of TLS 1.3 with so many bytes.
pub(crate) fn ticket(len: usize) -> Vec<u8> {
    message(TICKET, &[&[0, 0, 1, 0, 0, 0, 0, 0, 1, 7][..], &vector(2, &data(len)), &[0, 0]].concat())
}

#[test]
fn tickets() {
    if !in_own_process("limits::tickets") {
        return;
    }
    // 14 bytes are around it.
    for (len, refused) in [(1, false), (16_384 - 14, false), (16_384 - 13, true), (65_535 - 14, true)] {
        for size in [16_384, 1000] {
            let records: Vec<_> = ticket(len).chunks(size).map(<[u8]>::to_vec).collect();
            let count = records.len();
            let mut server = server_saying(VERSIONS[0], &self_signed(|_| {}), vec![], records);
            server.send_tls13_tickets = 0;
            let mut pair = Pair::open(&unverified(), &server);
            let bytes = pair.says(&data(59 * count));
            let (result, peak) = receive(&mut pair.client, &bytes);
            assert!(peak < 60_000, "{peak}");
            let expected = if refused { Err(excess("NewSessionTicket", 16_384, "bytes")) } else { Ok(()) };
            assert_eq!(result, expected, "{len} in {size}");
            assert!(refused || pair.client.layers.is_open());
        }
    }
    #[cfg(feature = "tls12")]
    {
        let body = |len: usize| [&[0, 0, 1, 0][..], &vector(2, &data(len))].concat();
        assert_not_refused(VERSIONS[1], TICKET, &body(16_384 - 6));
        assert_refused(VERSIONS[1], TICKET, &body(16_384 - 5), &excess("NewSessionTicket", 16_384, "bytes"));
        assert_refused(VERSIONS[1], TICKET, &body(65_000), &excess("NewSessionTicket", 16_384, "bytes"));
    }
}

#[test]
fn tickets_without_end() {
    if !in_own_process("limits::tickets_without_end") {
        return;
    }
    let records = vec![ticket(1000); 1000];
    let mut server = server_saying(VERSIONS[0], &self_signed(|_| {}), vec![], records);
    server.send_tls13_tickets = 0;
    let mut pair = Pair::open(&unverified(), &server);
    let bytes = pair.says(&data(59 * 1000));
    let (mut most, mut kept) = (0, 0);
    for piece in bytes.chunks(1024) {
        let Client { layers, out, .. } = &mut pair.client;
        let before = live();
        let (result, peak) = peak(|| layers.receive(piece, out, &mut |_| {}));
        result.unwrap();
        most = most.max(peak);
        kept += live() - before;
    }
    assert!(most < 10_000 && kept < 6000, "{most} {kept}");
}

/// Behind the handshake there is no copy of it any more: a ticket takes what it takes, however many there were before, also
/// where the client has a certificate.
#[test]
fn tickets_without_end_for_a_client_with_a_certificate() {
    if !in_own_process("limits::tickets_without_end_for_a_client_with_a_certificate") {
        return;
    }
    let own = self_signed(|_| {});
    let (certificate, key) = (own.pem[0].clone(), own.key.serialize_pem());
    for is_own in [false, true] {
        let records = vec![ticket(1000); 1000];
        let mut server = server_saying(VERSIONS[0], &self_signed(|_| {}), vec![], records);
        server.send_tls13_tickets = 0;
        let identity = is_own.then_some((certificate.as_bytes(), key.as_bytes()));
        let config = TlsConfig::new(Settings { identity, ..settings() }).unwrap();
        let mut pair = Pair::open(&config, &server);
        let bytes = pair.says(&data(59 * 1000));
        let mut asked = 0;
        for piece in bytes.chunks(1024) {
            added();
            let Client { layers, out, .. } = &mut pair.client;
            layers.receive(piece, out, &mut |_| {}).unwrap();
            asked = asked.max(added());
        }
        // Two tickets end in some pieces, and each takes the server's certificate besides.
        assert!(asked <= 2 * (1000 + 2000), "with a certificate: {is_own}: {asked} bytes for a ticket of 1,000");
    }
}

/// A server's chain of so many certificates with so many bytes together, more or less; the last one is the root.
fn long_chain(certificates: usize, bytes: usize) -> (Identity, String) {
    // Something that nobody looks at.
    let fill = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99], vec![4; bytes / certificates - 440]);
    let filled = |params: &mut CertificateParams| params.custom_extensions.push(fill.clone());
    let mut params = authority_params("root");
    filled(&mut params);
    let mut authorities = vec![CertifiedIssuer::self_signed(params, key()).unwrap()];
    for i in 1..certificates - 1 {
        authorities.push(intermediate(&format!("authority {i}"), &authorities[i - 1], filled));
    }
    let mut identity = issue(&authorities[certificates - 2], filled);
    for authority in authorities.iter().rev() {
        identity = identity.followed_by(authority);
    }
    (identity, authorities[0].pem())
}

/// Long chains, whole and in small records, up to what is in use.
#[test]
fn honest_servers_with_long_chains() {
    if !in_own_process("limits::honest_servers_with_long_chains") {
        return;
    }
    for (certificates, bytes) in [(2, 3000), (5, 8000), (8, 16_000), (8, 30_000), (7, 60_000)] {
        let (identity, root) = long_chain(certificates, bytes);
        assert_eq!(identity.chain.len(), certificates);
        for version in VERSIONS {
            for size in [None, Some(512)] {
                let mut server = server(version, &identity);
                server.max_fragment_size = size;
                let mut pair = Pair::new(&trusting(&root), &server);
                let (result, peak) = shake_hands(&mut pair);
                assert_eq!(result, Ok(()), "{certificates} {bytes} {size:?} {}", name(version));
                pair.assert_works();
                // The message, its records' overhead, the records again while the buffer grows, and the certificates.
                assert!(peak < 10_000 + 5 * bytes / 2, "{certificates} {bytes} {size:?} {}: {peak}", name(version));
            }
        }
    }
}

/// The names of so many authorities, as long as they mostly are.
pub(crate) fn names(count: usize) -> Arc<Curious> {
    let name = |i| DistinguishedName::in_sequence(format!("{i:80}").as_bytes());
    Arc::new(Curious { mandatory: false, names: (0..count).map(name).collect() })
}

/// Servers that name many authorities: 600 are in use. With a certificate of our own and without.
#[test]
fn honest_servers_with_many_names() {
    if !in_own_process("limits::honest_servers_with_many_names") {
        return;
    }
    let (identity, own) = (self_signed(|_| {}), self_signed(|_| {}));
    let (chain, key) = (own.pem.concat(), own.key.serialize_pem());
    for version in VERSIONS {
        for count in [1, 100, 600, 770] {
            let server = server_asking(version, &identity, names(count));
            for identity in [None, Some((chain.as_bytes(), key.as_bytes()))] {
                let client = TlsConfig::new(Settings { identity, ..settings() }).unwrap();
                let mut pair = Pair::new(&client, &server);
                let (result, _) = shake_hands(&mut pair);
                assert_eq!(result, Ok(()), "{count} {}", name(version));
                pair.assert_works();
            }
        }
    }
}

/// The same by OpenSSL: chain and names.
#[test]
fn honest_openssl() {
    if !in_own_process("limits::honest_openssl") {
        return;
    }
    let (identity, root) = long_chain(7, 20_000);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority =
        |i| authority_params(&format!("authority number {i}, of a long name")).self_signed(&key).unwrap().pem();
    // s_server looks for its own chain among those that it trusts.
    let authorities = (0..600).map(authority).chain(identity.pem[1..].iter().cloned()).collect::<String>();
    let options = if VERSIONS.len() > 1 { &["-tls1_3", "-tls1_2"][..] } else { &["-tls1_3"] };
    for option in options {
        for frag in ["", "-max_send_frag 512"] {
            let args = format!("{option} {frag} -verify 1 -CAfile CA");
            let mut server =
                openssl::Server::start(&identity.pem[0], &identity.key.serialize_pem(), &authorities, &args);
            let mut connection = server.connect(&trusting(&root)).unwrap();
            connection.assert_works(&mut server);
            connection.close();
        }
    }
}

/// webpki lists what a certificate is issued for, if that is not servers, unless it is told otherwise.
#[test]
fn a_certificate_with_many_purposes() {
    if !in_own_process("limits::a_certificate_with_many_purposes") {
        return;
    }
    let purposes = (0..4000_u64).map(|i| ExtendedKeyUsagePurpose::Other(vec![1, 2, i])).collect::<Vec<_>>();
    for (server_too, expected) in
        [(false, Err("server certificate refused: not issued for servers".into())), (true, Ok(()))]
    {
        let identity = self_signed(|params| {
            params.extended_key_usages = purposes.clone();
            params.extended_key_usages.extend(server_too.then_some(ExtendedKeyUsagePurpose::ServerAuth));
        });
        let len = identity.chain[0].len();
        for version in VERSIONS {
            let mut pair = Pair::new(&trusting(&identity.pem[0]), &server(version, &identity));
            let (result, peak) = shake_hands(&mut pair);
            assert_eq!(result, expected, "{}", name(version));
            assert!(peak < 3 * len, "{peak} for {len}");
        }
    }
}

/// The device's bounds, in a process of its own: they are for all configurations.
#[test]
fn on_a_device() {
    if !in_own_process("limits::on_a_device") {
        return;
    }
    let device = |ca: Option<&str>| {
        let ca = ca.map(str::as_bytes);
        TlsConfig::new(Settings { verify: ca.is_some(), ca, chain: 16_384, names: 100, ..settings() }).unwrap()
    };
    let identity = self_signed(|_| {});
    for version in VERSIONS {
        for (count, expected) in [(100, Ok(())), (101, Err("CertificateRequest"))] {
            let server = server_asking(version, &identity, names(count));
            let (result, peak) = shake_hands(&mut Pair::new(&device(None), &server));
            assert_eq!(result, expected.map_err(|message| excess(message, 100, "names of authorities")));
            assert!(peak < 26_000, "{peak}");
        }
        for (bytes, expected) in [(16_000, Ok(())), (17_600, Err(excess("Certificate", 16_384, "bytes")))] {
            let (identity, root) = long_chain(8, bytes);
            let server = server(version, &identity);
            let (result, peak) = shake_hands(&mut Pair::new(&device(Some(&root)), &server));
            assert_eq!(result, expected, "{:?}", identity.chain.iter().map(|c| c.len()).sum::<usize>());
            assert!(peak < 40_000, "{peak}");
        }
    }
    // A message whose pieces are small, and what is around them is not.
    let mut client = Client::new(&device(None), HOST).unwrap();
    let records = plain(&message(CERTIFICATE, &vector(3, &vector(3, &[0x30; 16_000]))), 1);
    let (result, peak) = receive(&mut client, &records);
    assert_eq!(result, Err(excess("fragmented message", 2 * 16_384 + 18_437, "bytes")));
    assert!(peak < 60_000, "{peak}");
}
