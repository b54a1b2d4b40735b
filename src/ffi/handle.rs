//! Handles: blocks of memory that C may read, and that stay recognisable for a while after their end.

use alloc::alloc::{Layout, alloc, dealloc};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::{c_char, c_void};
use core::ptr::{NonNull, null_mut, without_provenance_mut};

use super::event::SdkEvents;
use super::types::*;
use crate::client::{Client, Hub, Text};
use crate::port::{Platform, Shared};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

/// The hub of this program. Made by the first init, and never freed: a stale handle may turn up at any time.
static HUB: AtomicPtr<Hub<Platform>> = AtomicPtr::new(null_mut());

const HUB_LAYOUT: Layout = Layout::new::<Hub<Platform>>();

/// The hub, once there is one.
#[cfg_attr(feature = "freertos", inline(never))] // 24 bytes of flash less
pub(super) fn hub() -> Option<&'static Hub<Platform>> {
    // SAFETY: NULL, or a hub that was leaked by `hub_or_new` and is only ever shared.
    unsafe { HUB.load(Ordering::Acquire).as_ref() }
}

/// The hub; `None` when there is no memory for it.
pub(super) fn hub_or_new() -> Option<&'static Hub<Platform>> {
    if let Some(hub) = hub() {
        return Some(hub);
    }
    let new = Hub::new(&SdkEvents)?;
    // SAFETY: a hub is not of size zero.
    let ours = NonNull::new(unsafe { alloc(HUB_LAYOUT) })?.cast::<Hub<Platform>>();
    // SAFETY: freshly allocated with this layout.
    unsafe { ours.write(new) };
    if HUB.compare_exchange(null_mut(), ours.as_ptr(), Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: another task was faster; nobody has seen ours.
        unsafe {
            ours.drop_in_place();
            dealloc(ours.as_ptr().cast(), HUB_LAYOUT);
        }
    }
    hub()
}

/// How many ended handles keep their memory, so that malloc does not give their address to somebody else at once.
const RETIRED: usize = 8;

static RETIRED_BLOCKS: [AtomicPtr<wm_mqtt_client_handle_st>; RETIRED] = [const { AtomicPtr::new(null_mut()) }; RETIRED];
/// How many handles were retired so far.
static RETIRED_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Where the members behind the first one, `client`, begin.
const BEHIND_CLIENT: usize = size_of::<*mut c_void>();
const _: () = assert!(core::mem::offset_of!(wm_mqtt_client_handle_st, client) == 0);

/// A handle's block of memory.
pub(super) struct Block(NonNull<wm_mqtt_client_handle_st>);

impl Block {
    const LAYOUT: Layout = Layout::new::<wm_mqtt_client_handle_st>();

    /// A zeroed block; `None` when there is no memory.
    pub(super) fn new() -> Option<Self> {
        // SAFETY: the layout is not of size zero.
        let block = NonNull::new(unsafe { alloc(Self::LAYOUT) })?.cast();
        // SAFETY: freshly allocated with this layout.
        unsafe { block.write_bytes(0, 1) };
        Some(Self(block))
    }

    /// What the hub knows the handle by.
    pub(super) fn key(&self) -> usize {
        self.0.addr().get()
    }

    /// Lets C see the client: its token and its strings, which live as long as the client.
    pub(super) fn publish(self, client: &Shared<Client<Platform>>, alpn: AlpnList) -> wm_mqtt_client_handle_t {
        let config = client.config();
        let optional = |text: &Option<Text>| text.as_ref().map_or(null_mut(), pointer);
        #[cfg(feature = "tls")]
        let (ca, cert, key) = (optional(&config.ca), optional(&config.cert), optional(&config.key));
        #[cfg(not(feature = "tls"))]
        let (ca, cert, key) = (null_mut(), null_mut(), null_mut());
        let block = wm_mqtt_client_handle_st {
            client: without_provenance_mut(client.token()),
            config: null_mut::<c_void>(),
            uri: pointer(&config.uri),
            client_id: pointer(&config.client_id),
            username: optional(&config.username),
            password: optional(&config.password),
            ca,
            cert,
            key,
            alpn: alpn.publish(client),
            will_topic: optional(&config.will_topic),
            will_msg: optional(&config.will_message),
        };
        // SAFETY: the block is ours, and C has not seen it yet.
        unsafe { self.0.write(block) };
        let handle = self.0.as_ptr();
        core::mem::forget(self);
        handle
    }

