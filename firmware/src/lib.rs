//! The devices of QEMU's `virt` machine that the firmware uses, for its C code: network card, the line to the program on
//! the host, and the source of randomness. Each has one user at a time, which the C side sees to.

#![no_std]

use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::{AtomicUsize, Ordering};

use virtio_drivers::device::console::VirtIOConsole;
use virtio_drivers::device::net::VirtIONetRaw;
use virtio_drivers::device::rng::VirtIORng;
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceType, Transport};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};
// The library is only linked in: the C code calls it.
use wm_mqtt_client as _;

const FIRST_SLOT: usize = 0x1000_1000;
const SLOT_SIZE: usize = 0x1000;
const SLOTS: usize = 8;

/// Received frames that wait at the card, and their longest: header, Ethernet frame.
const FRAMES: usize = 16;
const FRAME: usize = 1536;

/// Memory that devices see; addresses are the same for them.
struct Memory;

const PAGES: usize = 32;

#[repr(align(4096))]
struct Pool(core::cell::UnsafeCell<[u8; PAGES * PAGE_SIZE]>);

// SAFETY: `dma_alloc` gives every page away once.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool(core::cell::UnsafeCell::new([0; PAGES * PAGE_SIZE]));
static USED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: pages of the pool are given away once and never taken back; nothing has to be mapped.
unsafe impl Hal for Memory {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let first = USED.fetch_add(pages, Ordering::Relaxed);
        assert!(first + pages <= PAGES);
        let place = POOL.0.get().cast::<u8>().wrapping_add(first * PAGE_SIZE);
        (place as PhysAddr, NonNull::new(place).unwrap())
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::new(address as *mut u8).unwrap()
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.as_ptr().cast::<u8>() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

type Slot = MmioTransport<'static>;

static mut CARD: Option<VirtIONetRaw<Memory, Slot, FRAMES>> = None;
static mut CARD_FRAMES: [[u8; FRAME]; FRAMES] = [[0; FRAME]; FRAMES];
static mut LINE: Option<VirtIOConsole<Memory, Slot>> = None;
static mut RANDOM: Option<VirtIORng<Memory, Slot>> = None;

/// Looks for the devices, before the first task runs. Returns a bit for each slot that has one of them.
///
/// # Safety
///
/// Called once, before all others.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn devices_open() -> u32 {
    let mut found = 0;
    for slot in 0..SLOTS {
        let header = NonNull::new((FIRST_SLOT + slot * SLOT_SIZE) as *mut VirtIOHeader).unwrap();
        // SAFETY: the machine has its virtio slots there, and nobody else uses them.
        let Ok(transport) = (unsafe { MmioTransport::new(header, SLOT_SIZE) }) else { continue };
        // SAFETY: no task runs yet.
        unsafe {
            match transport.device_type() {
                DeviceType::Network => {
                    CARD = VirtIONetRaw::new(transport).ok();
                    let Some(card) = (&raw mut CARD).as_mut().unwrap() else { continue };
                    for (at, frame) in (&raw mut CARD_FRAMES).as_mut().unwrap().iter_mut().enumerate() {
                        // A frame's number is its token: it is given back before the next one is taken.
                        assert_eq!(card.receive_begin(frame), Ok(at as u16));
                    }
                }
                DeviceType::Console => LINE = VirtIOConsole::new(transport).ok(),
                DeviceType::EntropySource => RANDOM = VirtIORng::new(transport).ok(),
                _ => continue,
            }
        }
        found |= 1 << slot;
    }
    found
}

/// The card's address, six bytes.
///
/// # Safety
///
/// `to` has room for them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn card_address(to: *mut u8) {
    // SAFETY: the caller's promise; the card is not in use yet.
    unsafe {
        let card = (&raw const CARD).as_ref().unwrap().as_ref().unwrap();
        slice::from_raw_parts_mut(to, 6).copy_from_slice(&card.mac_address());
    }
}

/// Sends a frame.
///
/// # Safety
///
/// One task at a time sends; `frame` has `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn card_send(frame: *const u8, len: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let card = (&raw mut CARD).as_mut().unwrap().as_mut().unwrap();
        card.send(slice::from_raw_parts(frame, len)).is_ok()
    }
}

/// Copies the next received frame; 0: there is none.
///
/// # Safety
///
/// One task at a time receives, and none sends meanwhile; `to` has room for `room` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn card_receive(to: *mut u8, room: usize) -> usize {
    // SAFETY: the caller's promise; a frame's number is its token.
    unsafe {
        let card = (&raw mut CARD).as_mut().unwrap().as_mut().unwrap();
        let Some(token) = card.poll_receive() else { return 0 };
        let frame = &mut (&raw mut CARD_FRAMES).as_mut().unwrap()[usize::from(token)];
        let Ok((header, len)) = card.receive_complete(token, frame) else { return 0 };
        let len = len.min(room);
        slice::from_raw_parts_mut(to, len).copy_from_slice(&frame[header..header + len]);
        assert_eq!(card.receive_begin(frame), Ok(token));
        len
    }
}

/// Sends bytes over the line.
///
/// # Safety
///
/// One task at a time uses the line; `bytes` has `len` bytes, more than none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn line_send(bytes: *const u8, len: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let line = (&raw mut LINE).as_mut().unwrap().as_mut().unwrap();
        line.send_bytes(slice::from_raw_parts(bytes, len)).is_ok()
    }
}

/// Takes received bytes from the line, at most `len` of them.
///
/// # Safety
///
/// One task at a time uses the line; `to` has room for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn line_receive(to: *mut u8, len: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        let line = (&raw mut LINE).as_mut().unwrap().as_mut().unwrap();
        for at in 0..len {
            match line.recv(true) {
                Ok(Some(byte)) => to.add(at).write(byte),
                _ => return at,
            }
        }
        len
    }
}

/// Random bytes from the host.
///
/// # Safety
///
/// One task at a time asks; `to` has room for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn random_bytes(to: *mut u8, len: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let Some(device) = (&raw mut RANDOM).as_mut().unwrap() else { return false };
        let mut bytes = slice::from_raw_parts_mut(to, len);
        while !bytes.is_empty() {
            match device.request_entropy(bytes) {
                Ok(count @ 1..) => bytes = &mut bytes[count..],
                _ => return false,
            }
        }
        true
    }
}
