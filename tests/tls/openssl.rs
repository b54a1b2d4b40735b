//! The program `openssl` (3.0) as a peer, over sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::{fs, thread};

use wm_mqtt_client::transport::tls::TlsConfig;

use crate::support::{Client, HOST, PATIENCE};

/// Runs it with `input`; what it prints.
pub(crate) fn openssl(args: &[&str], input: &[u8]) -> String {
    let output = run(args, input);
    assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether it takes this input.
pub(crate) fn openssl_reads(args: &[&str], input: &[u8]) -> bool {
    run(args, input).status.success()
}

fn run(args: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new("openssl");
    let command = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program openssl");
    // Whoever reads nothing of it ends before.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// A key as PKCS#8.
pub(crate) fn ec_key(curve: &str) -> String {
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", &format!("ec_paramgen_curve:{curve}")], b"")
}

/// A key as PKCS#8, the same one for all tests: making one takes seconds.
pub(crate) fn rsa_key(bits: usize) -> String {
    static KEYS: [OnceLock<String>; 4] = [const { OnceLock::new() }; 4];
    let make = || openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")], b"");
    KEYS[bits / 1024 - 1].get_or_init(make).clone()
}

pub(crate) fn rsa_key_with_exponent_3() -> String {
    openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_pubexp:3"], b"")
}

pub(crate) fn ed25519_key() -> String {
    openssl(&["genpkey", "-algorithm", "ed25519"], b"")
}

/// A certificate for [`HOST`] that the key has signed itself.
pub(crate) fn self_signed(key: &str, args: &[&str]) -> String {
    let names = format!("subjectAltName=DNS:{HOST}");
    let fixed = ["req", "-x509", "-new", "-key", "/dev/stdin", "-subj", "/CN=server", "-days", "3650"];
    openssl(&[&fixed, &["-addext", &names][..], args].concat(), key.as_bytes())
}

/// A certificate for [`HOST`] by this authority.
pub(crate) fn issued(key: &str, ca: &str, ca_key: &str, digest: &str) -> String {
    let folder = Folder::new();
    let files = [("ca", ca), ("key", ca_key), ("config", PLAIN)].map(|(name, text)| folder.write(name, text));
    let [ca, ca_key, config] = files.each_ref().map(|path| path.to_str().unwrap());
    self_signed(key, &["-config", config, "-subj", "/CN=leaf", "-CA", ca, "-CAkey", ca_key, digest])
}

/// One of version 1, without extensions.
pub(crate) fn version_1(key: &str) -> String {
    let folder = Folder::new();
    let config = folder.write("config", PLAIN);
    let args = ["req", "-x509", "-new", "-key", "/dev/stdin", "-subj", "/CN=server", "-days", "3650", "-config"];
    openssl(&[&args[..], &[config.to_str().unwrap()]].concat(), key.as_bytes())
}

/// What the recipe in mosquitto's manual (`man mosquitto-tls`) makes for [`HOST`]: the authority's certificate, the server's,
/// and its key.
pub(crate) fn mosquittos_recipe() -> [String; 3] {
    let folder = Folder::new();
    // The answers to what it asks: nothing encrypted, and these names.
    let commands = [
        "req -new -x509 -days 3650 -extensions v3_ca -keyout ca.key -out ca.crt -nodes -subj /O=Home/CN=CA".to_owned(),
        "genrsa -out server.key 2048".to_owned(),
        format!("req -out server.csr -key server.key -new -subj /O=Home/CN={HOST}"),
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 3650".to_owned(),
    ];
    for command in commands {
        let output = Command::new("openssl").args(command.split(' ')).current_dir(&folder.0).output().unwrap();
        assert!(output.status.success(), "openssl {command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    ["ca.crt", "server.crt", "server.key"].map(|name| fs::read_to_string(folder.0.join(name)).unwrap())
}

/// A configuration of `openssl req` that adds nothing.
const PLAIN: &str = "[req]\ndistinguished_name = name\n[name]\n";

/// A folder of its own for files.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `openssl s_server`. It prints what it receives, and sends what it reads at its input.
pub(crate) struct Server {
    process: Child,
    port: u16,
    printed: Arc<(Mutex<String>, Condvar)>,
    _folder: Folder,
}

impl Server {
    /// With this certificate; `args` are words with blanks between them, `CA` is a file with `clients_ca`.
    pub(crate) fn start(certificate: &str, key: &str, clients_ca: &str, args: &str) -> Self {
        let folder = Folder::new();
        let files =
            [("cert", certificate), ("key", key), ("ca", clients_ca)].map(|(name, text)| folder.write(name, text));
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0"]).arg("-cert").arg(&files[0]).arg("-key").arg(&files[1]);
        for arg in args.split_whitespace() {
            command.arg(if arg == "CA" { files[2].as_os_str() } else { arg.as_ref() });
        }
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = piped.spawn().expect("the program openssl");
        let printed = Arc::new((Mutex::new(String::new()), Condvar::new()));
        collect(process.stdout.take().unwrap(), &printed);
        collect(process.stderr.take().unwrap(), &printed);
        let mut server = Self { process, port: 0, printed, _folder: folder };
        let text = server.wait_for("ACCEPT 127.0.0.1:");
        let port = text.split("ACCEPT 127.0.0.1:").nth(1).and_then(|rest| rest.lines().next()).unwrap();
        server.port = port.parse().unwrap();
        server
    }

    /// What it has printed, once this is in it.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let (printed, news) = &*self.printed;
        // A whole line.
        let missing = |printed: &mut String| !printed.split_once(text).is_some_and(|(_, rest)| rest.contains('\n'));
        let (printed, timeout) = news.wait_timeout_while(printed.lock().unwrap(), PATIENCE, missing).unwrap();
        assert!(!timeout.timed_out(), "no {text:?} in {printed}");
        printed.clone()
    }

    /// Sends a line, or a command of one letter.
    pub(crate) fn say(&mut self, text: &str) {
        self.process.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn connect(&self, config: &TlsConfig) -> Result<Connection, String> {
        Connection::new(self.port, config)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn collect(mut from: impl Read + Send + 'static, into: &Arc<(Mutex<String>, Condvar)>) {
    let into = into.clone();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            into.0.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..len]));
            into.1.notify_all();
        }
    });
}

