//! Which layers a client's connections have, and what these share from one connection to the next.

use alloc::vec::Vec;
use core::marker::PhantomData;

#[cfg(feature = "tls")]
use super::AuthMode;
use super::Config;
use super::trouble::Trouble;
#[cfg(feature = "tls")]
use crate::log;
use crate::port::Port;
#[cfg(feature = "tls")]
use crate::transport::tls::{self, Settings, TlsConfig};
use crate::transport::uri::Uri;
use crate::transport::{LayerError, Layers, find_free};

/// Lives from a client's first connect to its deinit. What is switched off, [`Config::check`] has refused.
pub(super) struct Security<P: Port> {
    #[cfg(feature = "tls")]
    tls: Option<TlsConfig>,
    port: PhantomData<P>,
}

impl<P: Port> Security<P> {
    pub(super) fn new() -> Self {
        Self {
            #[cfg(feature = "tls")]
            tls: None,
            port: PhantomData,
        }
    }

    /// The layers that the scheme asks for; what they begin with is appended to `out`.
    pub(super) fn begin(&self, uri: &Uri<'_>, out: &mut Vec<u8>) -> Result<Layers, Trouble> {
        let mut layers = Layers::default();
        if uri.scheme.tls {
            self.begin_tls(&mut layers, uri, out)?;
        }
        if uri.scheme.websocket {
            self.begin_websocket(&mut layers, uri, out)?;
        }
        Ok(layers)
    }

    /// Parses certificates and key, once for all connections.
    #[cfg(feature = "tls")]
    pub(super) fn prepare(&mut self, config: &Config, uri: &Uri<'_>) -> Result<(), Trouble> {
        if uri.scheme.tls && self.tls.is_none() {
            self.tls = Some(handshake_step::<P, _>(|| tls_config::<P>(config))?);
        }
        Ok(())
    }

    #[cfg(not(feature = "tls"))]
    pub(super) fn prepare(&mut self, _: &Config, _: &Uri<'_>) -> Result<(), Trouble> {
        Ok(())
    }

    #[cfg(feature = "tls")]
    fn begin_tls(&self, layers: &mut Layers, uri: &Uri<'_>, out: &mut Vec<u8>) -> Result<(), Trouble> {
        let Some(config) = &self.tls else { return Ok(()) };
        handshake_step::<P, _>(|| layers.begin_tls(config, uri.host, out))
    }

    #[cfg(not(feature = "tls"))]
    fn begin_tls(&self, _: &mut Layers, _: &Uri<'_>, _: &mut Vec<u8>) -> Result<(), Trouble> {
        Ok(())
    }

    #[cfg(feature = "websocket")]
    fn begin_websocket(&self, layers: &mut Layers, uri: &Uri<'_>, out: &mut Vec<u8>) -> Result<(), Trouble> {
        layers.begin_websocket(uri, P::random, out).map_err(Trouble::Layer)
    }

    #[cfg(not(feature = "websocket"))]
    fn begin_websocket(&self, _: &mut Layers, _: &Uri<'_>, _: &mut Vec<u8>) -> Result<(), Trouble> {
        Ok(())
    }
}

/// A step of TLS's handshake: on a stack that is large enough for it, and not without the heap that rustls will use. It
/// ends the program where a library for a device should return an error.
pub(super) fn handshake_step<P: Port, R>(work: impl FnOnce() -> Result<R, LayerError>) -> Result<R, Trouble> {
    let step = || {
        if !find_free([P::limits().handshake]) {
            return Err(Trouble::NoMemory);
        }
        work().map_err(Trouble::Layer)
    };
    P::on_deep_stack(step).unwrap_or(Err(Trouble::NoMemory))
}

#[cfg(feature = "tls")]
fn tls_config<P: Port>(config: &Config) -> Result<TlsConfig, LayerError> {
    let AuthMode { verify, present } = config.auth_mode;
    let identity = match (present, config.cert.as_deref(), config.key.as_deref()) {
        (false, ..) => None,
        (true, Some(cert), Some(key)) => Some((cert, key)),
        _ => return Err(tls::Error::Setup("auth_mode 2 and 3 need `cert` and `key`").into()),
    };
    if !verify {
        log::warn(&[&"the server is not verified (auth_mode): whoever is in between can read and change all"]);
    }
    let mut alpn = Vec::new();
    for name in &config.alpn {
        let mut copy = Vec::new();
        copy.try_reserve_exact(name.len()).and_then(|()| alpn.try_reserve(1)).map_err(|_| tls::Error::NoMemory)?;
        copy.extend_from_slice(name);
        alpn.push(copy);
    }
    let settings = Settings {
        verify,
        ca: config.ca.as_deref(),
        authorities: P::authorities(),
        identity,
        alpn,
        tls12: P::parts().tls12,
        record: P::limits().record,
        chain: P::limits().chain,
        names: P::limits().names,
        clock: P::unix_time,
    };
    Ok(TlsConfig::new(settings)?)
}
