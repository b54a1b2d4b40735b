//! Certificates for the tests and the demo: a table of what is wanted, and what makes it.

use std::error::Error;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
};
use time::{Duration, OffsetDateTime};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The names of the machine that the tests run on.
pub const LOCAL: &[&str] = &["localhost", "127.0.0.1", "::1"];

/// One certificate with its key: `NAME.pem` and `NAME.key`. [`SERVER`] has the usual values.
#[derive(Clone, Copy)]
pub struct Recipe {
    pub name: &'static str,
    /// NAME if empty.
    pub common_name: &'static str,
    /// Host names and addresses in subjectAltName.
    pub names: &'static [&'static str],
    pub key: Key,
    pub signer: Signer,
    /// From when to when, in days from now.
    pub days: (i64, i64),
    pub role: Role,
}

#[derive(Clone, Copy)]
pub enum Key {
    P256,
    P384,
    Ed25519,
    /// With so many bits.
    Rsa(u32),
}

#[derive(Clone, Copy)]
pub enum Signer {
    Ca,
    OtherCa,
    /// `rsa-ca.pem`, with 2048 bits.
    RsaCa,
    /// By way of two others of 4096 bits; all of them are in the file, `rsa4096-ca.pem` too.
    Rsa4096Ca,
    /// By way of an intermediate, which is in the file too.
    Intermediate,
    Itself,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Role {
    Server,
    Client,
    /// A server's with basicConstraints CA:TRUE, as `openssl req -x509` makes them.
    ServerAndCa,
}

const VALID: (i64, i64) = (-1, 3650);

pub const SERVER: Recipe = Recipe {
    name: "server",
    common_name: "",
    names: LOCAL,
    key: Key::P256,
    signer: Signer::Ca,
    days: VALID,
    role: Role::Server,
};
pub const CLIENT: Recipe = Recipe { name: "client", names: &[], role: Role::Client, ..SERVER };
const SELF_SIGNED: Recipe = Recipe { name: "self-signed", signer: Signer::Itself, ..SERVER };
const SELF_SIGNED_CA: Recipe = Recipe { name: "self-signed-ca", role: Role::ServerAndCa, ..SELF_SIGNED };

const RECIPES: &[Recipe] = &[
    // The slow ones first.
    Recipe { name: "server-rsa4096-chain", key: Key::Rsa(4096), signer: Signer::Rsa4096Ca, ..SERVER },
    Recipe { name: "client-rsa4096", key: Key::Rsa(4096), ..CLIENT },
    Recipe { name: "server-rsa4096", key: Key::Rsa(4096), ..SERVER },
    Recipe { name: "server-rsa3072", key: Key::Rsa(3072), ..SERVER },
    Recipe { name: "server-rsa2048", key: Key::Rsa(2048), ..SERVER },
    Recipe { name: "server-rsa-chain", key: Key::Rsa(2048), signer: Signer::RsaCa, ..SERVER },
    Recipe { name: "client-rsa", key: Key::Rsa(2048), ..CLIENT },
    SERVER,
    Recipe { name: "server-p384", key: Key::P384, ..SERVER },
    Recipe { name: "server-ed25519", key: Key::Ed25519, ..SERVER },
    Recipe { name: "expired", days: (-30, -1), ..SERVER },
    Recipe { name: "not-yet-valid", days: (30, 3650), ..SERVER },
    Recipe { name: "wrong-host", names: &["example.org"], ..SERVER },
    Recipe { name: "ip-only", names: &["127.0.0.1"], ..SERVER },
    Recipe { name: "name-only", names: &["localhost"], ..SERVER },
    Recipe { name: "wildcard", names: &["*.localdomain.test"], ..SERVER },
    Recipe { name: "cn-only", common_name: "localhost", names: &[], ..SERVER },
    Recipe { name: "intermediate", signer: Signer::Intermediate, ..SERVER },
    Recipe { name: "other-server", signer: Signer::OtherCa, ..SERVER },
    SELF_SIGNED,
    SELF_SIGNED_CA,
    Recipe { name: "self-signed-expired", days: (-30, -1), ..SELF_SIGNED_CA },
    Recipe { name: "self-signed-wrong-host", names: &["example.org"], ..SELF_SIGNED_CA },
    CLIENT,
    Recipe { name: "client-ed25519", key: Key::Ed25519, ..CLIENT },
    Recipe { name: "other-client", signer: Signer::OtherCa, ..CLIENT },
];

/// A folder of certificates and the authorities that sign them.
pub struct Folder {
    path: PathBuf,
    ca: Issuer<'static, KeyPair>,
    other_ca: Issuer<'static, KeyPair>,
    intermediate: (Certificate, Issuer<'static, KeyPair>),
}

impl Folder {
    /// Writes `ca.pem` into a folder that exists.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let (certificate, ca) = authority("wm-mqtt-client test CA", KeyPair::generate()?, None)?;
        fs::write(path.join("ca.pem"), certificate.pem())?;
        let (certificate, other_ca) = authority("another CA", KeyPair::generate()?, None)?;
        fs::write(path.join("other-ca.pem"), certificate.pem())?;
        let intermediate = authority("wm-mqtt-client intermediate CA", KeyPair::generate()?, Some(&ca))?;
        Ok(Folder { path, ca, other_ca, intermediate })
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Everything that the tests use. The program `openssl` makes what ring cannot.
    pub fn fill(&self) -> Result<()> {
        thread::scope(|scope| {
            let by_openssl = [scope.spawn(|| self.legacy()), scope.spawn(|| self.mosquittos_recipe())];
            // Each on a thread of its own: large RSA keys take their time.
            let all: Vec<_> = RECIPES.iter().map(|recipe| scope.spawn(|| self.make(recipe))).collect();
            for thread in all.into_iter().chain(by_openssl) {
                thread.join().map_err(|_| "a thread has panicked")??;
            }
            Ok::<(), Box<dyn Error + Send + Sync>>(())
        })?;
        let chain = fs::read_to_string(self.file("intermediate.pem"))?;
        const END: &str = "-----END CERTIFICATE-----\n";
        let (alone, _) = chain.split_once(END).ok_or("intermediate.pem holds no certificate")?;
        fs::write(self.file("missing-intermediate.pem"), alone.to_owned() + END)?;
        self.write_key("missing-intermediate.key", &fs::read_to_string(self.file("intermediate.key"))?)?;
        // The client's keys in the two older formats.
        self.convert_key("client.key", "client-sec1.key")?;
        self.hundred()?;
        self.convert_key("client-rsa.key", "client-rsa-pkcs1.key")
    }