/// A client on a socket.
pub(crate) struct Connection {
    stream: TcpStream,
    pub(crate) client: Client,
}

impl Connection {
    /// Shakes hands.
    fn new(port: u16, config: &TlsConfig) -> Result<Self, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connection = Self { stream, client: Client::new(config, HOST)? };
        connection.read_until(|client| client.layers.is_open())?;
        Ok(connection)
    }

    /// Reads until this is so.
    pub(crate) fn read_until(&mut self, mut done: impl FnMut(&Client) -> bool) -> Result<(), String> {
        let mut buffer = [0; 4096];
        loop {
            self.flush();
            if done(&self.client) {
                return Ok(());
            }
            let len = match self.stream.read(&mut buffer) {
                Ok(0) => return Err("end of stream".into()),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err("reset".into()),
                Err(error) => panic!("{error}"),
            };
            let result = self.client.receive(&buffer[..len]);
            self.flush();
            result?;
        }
    }

    /// Reads until the server has had enough; why.
    pub(crate) fn read_to_end(&mut self) -> String {
        self.read_until(|_| false).unwrap_err()
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.client.send(text.as_bytes());
        self.flush();
    }

    fn flush(&mut self) {
        // Who has been told off need not listen.
        let _ = self.stream.write_all(&self.client.out);
        self.client.out.clear();
    }

    /// Data goes through in both directions. What the server has printed by then.
    pub(crate) fn assert_works(&mut self, server: &mut Server) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let ping = format!("ping {} of the client", NEXT.fetch_add(1, Ordering::Relaxed));
        self.send(&format!("{ping}\n"));
        let printed = server.wait_for(&ping);
        server.say("answer of the server\n");
        self.read_until(|client| client.up.ends_with(b"answer of the server\n")).unwrap();
        printed
    }

    /// Says goodbye and waits for the server's.
    pub(crate) fn close(mut self) {
        self.client.layers.close(&mut self.client.out);
        self.flush();
        let end = self.read_to_end();
        assert!(matches!(&end[..], "closed by the server" | "end of stream" | "reset"), "{end}");
    }
}
