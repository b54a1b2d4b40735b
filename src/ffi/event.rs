//! Events on their way to the SDK's queue, and news of their delivery.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::{MaybeUninit, size_of};
use core::ptr::{null, null_mut, without_provenance_mut};

use super::handle::hub;
use super::types::*;
use crate::client::{Events, Notification};
use crate::port::{CBuffer, Platform};
use crate::protocol::{Buffer, Message};

/// The SDK's `wm_event_group_t`, in a form that statics may have.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct EventGroup(*const c_char);

// SAFETY: the pointer is to a constant and is only ever compared and read.
unsafe impl Sync for EventGroup {}

const GROUP: &CStr = c"WM_MQTT_EV";

/// The group of this component's events (the SDK's `WM_EVENT_DEFINE_GROUP(WM_MQTT_EV)`). Groups are compared by pointer.
///
/// cbindgen:ignore
#[unsafe(no_mangle)]
pub static WM_MQTT_EV: EventGroup = EventGroup(GROUP.as_ptr());

/// The group of our probes, which are for ourselves.
static PROBE: EventGroup = EventGroup(c"WM_MQTT_PROBE".as_ptr());

type Callback = extern "C" fn(EventGroup, c_int, *mut c_void, *mut c_void);

/// The one registration that delivers events and probes.
const ANY_GROUP: EventGroup = EventGroup(null());
const ANY_TYPE: c_int = -1;

unsafe extern "C" {
    fn wm_event_add_callback(group: EventGroup, event: c_int, callback: Callback, private: *mut c_void) -> c_int;
    fn wm_event_remove_callback(group: EventGroup, event: c_int, callback: Callback, private: *mut c_void) -> c_int;
    fn wm_event_send(group: EventGroup, event: c_int, data: *mut c_void, size: usize) -> c_int;
}

/// The SDK's event queue.
pub(super) struct SdkEvents;

impl Events<Platform> for SdkEvents {
    fn listen(&self) -> bool {
        // SAFETY: the callback lives as long as the program. Registering it twice is one registration.
        unsafe { wm_event_add_callback(ANY_GROUP, ANY_TYPE, delivered, null_mut()) == 0 }
    }

    fn unlisten(&self) {
        // A full event queue refuses the removal: the callback stays registered, and is called for no event.
        // SAFETY: as above.
        unsafe { wm_event_remove_callback(ANY_GROUP, ANY_TYPE, delivered, null_mut()) };
    }

    fn send(&self, event: &mut Option<Notification<CBuffer>>) -> bool {
        let Some(notification) = event else { return true };
        // The SDK copies all bytes of the struct, its padding too, so none may be left unwritten.
        let mut data: MaybeUninit<wm_mqtt_event_data_un> = MaybeUninit::zeroed();
        let (number, has_data) = describe(notification, &mut data);
        let (pointer, size) = match has_data {
            true => (data.as_mut_ptr().cast(), size_of::<wm_mqtt_event_data_un>()),
            false => (null_mut(), 0),
        };
        // SAFETY: the queue copies `size` bytes from `pointer`, which has them, before it returns.
        if unsafe { wm_event_send(WM_MQTT_EV, number as c_int, pointer, size) } != 0 {
            return false;
        }
        if let Some(Notification::Data { message, .. }) = event.take() {
            // Topic and payload belong to the application now: the event carries the pointers.
            let Message { topic, payload, .. } = message;
            let _ = (topic.into_raw(), payload.map(CBuffer::into_raw));
        }
        true
    }

    fn probe(&self, number: u32) -> bool {
        // SAFETY: it has no data.
        unsafe { wm_event_send(PROBE, number as c_int, null_mut(), 0) == 0 }
    }
}

/// The event's number, and whether it carries data, which is then written.
fn describe(
    event: &Notification<CBuffer>,
    data: &mut MaybeUninit<wm_mqtt_event_data_un>,
) -> (wm_event_mqtt_client, bool) {
    use wm_event_mqtt_client::*;
    let data = data.as_mut_ptr();
    // SAFETY: each write is to a member of the union that `data` points to, through places, without reading any.
    unsafe {
        match event {
            Notification::Connected => (WM_EVENT_MQTT_CLIENT_CONNECTED, false),
            Notification::Disconnected { client: None } => (WM_EVENT_MQTT_CLIENT_DISCONNECTED, false),
            Notification::Disconnected { client: Some(client) } => {
                (*data).mqtt_client_disconnect_info.client_handle = without_provenance_mut(*client);
                (WM_EVENT_MQTT_CLIENT_DISCONNECTED, true)
            }
            Notification::Data { client, message } => {
                let info = &raw mut (*data).mqtt_client_data_info;
                let (payload, payload_len) = match &message.payload {
                    Some(payload) => (payload.as_ptr(), payload.as_slice().len()),
                    None => (null_mut(), 0),
                };
                (*info).topic = message.topic.as_ptr();
                (*info).topic_len = message.topic.as_slice().len() as u16;
                (*info).payload = payload;
                (*info).payload_len = payload_len as u16;
                (*info).msgid = message.id.into();
                (*info).qos = message.qos.level();
                (*info).dup = message.dup.into();
                (*info).retained = message.retain.into();
                (*info).client_handle = without_provenance_mut(*client);
                (WM_EVENT_MQTT_CLIENT_DATA, true)
            }
            Notification::Published { id } => {
                (*data).mqtt_client_published_info.msg_id = (*id).into();
                (WM_EVENT_MQTT_CLIENT_PUBLISHED, true)
            }
        }
    }
}

/// Runs in the event task for each event of any group; for ours beside the application's callbacks.
extern "C" fn delivered(group: EventGroup, number: c_int, _: *mut c_void, _: *mut c_void) {
    let Some(hub) = hub() else { return };
    // The application may send events of its own in our group.
    if group.0 == WM_MQTT_EV.0 && (0..=wm_event_mqtt_client::WM_EVENT_MQTT_CLIENT_PUBLISHED as c_int).contains(&number)
    {
        hub.delivered(None);
    } else if group.0 == PROBE.0 {
        hub.delivered(Some(number as u32));
    }
}
