//! The calls of Linux that the images make: console, clock, randomness, TCP to the host. Numbers and structures are those of
//! 32-bit architectures; standard input is the line to the harness.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, sockopt};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::memory::{Fault, Memory};

const AF_INET: u32 = 2;
const TIOCOUTQ: u32 = 0x5411;
const CLOCK_PROCESS_CPUTIME_ID: u32 = 2;
const FIRST: u32 = 3;

pub enum Outcome {
    Result(u32),
    Exit(u8),
}

pub struct Linux {
    start: Instant,
    line: io::Stdin,
    /// From `FIRST` on.
    sockets: Vec<Option<OwnedFd>>,
}

impl Linux {
    pub fn new() -> Self {
        Self { start: Instant::now(), line: io::stdin(), sockets: Vec::new() }
    }

    /// One call of a program that has executed so many instructions.
    pub fn call(&mut self, memory: &mut Memory, executed: u64, call: u32, with: [u32; 6]) -> Result<Outcome, Fault> {
        if call == 94 {
            return Ok(Outcome::Exit(with[0] as u8));
        }
        let [fd, at, len, flags, more, _] = with;
        let result = match call {
            29 if at == TIOCOUTQ => match self.unacknowledged(fd) {
                Ok(count) => memory.store32(len, count).map(|()| Ok(0))?,
                Err(error) => Err(error),
            },
            57 => self.close(fd),
            64 if fd == 1 || fd == 2 => {
                let bytes = memory.bytes(at, len)?;
                io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()).map_or(Err(Errno::IO), |()| Ok(len))
            }
            73 => self.ppoll(memory, fd, at, len)?,
            113 => {
                // The processor's time: each instruction takes it a nanosecond.
                let now = if fd == CLOCK_PROCESS_CPUTIME_ID {
                    Duration::from_nanos(executed)
                } else {
                    self.start.elapsed() + Duration::from_secs(1)
                };
                memory.store32(at, now.as_secs() as u32)?;
                memory.store32(at + 4, now.subsec_nanos())?;
                Ok(0)
            }
            198 => self.socket(fd, at),
            203 => self.connect(fd, memory.bytes(at, len)?),
            206 => {
                let bytes = memory.bytes(at, len)?;
                let flags = SendFlags::from_bits_retain(flags);
                self.fd(fd).and_then(|fd| net::send(fd, bytes, flags)).map(|sent| sent as u32)
            }
            207 => {
                let bytes = memory.bytes_mut(at, len)?;
                let flags = RecvFlags::from_bits_retain(flags);
                self.fd(fd).and_then(|fd| net::recv(fd, bytes, flags)).map(|(received, _)| received as u32)
            }
            // The only options that are set, and the only one that is asked for.
            208 => self.fd(fd).and_then(|fd| match (at, len) {
                (6, 1) => sockopt::set_tcp_nodelay(fd, true).map(|()| 0),
                (6, 12) => sockopt::set_tcp_quickack(fd, true).map(|()| 0),
                _ => Err(Errno::NOPROTOOPT),
            }),
            209 => {
                let error = self.fd(fd).and_then(|fd| match (at, len) {
                    (1, 4) => sockopt::socket_error(fd),
                    _ => Err(Errno::NOPROTOOPT),
                });
                memory.store32(more, 4)?;
                match error {
                    Ok(outcome) => {
                        memory.store32(flags, outcome.map_or_else(|error| error.raw_os_error() as u32, |()| 0))?;
                        Ok(0)
                    }
                    Err(error) => Err(error),
                }
            }
            210 => self.fd(fd).and_then(|fd| net::shutdown(fd, Shutdown::Write)).map(|()| 0),
            278 => getrandom(memory.bytes_mut(fd, at)?, GetRandomFlags::empty()).map(|count| count as u32),
            _ => return Err(Fault::new(format!("call {call} of Linux"))),
        };
        Ok(Outcome::Result(result.unwrap_or_else(|error: Errno| (-error.raw_os_error()) as u32)))
    }

    fn fd(&self, fd: u32) -> Result<BorrowedFd<'_>, Errno> {
        match fd.checked_sub(FIRST) {
            None if fd == 0 => Ok(self.line.as_fd()),
            None => Err(Errno::BADF),
            Some(at) => self.sockets.get(at as usize).and_then(Option::as_ref).map(AsFd::as_fd).ok_or(Errno::BADF),
        }
    }

    /// What a socket has sent and nobody has acknowledged, as the table of all sockets has it: the call itself is not safe.
    fn unacknowledged(&self, fd: u32) -> Result<u32, Errno> {
        let socket = fs::read_link(format!("/proc/self/fd/{}", self.fd(fd)?.as_raw_fd())).map_err(|_| Errno::IO)?;
        let table = fs::read_to_string("/proc/self/net/tcp").map_err(|_| Errno::IO)?;
        let count = table.lines().find_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let [_, _, _, _, queues, _, _, _, _, inode, ..] = columns[..] else { return None };
            (socket.to_str() == Some(&format!("socket:[{inode}]"))).then(|| queues.split(':').next())?
        });
        // One that is not there has none any more.
        count.map_or(Ok(0), |count| u32::from_str_radix(count, 16).map_err(|_| Errno::IO))
    }

    fn close(&mut self, fd: u32) -> Result<u32, Errno> {
        let place = fd.checked_sub(FIRST).and_then(|at| self.sockets.get_mut(at as usize));
        place.and_then(Option::take).map(|_| 0).ok_or(Errno::BADF)
    }

    fn socket(&mut self, domain: u32, kind: u32) -> Result<u32, Errno> {
        if domain != AF_INET || kind & 15 != 1 {
            return Err(Errno::AFNOSUPPORT);
        }
        let flags = SocketFlags::from_bits_retain(kind & !15) | SocketFlags::CLOEXEC;
        let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        let free = self.sockets.iter().position(Option::is_none).unwrap_or(self.sockets.len());
        if free == self.sockets.len() {
            self.sockets.push(None);
        }
        self.sockets[free] = Some(socket);
        Ok(FIRST + free as u32)
    }

    fn connect(&self, fd: u32, address: &[u8]) -> Result<u32, Errno> {
        let [2, 0, high, low, a, b, c, d, ..] = *address else { return Err(Errno::AFNOSUPPORT) };
        let address = SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]));
        net::connect(self.fd(fd)?, &address).map(|()| 0)
    }

    fn ppoll(&self, memory: &mut Memory, table: u32, count: u32, timeout: u32) -> Result<Result<u32, Errno>, Fault> {
        let limit = match timeout {
            0 => None,
            at => Some(Timespec { tv_sec: memory.load32(at)?.into(), tv_nsec: memory.load32(at + 4)?.into() }),
        };
        let (mut polled, mut places) = (Vec::new(), Vec::new());
        for place in (0..count).map(|n| table + 8 * n) {
            memory.store16(place + 6, 0)?;
            let fd = memory.load32(place)?;
            if let Ok(fd) = self.fd(fd) {
                polled
                    .push(PollFd::from_borrowed_fd(fd, PollFlags::from_bits_retain(memory.load16(place + 4)? as u16)));
                places.push(place);
            }
        }
        let ready = poll(&mut polled, limit.as_ref());
        for (fd, place) in polled.iter().zip(places) {
            memory.store16(place + 6, fd.revents().bits().into())?;
        }
        Ok(ready.map(|count| count as u32))
    }
}