    /// Makes one certificate and its key.
    pub fn make(&self, recipe: &Recipe) -> Result<()> {
        let mut params = CertificateParams::new(recipe.names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let common_name = if recipe.common_name.is_empty() { recipe.name } else { recipe.common_name };
        params.distinguished_name = common(common_name);
        params.not_before = OffsetDateTime::now_utc() + Duration::days(recipe.days.0);
        params.not_after = OffsetDateTime::now_utc() + Duration::days(recipe.days.1);
        if recipe.role == Role::ServerAndCa {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        } else {
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![match recipe.role {
                Role::Client => ExtendedKeyUsagePurpose::ClientAuth,
                _ => ExtendedKeyUsagePurpose::ServerAuth,
            }];
        }
        let key = self.key(recipe)?;
        let chain = match recipe.signer {
            Signer::Ca => params.signed_by(&key, &self.ca)?.pem(),
            Signer::OtherCa => params.signed_by(&key, &self.other_ca)?.pem(),
            Signer::RsaCa => params.signed_by(&key, &self.rsa_ca()?)?.pem(),
            Signer::Rsa4096Ca => self.rsa4096_chain(params, &key)?,
            Signer::Intermediate => params.signed_by(&key, &self.intermediate.1)?.pem() + &self.intermediate.0.pem(),
            Signer::Itself => params.self_signed(&key)?.pem(),
        };
        fs::write(self.file(&format!("{}.pem", recipe.name)), chain)?;
        self.write_key(&format!("{}.key", recipe.name), &key.serialize_pem())
    }

    fn rsa_ca(&self) -> Result<Issuer<'static, KeyPair>> {
        let key = self.key(&Recipe { name: "rsa-ca", key: Key::Rsa(2048), ..SERVER })?;
        let (certificate, ca) = authority("an RSA CA", key, None)?;
        fs::write(self.file("rsa-ca.pem"), certificate.pem())?;
        Ok(ca)
    }

    fn rsa4096_chain(&self, params: CertificateParams, key: &KeyPair) -> Result<String> {
        let recipe = Recipe { name: "rsa4096-ca", key: Key::Rsa(4096), ..SERVER };
        let (root, ca) = authority("an RSA CA of 4096 bits", self.key(&recipe)?, None)?;
        let (first, ca) = authority("an RSA intermediate CA of 4096 bits", self.key(&recipe)?, Some(&ca))?;
        let (second, ca) = authority("another RSA intermediate CA of 4096 bits", self.key(&recipe)?, Some(&ca))?;
        fs::write(self.file("rsa4096-ca.pem"), root.pem())?;
        Ok(params.signed_by(key, &ca)?.pem() + &second.pem() + &first.pem() + &root.pem())
    }

