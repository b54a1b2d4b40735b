//! The SDK's event queue, which the library calls through the SDK's functions, and the task that delivers.

use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::Arc;

use crate::ffi::*;
use crate::world::{self, Place, note, point, sleep, wake, with};

type Callback = extern "C" fn(*const c_char, c_int, *mut c_void, *mut c_void);

enum Entry {
    Event(usize, c_int, Option<wm_mqtt_event_data_t>),
    Add(Callback),
    Remove(Callback),
}

/// An event as the application sees it. What a callback frees is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Connected,
    /// With the client that lost its connection.
    Disconnected(Option<usize>),
    Data {
        client: usize,
        qos: u8,
        payload: Vec<u8>,
    },
    Published(c_int),
}

pub(crate) type Handler = Arc<dyn Fn(&Event) + Send + Sync>;

pub(crate) struct Queue {
    entries: VecDeque<Entry>,
    pub(crate) size: usize,
    callbacks: Vec<Callback>,
    /// The application's, registered before or behind the library's.
    pub(crate) handler: Option<Handler>,
    ours_first: bool,
    /// Milliseconds that each callback takes.
    pub(crate) slow: u64,
    is_over: bool,
    /// The library has registered its callback, and not asked for the end of that.
    registered: bool,
    /// What was delivered.
    pub(crate) delivered: Vec<Event>,
    /// Messages that the queue has accepted.
    pub(crate) accepted: Vec<Vec<u8>>,
}

impl Queue {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            size,
            callbacks: Vec::new(),
            handler: None,
            ours_first: false,
            slow: 0,
            is_over: false,
            registered: false,
            delivered: Vec::new(),
            accepted: Vec::new(),
        }
    }

    pub(crate) fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.delivered.iter().filter(|event| wanted(event)).count()
    }
}

/// Puts an entry into the queue: 0, or the SDK's error when it is full.
fn enter(entry: Entry) -> c_int {
    point();
    let entered = with(|w| {
        w.unlocked("an event");
        let has_room = w.queue.entries.len() < w.queue.size;
        if has_room && matches!(entry, Entry::Add(_)) {
            assert!(!w.queue.registered || w.stalled > 0, "registered anew, though no delivery has failed to come");
            w.queue.registered = true;
        }
        w.queue.registered &= !matches!(entry, Entry::Remove(_));
        if has_room {
            if let Entry::Event(_, 2, Some(data)) = &entry {
                // SAFETY: an event with number 2 carries this member.
                let payload = unsafe { bytes(data.mqtt_client_data_info.payload) };
                w.queue.accepted.push(payload);
            }
            w.queue.entries.push_back(entry);
        }
        has_room
    });
    if !entered {
        return -1;
    }
    wake(Place::Queue);
    0
}

/// # Safety
/// It is NULL or a string.
unsafe fn bytes(text: *const c_char) -> Vec<u8> {
    if text.is_null() { Vec::new() } else { unsafe { CStr::from_ptr(text) }.to_bytes().to_vec() }
}

#[unsafe(no_mangle)]
extern "C" fn wm_event_add_callback(group: *const c_char, _: c_int, callback: Callback, _: *mut c_void) -> c_int {
    assert!(group.is_null(), "the library listens to all groups");
    enter(Entry::Add(callback))
}

#[unsafe(no_mangle)]
extern "C" fn wm_event_remove_callback(_: *const c_char, _: c_int, callback: Callback, _: *mut c_void) -> c_int {
    enter(Entry::Remove(callback))
}

#[unsafe(no_mangle)]
extern "C" fn wm_event_send(group: *const c_char, event: c_int, data: *mut c_void, size: usize) -> c_int {
    assert!(size == 0 || size == size_of::<wm_mqtt_event_data_t>());
    // SAFETY: so many bytes, or NULL.
    let data = unsafe { data.cast::<wm_mqtt_event_data_t>().as_ref() }.copied();
    enter(Entry::Event(group.addr(), event, data))
}

/// What the event means, in the application's callback, which frees what it owns.
fn take(event: c_int, data: Option<&wm_mqtt_event_data_t>) -> Event {
    match (event, data) {
        (0, None) => Event::Connected,
        (1, None) => Event::Disconnected(None),
        // SAFETY: an event with number 1 and data carries this member.
        (1, Some(data)) => Event::Disconnected(Some(unsafe { data.mqtt_client_disconnect_info }.client_handle.addr())),
        (2, Some(data)) => {
            // SAFETY: an event with number 2 carries this member; topic and payload are C's memory, given to us.
            unsafe {
                let info = data.mqtt_client_data_info;
                let payload = bytes(info.payload);
                libc::free(info.topic.cast());
                libc::free(info.payload.cast());
                Event::Data { client: info.client_handle.addr(), qos: info.qos, payload }
            }
        }
        // SAFETY: an event with number 3 carries this member.
        (3, Some(data)) => Event::Published(unsafe { data.mqtt_client_published_info }.msg_id),
        (event, _) => panic!("event {event}, or its data, is none of ours"),
    }
}

fn deliver(group: usize, event: c_int, mut data: Option<wm_mqtt_event_data_t>) {
    let (callbacks, handler, slow) = with(|w| (w.queue.callbacks.clone(), w.queue.handler.clone(), w.queue.slow));
    // SAFETY: an event group is a pointer.
    let is_ours = group == unsafe { (&raw const WM_MQTT_EV).cast::<usize>().read() };
    let app = |data: &Option<wm_mqtt_event_data_t>| {
        if !is_ours {
            return;
        }
        if slow > 0 {
            world::nap(slow);
        }
        let event = take(event, data.as_ref());
        note(|| format!("{event:?}"));
        with(|w| w.queue.delivered.push(event.clone()));
        wake(Place::App);
        if let Some(handler) = handler {
            handler(&event);
        }
    };
    let ours = |data: &mut Option<wm_mqtt_event_data_t>| {
        for callback in callbacks {
            let pointer = data.as_mut().map_or(null_mut(), |data| (&raw mut *data).cast());
            callback(group as *const c_char, event, pointer, null_mut());
        }
    };
    if with(|w| w.queue.ours_first) {
        ours(&mut data);
        app(&data);
    } else {
        app(&data);
        ours(&mut data);
    }
}

/// Starts the event task.
pub(crate) fn start() -> world::Task {
    let ours_first = world::below(2) == 0;
    with(|w| w.queue.ours_first = ours_first);
    world::spawn("events", || {
        while let Some(entry) = sleep(Place::Queue, None, |w| match w.queue.entries.pop_front() {
            None if w.queue.is_over => Some(None),
            entry => entry.map(Some),
        })
        .flatten()
        {
            match entry {
                Entry::Event(group, event, data) => deliver(group, event, data),
                Entry::Add(callback) => with(|w| {
                    if !w.queue.callbacks.iter().any(|known| std::ptr::fn_addr_eq(*known, callback)) {
                        w.queue.callbacks.push(callback);
                    }
                }),
                Entry::Remove(callback) => {
                    with(|w| w.queue.callbacks.retain(|known| !std::ptr::fn_addr_eq(*known, callback)))
                }
            }
        }
    })
}

/// Ends it, behind what is in the queue.
pub(crate) fn stop(task: world::Task) {
    with(|w| w.queue.is_over = true);
    wake(Place::Queue);
    task.join();
}
