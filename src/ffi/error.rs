//! Errors as C sees them: one exhaustive table.

use core::ffi::c_int;

use super::types::wm_mqtt_client_error_code_en as Code;
use super::types::*;
use crate::client::Error;
use crate::protocol::ConnectReturnCode;

/// A failed call's return value.
pub(super) fn code(error: Error) -> c_int {
    match error {
        Error::Failure => Code::WM_MQTT_CLIENT_ERROR_FAILURE as c_int,
        Error::Disconnected => Code::WM_MQTT_CLIENT_ERROR_DISCONNECTED as c_int,
        Error::MaxMessagesInFlight => Code::WM_MQTT_CLIENT_ERROR_MAX_MESSAGES_INFLIGHT as c_int,
        Error::BadUtf8String => Code::WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING as c_int,
        Error::TopicNameTruncated => Code::WM_MQTT_CLIENT_ERROR_TOPICNAME_TRUNCATED as c_int,
        Error::BadQoS => Code::WM_MQTT_CLIENT_ERROR_BAD_QOS as c_int,
        Error::TlsNotSupported => Code::WM_MQTT_CLIENT_ERROR_SSL_NOT_SUPPORTED as c_int,
        Error::EmptyWillTopic => Code::WM_MQTT_CLIENT_ERROR_0_LEN_WILL_TOPIC as c_int,
        Error::SubscribeRefused => WM_MQTT_CLIENT_SUBSCRIBE_REFUSED,
        Error::Refused(code) => match code {
            ConnectReturnCode::UnacceptableProtocolVersion => WM_MQTT_CLIENT_CONNACK_BAD_VERSION,
            ConnectReturnCode::IdentifierRejected => WM_MQTT_CLIENT_CONNACK_ID_REJECTED,
            ConnectReturnCode::ServerUnavailable => WM_MQTT_CLIENT_CONNACK_SERVER_UNAVAILABLE,
            ConnectReturnCode::BadUserNameOrPassword => WM_MQTT_CLIENT_CONNACK_BAD_CREDENTIALS,
            ConnectReturnCode::NotAuthorized => WM_MQTT_CLIENT_CONNACK_NOT_AUTHORIZED,
        },
    }
}