    /// `hundred-cas.pem`: `ca.pem` and 99 others, with long names.
    fn hundred(&self) -> Result<()> {
        let mut all = fs::read_to_string(self.file("ca.pem"))?;
        for number in 1..100 {
            let name = format!("one of many authorities whose names a server sends to its clients, number {number:02}");
            all += &authority(&name, KeyPair::generate()?, None)?.0.pem();
        }
        Ok(fs::write(self.file("hundred-cas.pem"), all)?)
    }

    fn key(&self, recipe: &Recipe) -> Result<KeyPair> {
        Ok(match recipe.key {
            Key::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
            Key::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?,
            // In PKCS#8 version 1, as people have it; ring writes version 2, which OpenSSL 3.0 cannot read.
            Key::Ed25519 => KeyPair::from_pem(&self.openssl(&["genpkey", "-algorithm", "ED25519"])?)?,
            Key::Rsa(bits) => {
                // One that is there from an earlier run is good enough: large ones take seconds.
                let old = fs::read_to_string(self.file(&format!("{}.key", recipe.name)));
                if let Some(key) = old.ok().and_then(|pem| KeyPair::from_pem(&pem).ok()) {
                    return Ok(key);
                }
                let bits = format!("rsa_keygen_bits:{bits}");
                let key = self.openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", &bits])?;
                self.write_key(&format!("{}.key", recipe.name), &key)?;
                KeyPair::from_pem(&key)?
            }
        })
    }

    /// What only switched off verification accepts: version 1, no subjectAltName, RSA with 1024 bits, SHA-1.
    fn legacy(&self) -> Result<()> {
        let key = self.openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"])?;
        self.write_key("legacy-v1.key", &key)?;
        let request = ["req", "-new", "-key", "legacy-v1.key", "-subj", "/CN=localhost", "-out", "legacy-v1.csr"];
        self.openssl(&request)?;
        let sign = ["x509", "-req", "-in", "legacy-v1.csr", "-signkey", "legacy-v1.key", "-sha1", "-days", "3650"];
        fs::write(self.file("legacy-v1.pem"), self.openssl(&sign)?)?;
        Ok(fs::remove_file(self.file("legacy-v1.csr"))?)
    }

    /// `recipe-ca.pem` and `recipe.pem`, by the commands in mosquitto's manual (`man mosquitto-tls`). OpenSSL before 3.2 makes
    /// a certificate of version 1 by them; any version makes one without subjectAltName.
    fn mosquittos_recipe(&self) -> Result<()> {
        let commands = [
            "req -new -x509 -days 3650 -extensions v3_ca -keyout recipe-ca.key -out recipe-ca.pem -nodes -subj /CN=CA",
            "genrsa -out recipe.key 2048",
            "req -out recipe.csr -key recipe.key -new -subj /CN=localhost",
            "x509 -req -in recipe.csr -CA recipe-ca.pem -CAkey recipe-ca.key -CAcreateserial -out recipe.pem -days 3650",
        ];
        for command in commands {
            self.openssl(&command.split(' ').collect::<Vec<_>>())?;
        }
        for name in ["recipe-ca.key", "recipe.csr"] {
            fs::remove_file(self.file(name))?;
        }
        Ok(())
    }

    /// PKCS#8 to the format that came before it: SEC1 for elliptic curves, PKCS#1 for RSA.
    fn convert_key(&self, from: &str, to: &str) -> Result<()> {
        self.write_key(to, &self.openssl(&["pkey", "-in", from, "-traditional"])?)
    }

    fn openssl(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(&self.path)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("openssl: {error}"))?;
        if !output.status.success() {
            return Err(format!("openssl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn write_key(&self, name: &str, pem: &str) -> Result<()> {
        write_private(&self.file(name), pem)
    }
}

fn write_private(file: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
    file.set_permissions(Permissions::from_mode(0o600))?; // it may have existed
    Ok(file.write_all(text.as_bytes())?)
}

/// A new authority, signed by itself or by another one.
fn authority(
    name: &str,
    key: KeyPair,
    signer: Option<&Issuer<KeyPair>>,
) -> Result<(Certificate, Issuer<'static, KeyPair>)> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common(name);
    params.not_before = OffsetDateTime::now_utc() + Duration::days(VALID.0);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(VALID.1);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = match signer {
        Some(signer) => params.signed_by(&key, signer)?,
        None => params.self_signed(&key)?,
    };
    Ok((certificate, Issuer::new(params, key)))
}

fn common(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
