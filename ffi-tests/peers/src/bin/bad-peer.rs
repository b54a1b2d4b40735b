//! The server that misbehaves. It says line by line what it sees, and quits when its standard input is closed:
//!
//! ```text
//! listening on 127.0.0.1:PORT
//! connection
//! step                         the client has come as far as --at says
//! end [WHY]                    of the action, of the client mostly
//! ```

use std::error::Error;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::exit;
use std::sync::Arc;
use std::{io, thread};

use lexopt::Arg::Long;
use lexopt::ValueExt;
use peers::bad::{self, ACTIONS, FRAGMENT, Identity, STEPS, Script};
use peers::report::Report;

const USAGE: &str = "\
usage: bad-peer --tls CERT KEY --at STEP --do ACTION [OPTION]...
       bad-peer --list

  --tls CERT KEY    a certificate chain and its key, for P-256, in PEM files
  --at STEP         so far the server does as it should
  --do ACTION       and then this
  --segment N       writes have N bytes at most, each sent at once
  --fragment N      records hold N bytes at most
  --certificates N  the chain has so many, its last one over and over
  --names N         a certificate is asked for, with so many names of authorities
  --list            prints the steps and the actions
";

fn main() {
    let script = match parse() {
        Ok(parsed) => parsed,
        Err(error) => fail(format!("{error}\n\n{USAGE}")),
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| fail(error));
    let report = Report::stdout();
    match listener.local_addr() {
        Ok(address) => report.line(format!("listening on {address}")),
        Err(error) => fail(error),
    }
    thread::spawn(move || fail(format!("{:?}", bad::serve(&listener, &script, &report))));

    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
}

fn parse() -> Result<Script, Box<dyn Error>> {
    let mut arguments = lexopt::Parser::from_env();
    let (mut step, mut action, mut identity) = (None, None, None);
    let (mut piece, mut fragment, mut names, mut certificates) = (usize::MAX, FRAGMENT, 0, 0);
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("tls") => {
                let certificate: PathBuf = arguments.value()?.into();
                identity = Some(Identity::new(&certificate, &PathBuf::from(arguments.value()?))?);
            }
            Long("at") => {
                let name = arguments.value()?.string()?;
                step = Some(STEPS.iter().find(|one| one.name == name).ok_or(format!("no step {name}"))?);
            }
            Long("do") => {
                let name = arguments.value()?.string()?;
                action = Some(ACTIONS.iter().find(|one| one.name == name).ok_or(format!("no action {name}"))?);
            }
            Long("segment") => piece = arguments.value()?.parse()?,
            Long("fragment") => fragment = arguments.value()?.parse()?,
            Long("certificates") => certificates = arguments.value()?.parse()?,
            Long("names") => names = arguments.value()?.parse()?,
            Long("list") => {
                STEPS.iter().for_each(|step| println!("step {}", step.name));
                ACTIONS.iter().for_each(|action| println!("action {}", action.name));
                exit(0);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if piece == 0 || fragment == 0 {
        return Err("a size of 0".into());
    }
    let (step, action) = (step.ok_or("no --at")?, action.ok_or("no --do")?);
    let mut identity = identity.ok_or("no --tls")?;
    identity.repeat_up_to(certificates);
    Ok(Script { step, action, identity: Arc::new(identity), piece, fragment, names })
}

fn fail(message: impl std::fmt::Display) -> ! {
    eprintln!("bad-peer: {message}");
    exit(1)
}
