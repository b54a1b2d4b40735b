//! The application: the functions of the C header, with what each may return and how long it may take.

use std::ffi::{CString, c_int};
use std::mem::MaybeUninit;
use std::sync::Arc;

use crate::events::{self, Event};
use crate::ffi::*;
use crate::world::{self, Place, note, sleep, with};
use crate::{server, world::Task};

pub(crate) const FAILURE: c_int = -5001;
pub(crate) const DISCONNECTED: c_int = -5003;
pub(crate) const WINDOW_FULL: c_int = -5004;
/// What the functions return for a handle that has ended.
pub(crate) const STALE: c_int = -5008;

/// Longest call: 30 s for a connect behind 10 s for a disconnect, 2 s for a task that is not run, and 1 s for its end.
const LONGEST: u64 = 43_000;

/// A handle, as the application keeps it: it may have ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handle(usize);

/// `wm_mqtt_client_init`.
pub(crate) fn init(id: &str, clean: bool) -> Handle {
    let (uri, id) = (CString::new("mqtt://broker").unwrap(), CString::new(id).unwrap());
    // SAFETY: all of it may be zero.
    let mut config: wm_mqtt_client_config_t = unsafe { MaybeUninit::zeroed().assume_init() };
    (config.uri, config.client_id) = (uri.as_ptr().cast_mut(), id.as_ptr().cast_mut());
    config.clean_session = clean.into();
    // SAFETY: the strings live until it returns.
    let handle = unsafe { wm_mqtt_client_init(&mut config) };
    assert!(!handle.is_null());
    Handle(handle.addr())
}

impl Handle {
    /// A call: it returns something that it may return, in time.
    #[track_caller]
    fn call(self, name: &str, may_return: &[c_int], call: impl FnOnce(wm_mqtt_client_handle_t) -> c_int) -> c_int {
        note(|| format!("{name}()"));
        let (start, stalled) = with(|w| (w.now, w.stalled));
        let result = call(self.0 as wm_mqtt_client_handle_t);
        note(|| format!("{name} = {result}"));
        let (ms, bound) = with(|w| (w.now - start, w.prompt.unwrap_or(LONGEST) + (w.stalled - stalled)));
        assert!(ms <= bound, "{name} took {ms} ms");
        assert!(result > 0 || result == STALE || may_return.contains(&result), "{name} returned {result}");
        result
    }

    /// The member that events name the client by.
    pub(crate) fn client(self) -> usize {
        // SAFETY: until deinit it can be read.
        unsafe { (*(self.0 as wm_mqtt_client_handle_t)).client }.addr()
    }

    pub(crate) fn connect(self) -> c_int {
        let refused = -5000 + c_int::from(with(|w| w.server.refuses));
        // SAFETY: any handle may be given.
        self.call("connect", &[0, FAILURE, DISCONNECTED, refused], |handle| unsafe { wm_mqtt_client_connect(handle) })
    }

    pub(crate) fn reconnect(self) -> c_int {
        // SAFETY: any handle may be given.
        self.call("reconnect", &[0, FAILURE, DISCONNECTED], |handle| unsafe { wm_mqtt_client_reconnect(handle) })
    }

    pub(crate) fn disconnect(self) -> c_int {
        // SAFETY: any handle may be given.
        self.call("disconnect", &[0, FAILURE], |handle| unsafe { wm_mqtt_client_disconnect(handle) })
    }

    pub(crate) fn deinit(self) -> c_int {
        // SAFETY: any handle may be given.
        self.call("deinit", &[0], |handle| unsafe { wm_mqtt_client_deinit(handle) })
    }

    pub(crate) fn subscribe(self) -> c_int {
        self.call("subscribe", &[FAILURE, DISCONNECTED], |handle| {
            // SAFETY: any handle may be given, and a string.
            unsafe { wm_mqtt_client_subscribe(handle, c"t".as_ptr(), 1) }
        })
    }

    pub(crate) fn unsubscribe(self) -> c_int {
        self.call("unsubscribe", &[FAILURE, DISCONNECTED], |handle| {
            // SAFETY: any handle may be given, and a string.
            unsafe { wm_mqtt_client_unsubscribe(handle, c"t".as_ptr()) }
        })
    }

    pub(crate) fn publish(self, message: &str, qos: u8) -> c_int {
        let text = CString::new(message).unwrap();
        self.call("publish", &[0, FAILURE, DISCONNECTED, WINDOW_FULL], |handle| {
            // SAFETY: any handle may be given, and strings.
            unsafe { wm_mqtt_client_publish(handle, c"t".as_ptr(), text.as_ptr(), 0, qos, 0) }
        })
    }
}

/// The tasks of the system that a scenario runs in.
pub(crate) struct System {
    server: Task,
    events: Task,
}

pub(crate) fn start() -> System {
    System { server: server::start(), events: events::start() }
}

/// The application's callback.
pub(crate) fn on_event(handler: impl Fn(&Event) + Send + Sync + 'static) {
    with(|w| w.queue.handler = Some(Arc::new(handler)));
}

/// All handles were ended: the MQTT task ends too, everything is delivered, and nothing is left.
pub(crate) fn finish(system: System) {
    let (start, stalled) = with(|w| (w.now, w.stalled));
    sleep(Place::MqttTask, None, |w| (w.mqtt_tasks == 0).then_some(()));
    let (ms, bound) = with(|w| (w.now - start, w.prompt.unwrap_or(11_000) + (w.stalled - stalled)));
    assert!(ms <= bound, "the MQTT task's end took {ms} ms");
    server::stop(system.server);
    events::stop(system.events);
    with(|w| w.queue.handler = None);
}

/// Runs all at a time, and waits for them.
pub(crate) fn together(bodies: Vec<Box<dyn FnOnce() + Send>>) {
    let tasks: Vec<Task> = bodies.into_iter().map(|body| world::spawn("app", body)).collect();
    tasks.into_iter().for_each(Task::join);
}

/// A list of bodies for [`together`].
#[macro_export]
macro_rules! tasks {
    ($($body:expr),* $(,)?) => { vec![$(Box::new($body) as Box<dyn FnOnce() + Send>),*] };
}
