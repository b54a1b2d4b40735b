//! What stands for [`handshake`](super) without TLS: nothing, and no code.

use core::convert::Infallible;
use core::marker::PhantomData;

use super::Client;
use super::connection_error::ConnectionError;
use super::pipe::Pipe;
use crate::port::{Port, Shared};
use crate::transport::uri::Uri;

/// A configuration that cannot exist.
pub(super) type TlsConfig = Infallible;

/// A handshake that cannot exist.
pub(super) struct Handshake<P: Port>(Infallible, PhantomData<P>);

impl<P: Port> Handshake<P> {
    /// [`Config::check`](super::Config::check) has refused a URI that asks for it.
    pub(super) fn begin(
        _: &Shared<Client<P>>,
        _: &Uri<'_>,
        _: Option<&TlsConfig>,
    ) -> Result<Option<Self>, ConnectionError> {
        Ok(None)
    }

    pub(super) fn advance(
        &self,
        _: &mut Pipe<P>,
        _: &mut [u8],
        _: &mut Option<TlsConfig>,
    ) -> Result<bool, ConnectionError> {
        match self.0 {}
    }
}