    /// Takes the block of a handle back that the hub has just forgotten, and keeps it for a while.
    pub(super) fn retire(handle: NonNull<wm_mqtt_client_handle_st>) {
        // SAFETY: the handle was in the hub, so it is a block of ours, and whoever removed it there is the only one to
        // get here. `client` is not touched: callbacks that are behind may read it at any moment.
        unsafe {
            AlpnList::take((*handle.as_ptr()).alpn);
            handle.byte_add(BEHIND_CLIENT).cast::<u8>().write_bytes(0, Self::LAYOUT.size() - BEHIND_CLIENT);
        }
        let place = RETIRED_COUNT.fetch_add(1, Ordering::Relaxed) % RETIRED;
        if let Some(old) = NonNull::new(RETIRED_BLOCKS[place].swap(handle.as_ptr(), Ordering::AcqRel)) {
            drop(Block(old));
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout, and nobody else has it.
        unsafe { dealloc(self.0.as_ptr().cast(), Self::LAYOUT) };
    }
}

/// The bytes of a text as C expects them. C must not write through the pointer.
#[cfg_attr(feature = "freertos", inline(never))] // 24 bytes of flash less
fn pointer(text: &Text) -> *mut c_char {
    text.as_bytes_with_nul().as_ptr().cast_mut().cast()
}

/// Room for the array that the handle's `alpn` points to.
pub(super) struct AlpnList(Vec<*mut c_char>);

impl AlpnList {
    /// Room for `len` names; `None` when there is no memory.
    pub(super) fn new(len: usize) -> Option<Self> {
        let mut list = Vec::new();
        if len > 0 {
            list.try_reserve_exact(len + 1).ok()?;
        }
        Some(Self(list))
    }

    fn publish(mut self, client: &Shared<Client<Platform>>) -> *mut *mut c_char {
        if self.0.capacity() == 0 {
            return null_mut();
        }
        self.0.extend(client.config().alpn.iter().map(pointer));
        self.0.push(null_mut());
        Box::leak(self.0.into_boxed_slice()).as_mut_ptr()
    }

    /// Frees an array that `publish` has made.
    ///
    /// # Safety
    /// `list` is NULL or what `publish` returned, and it is not used any more.
    unsafe fn take(list: *mut *mut c_char) {
        if list.is_null() {
            return;
        }
        let mut len = 1;
        // SAFETY: the array ends with a NULL.
        while !unsafe { *list.add(len - 1) }.is_null() {
            len += 1;
        }
        // SAFETY: leaked by `publish` as a boxed slice of this length.
        drop(unsafe { Box::from_raw(core::ptr::slice_from_raw_parts_mut(list, len)) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Callbacks that are behind compare it with the client of their event.
    #[test]
    fn the_client_of_a_dying_handle_stays() {
        const TOKEN: usize = usize::MAX;
        static CLIENT: AtomicPtr<AtomicUsize> = AtomicPtr::new(null_mut());
        static READS: AtomicUsize = AtomicUsize::new(0);
        let reader = std::thread::spawn(|| {
            // SAFETY: until 8 more are buried the memory stays, and it is aligned as an address.
            while let Some(client) = unsafe { CLIENT.load(Ordering::Acquire).as_ref() } {
                assert_eq!(client.load(Ordering::Relaxed), TOKEN);
                READS.fetch_add(1, Ordering::Release);
            }
        });
        let make = || {
            let block = core::mem::ManuallyDrop::new(Block::new().unwrap()).0;
            // SAFETY: nobody else has it yet.
            unsafe { (*block.as_ptr()).client = without_provenance_mut(TOKEN) };
            block
        };
        let mut block = make();
        CLIENT.store(block.as_ptr().cast(), Ordering::Release);
        for _ in 0..20_000 {
            let reads = READS.load(Ordering::Acquire);
            while READS.load(Ordering::Acquire) == reads && !reader.is_finished() {
                std::thread::yield_now();
            }
            Block::retire(block);
            block = make();
            CLIENT.store(block.as_ptr().cast(), Ordering::Release);
        }
        CLIENT.store(null_mut(), Ordering::Release);
        reader.join().unwrap();
        Block::retire(block);
    }
}
