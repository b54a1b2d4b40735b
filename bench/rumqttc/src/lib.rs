//! rumqttc behind `bench/programs/client.h`: its `Client`, and a thread that polls its `Connection`.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fs;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rumqttc::tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
use rumqttc::tokio_rustls::rustls::{ClientConfig, RootCertStore};
use rumqttc::{Client, Connection, Event, MqttOptions, NetworkOptions, Packet, QoS, TlsConfiguration, Transport};

/// `struct settings`.
#[repr(C)]
pub struct Settings {
    scheme: *const c_char,
    host: *const c_char,
    port: c_int,
    ca: *const c_char,
    resume: bool,
}

/// `struct client`.
pub struct Handle {
    options: MqttOptions,
    connected: Option<Connected>,
}

struct Connected {
    client: Client,
    thread: JoinHandle<()>,
    answers: Receiver<bool>,
}

unsafe extern "C" {
    safe fn bench_received();
    safe fn bench_acknowledged();
}

/// # Safety
/// A string of the program.
unsafe fn text(from: *const c_char) -> String {
    // SAFETY: as this function asks.
    unsafe { CStr::from_ptr(from) }.to_string_lossy().into_owned()
}

/// Its `Simple` makes a new configuration for each connect, which resumes nothing; one of ours is kept.
fn tls(ca: &str, resume: bool) -> TlsConfiguration {
    let pem = fs::read(ca).expect("the certificate");
    if !resume {
        return TlsConfiguration::Simple { ca: pem, alpn: None, client_auth: None };
    }
    let mut roots = RootCertStore::empty();
    for one in CertificateDer::pem_slice_iter(&pem) {
        roots.add(one.expect("a certificate")).expect("an authority");
    }
    TlsConfiguration::Rustls(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

/// # Safety
/// What the program gives is what `client.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn client_new(settings: &Settings, id: *const c_char) -> *mut Handle {
    // SAFETY: strings of the program, as this function asks.
    let (scheme, host, id) = unsafe { (text(settings.scheme), text(settings.host), text(id)) };
    let port = u16::try_from(settings.port).expect("a port");
    let tls = || {
        // SAFETY: as above; it is there for these schemes.
        tls(&unsafe { text(settings.ca) }, settings.resume)
    };
    let (address, transport) = match scheme.as_str() {
        "mqtt" => (host, Transport::Tcp),
        "mqtts" => (host, Transport::Tls(tls())),
        "ws" => (format!("ws://{host}:{port}/mqtt"), Transport::Ws),
        "wss" => (format!("wss://{host}:{port}/mqtt"), Transport::Wss(tls())),
        _ => return std::ptr::null_mut(),
    };
    let mut options = MqttOptions::new(id, address, port);
    options.set_transport(transport).set_keep_alive(Duration::from_secs(60)).set_inflight(20);
    Box::into_raw(Box::new(Handle { options, connected: None }))
}

fn run(mut connection: Connection, answers: &Sender<bool>) {
    // Not its default, with which each acknowledgement that two messages wait for takes 40 ms.
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    connection.eventloop.set_network_options(network);
    for event in connection.iter() {
        match event {
            Ok(Event::Incoming(Packet::Publish(_))) => bench_received(),
            Ok(Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_))) => bench_acknowledged(),
            Ok(Event::Incoming(Packet::ConnAck(_) | Packet::SubAck(_))) => {
                let _ = answers.send(true);
            }
            Ok(Event::Outgoing(rumqttc::Outgoing::Disconnect)) => return,
            Ok(_) => {}
            Err(error) => {
                eprintln!("rumqttc: {error}");
                let _ = answers.send(false);
                return;
            }
        }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn client_connect(handle: &mut Handle) -> bool {
    let (client, connection) = Client::new(handle.options.clone(), 100);
    let (to, answers) = channel();
    let thread = thread::spawn(move || run(connection, &to));
    let accepted = answers.recv().unwrap_or(false);
    handle.connected = Some(Connected { client, thread, answers });
    accepted
}

fn of(qos: c_int) -> QoS {
    [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][qos as usize]
}

/// # Safety
/// What the program gives is what `client.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn client_subscribe(handle: &Handle, topic: *const c_char, qos: c_int) -> bool {
    // SAFETY: a string of the program, as this function asks.
    let topic = unsafe { text(topic) };
    let connected = handle.connected.as_ref().expect("a connection");
    connected.client.subscribe(topic, of(qos)).is_ok() && connected.answers.recv().unwrap_or(false)
}

/// # Safety
/// What the program gives is what `client.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn client_publish(
    handle: &Handle,
    topic: *const c_char,
    payload: *const c_void,
    size: c_int,
    qos: c_int,
) -> bool {
    // SAFETY: a string, and so many bytes, of the program, as this function asks.
    let (topic, payload) =
        unsafe { (CStr::from_ptr(topic), std::slice::from_raw_parts(payload.cast::<u8>(), size as usize)) };
    let connected = handle.connected.as_ref().expect("a connection");
    connected.client.publish(topic.to_str().expect("UTF-8"), of(qos), false, payload).is_ok()
}

#[unsafe(no_mangle)]
pub extern "C" fn client_disconnect(handle: &mut Handle) {
    if let Some(connected) = handle.connected.take() {
        let _ = connected.client.disconnect();
        let _ = connected.thread.join();
    }
}

/// # Safety
/// A client of `client_new`, once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn client_free(handle: *mut Handle) {
    // SAFETY: as this function asks.
    drop(unsafe { Box::from_raw(handle) });
}
