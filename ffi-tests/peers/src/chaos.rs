//! A proxy that does to connections what bad networks do: it delays, throttles, splits, pauses, resets, half-closes, forgets.
//! A seed chooses what becomes of each connection; the moment that it happens depends on the connection's own bytes and time.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;

use crate::relay;

/// What a lane keeps at most; more is not read.
const LIMIT: usize = 32 << 10;
/// How long a thread sleeps at most, so that it sees a storm begin and end.
const NAP: Duration = Duration::from_millis(200);
/// How long a silent connection is kept, in a storm and in calm: so long a client in a handshake may wait for nothing. One that has carried
/// more than a handshake is kept for ever: its keep-alive must notice.
const SILENCE: Duration = Duration::from_secs(40);
const SILENCE_IN_CALM: Duration = Duration::from_secs(8);
const HANDSHAKE: u64 = 8_000;

/// What is counted, in the order of `Weather::describe`.
#[derive(Clone, Copy)]
enum Fault {
    Delay,
    Throttle,
    Split,
    Pause,
    Reset,
    HalfClose,
    Silence,
    Refusal,
}

const NAMES: [&str; 8] = ["delays", "throttles", "splits", "pauses", "resets", "half-closes", "silences", "refusals"];

/// Whether faults happen, and how many have.
#[derive(Default)]
pub struct Weather {
    storm: AtomicBool,
    counts: [AtomicU64; NAMES.len()],
    connections: AtomicU64,
}

impl Weather {
    /// In calm everything passes at once, as it comes; only a silence that has begun goes on, for a while.
    pub fn set_storm(&self, storm: bool) {
        self.storm.store(storm, Ordering::SeqCst);
    }

    fn storm(&self) -> bool {
        self.storm.load(Ordering::SeqCst)
    }

    fn count(&self, fault: Fault) {
        self.counts[fault as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// `faults connections=12 delays=3 ...`
    pub fn describe(&self) -> String {
        let mut line = format!("faults connections={}", self.connections.load(Ordering::Relaxed));
        for (name, count) in NAMES.iter().zip(&self.counts) {
            line += &format!(" {name}={}", count.load(Ordering::Relaxed));
        }
        line
    }
}

/// Serves connections to `server` for ever, each on a thread of its own. The number of a connection and `seed` choose its faults.
pub fn serve(listener: &TcpListener, server: SocketAddr, seed: u64, weather: &Arc<Weather>) {
    for number in 0.. {
        let Ok((client, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        let weather = weather.clone();
        let mut dice = Dice(seed ^ number << 32);
        // Without a thread for it the connection is closed.
        let _ = thread::Builder::new().spawn(move || {
            weather.connections.fetch_add(1, Ordering::Relaxed);
            if let Err(client) = Connection::run(client, server, &mut dice, &weather) {
                reset(&client);
            }
        });
    }
}

/// splitmix64
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }
}

enum Cut {
    Reset,
    /// FIN to whom this lane leads; what comes after it is lost, the other lane goes on.
    HalfClose,
    /// Nothing passes any more, and nobody is told.
    Silence,
    /// Nobody reads for this long.
    Pause(Duration),
}

/// When it happens: once a lane has carried so many bytes, or at a moment.
struct Plan {
    lane: usize,
    bytes: u64,
    at: Instant,
    cut: Cut,
}

impl Plan {
    /// For a connection whose lanes have carried so much.
    fn draw(dice: &mut Dice, carried: [u64; 2]) -> Option<Plan> {
        let cut = match dice.between(0, 99) {
            0..20 => return None,
            20..42 => Cut::Reset,
            42..60 => Cut::HalfClose,
            60..72 => Cut::Silence,
            _ => Cut::Pause(dice.millis(500, 4000)),
        };
        let lane = dice.between(0, 1) as usize;
        let soon = Instant::now() + dice.millis(100, 6000);
        // Half of them in the midst of bytes, and as many in the first 100, which are handshakes, as between 1,000 and 100,000.
        let bytes = 10_u64.pow(dice.between(1, 5) as u32);
        let bytes = if dice.percent(50) { carried[lane] + dice.between(1, bytes) } else { u64::MAX };
        Some(Plan { lane, bytes, at: soon, cut })
    }
}

/// One direction.
#[derive(Default)]
struct Lane {
    delay: Duration,
    /// Bytes in a second; 0: all that come.
    rate: u64,
    /// Bytes in a segment.
    piece: usize,
    /// What waits, and from when on it may leave.
    queue: VecDeque<(Instant, Vec<u8>)>,
    queued: usize,
    carried: u64,
    /// Not before this moment is the next piece written.
    next: Option<Instant>,
    /// The socket takes no more for now.
    blocked: bool,
    /// FIN has come.
    ended: bool,
    /// FIN was passed on, or sent by ourselves.
    closed: bool,
}

impl Lane {
    fn draw(dice: &mut Dice, weather: &Weather) -> Lane {
        let mut lane = Lane { piece: usize::MAX, ..Lane::default() };
        if dice.percent(40) {
            weather.count(Fault::Delay);
            lane.delay = dice.millis(1, 200);
        }
        if dice.percent(20) {
            weather.count(Fault::Throttle);
            lane.rate = dice.between(20_000, 200_000);
        }
        if dice.percent(40) {
            weather.count(Fault::Split);
            lane.piece = dice.between(1, 400) as usize;
        }
        lane
    }

    fn take(&mut self, bytes: &[u8], now: Instant) {
        self.carried += bytes.len() as u64;
        if !self.closed {
            self.queued += bytes.len();
            self.queue.push_back((now + self.delay, bytes.to_vec()));
        }
    }

    /// When what is in front may leave.
    fn due(&self) -> Option<Instant> {
        let (due, _) = self.queue.front()?;
        Some(self.next.map_or(*due, |next| next.max(*due)))
    }

    fn flush(&mut self, mut to: &TcpStream, now: Instant, storm: bool) -> io::Result<()> {
        self.blocked = false;
        while self.due().is_some_and(|due| due <= now || !storm) {
            let Some((_, bytes)) = self.queue.front_mut() else { break };
            // Small pieces for handshakes and first packets; more of them would take minutes.
            let piece = if self.carried < 2000 { self.piece } else { self.piece.saturating_add(600) };
            let len = if storm { bytes.len().min(piece) } else { bytes.len() };
            match to.write(&bytes[..len]) {
                Ok(written) => {
                    bytes.drain(..written);
                    self.queued -= written;
                    if bytes.is_empty() {
                        self.queue.pop_front();
                    }
                    let micros = (written as u64 * 1_000_000).checked_div(self.rate).unwrap_or(0);
                    let gap = if self.piece < usize::MAX { 1000 } else { 0 };
                    self.next = Some(now + Duration::from_micros(micros.max(gap)));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.ended && self.queue.is_empty() && !self.closed {
            self.closed = true;
            to.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }

    /// What waits, and what comes, is lost.
    fn cut(&mut self) {
        self.closed = true;
        self.queue.clear();
        self.queued = 0;
    }
}

struct Connection<'a> {
    /// Client and server; lane 0 leads from the client to the server.
    sockets: [TcpStream; 2],
    lanes: [Lane; 2],
    plan: Option<Plan>,
    paused: Option<Instant>,
    silent: Option<Instant>,
    dice: &'a mut Dice,
    weather: &'a Weather,
}

impl Connection<'_> {
    /// Until the connection has ended; the client's socket if it is to be reset.
    fn run(client: TcpStream, server: SocketAddr, dice: &mut Dice, weather: &Weather) -> Result<(), TcpStream> {
        let lanes = [Lane::draw(dice, weather), Lane::draw(dice, weather)];
        let plan = Plan::draw(dice, [0, 0]);
        if dice.percent(5) && weather.storm() {
            weather.count(Fault::Refusal);
            return Err(client);
        }
        // No server behind it: the client is told in the only way there is.
        let Ok(server) = TcpStream::connect(server) else { return Err(client) };
        if relay::prepare(&client).and_then(|()| relay::prepare(&server)).is_err() {
            return Err(client);
        }
        let (paused, silent) = (None, None);
        let mut connection = Connection { sockets: [client, server], lanes, plan, paused, silent, dice, weather };
        if connection.pump().is_err() {
            connection.sockets.iter().for_each(reset);
        }
        Ok(())
    }

    /// An error is a reset, ours or of one of the two.
    fn pump(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        let mut stormy = self.weather.storm();
        loop {
            let (now, storm) = (Instant::now(), self.weather.storm());
            if storm {
                if !stormy {
                    self.draw_plan();
                }
                self.follow_plan(now)?;
            }
            stormy = storm;
            if !storm || self.paused.is_some_and(|until| until <= now) {
                self.paused = None;
            }
            let passes = self.paused.is_none() && self.silent.is_none();
            for (lane, to) in self.lanes.iter_mut().zip([1, 0]) {
                if passes && !(lane.closed && lane.queue.is_empty()) {
                    lane.flush(&self.sockets[to], now, storm)?;
                }
            }
            let over = match self.silent {
                Some(since) if self.is_young() && now > since + if storm { SILENCE } else { SILENCE_IN_CALM } => {
                    return Err(ErrorKind::ConnectionReset.into());
                }
                Some(_) => self.lanes.iter().all(|lane| lane.ended),
                None => self.lanes.iter().all(|lane| lane.closed),
            };
            if over {
                return Ok(());
            }
            self.wait(now, storm)?;
            self.read(&mut buffer)?;
        }
    }

    fn is_young(&self) -> bool {
        self.lanes.iter().map(|lane| lane.carried).sum::<u64>() <= HANDSHAKE
    }

    fn follow_plan(&mut self, now: Instant) -> io::Result<()> {
        let happens = |plan: &mut Plan| self.lanes[plan.lane].carried >= plan.bytes || now >= plan.at;
        let Some(Plan { lane, cut, .. }) = self.plan.take_if(happens) else { return Ok(()) };
        match cut {
            Cut::Reset => {
                self.weather.count(Fault::Reset);
                return Err(ErrorKind::ConnectionReset.into());
            }
            Cut::HalfClose => {
                self.weather.count(Fault::HalfClose);
                self.lanes[lane].cut();
                self.sockets[1 - lane].shutdown(Shutdown::Write)?;
            }
            Cut::Silence => {
                self.weather.count(Fault::Silence);
                self.silent = Some(now);
                self.lanes.iter_mut().for_each(Lane::cut);
            }
            Cut::Pause(length) => {
                self.weather.count(Fault::Pause);
                self.paused = Some(now + length);
                self.draw_plan();
            }
        }
        Ok(())
    }

    fn draw_plan(&mut self) {
        self.plan = Plan::draw(self.dice, [self.lanes[0].carried, self.lanes[1].carried]);
    }

    fn reads(&self, lane: usize) -> bool {
        !self.lanes[lane].ended && self.lanes[lane].queued < LIMIT && self.paused.is_none()
    }

    /// Sleeps until a socket can be read or written, or something is due.
    fn wait(&self, now: Instant, storm: bool) -> io::Result<()> {
        let mut until = now + NAP;
        let passes = self.paused.is_none() && self.silent.is_none();
        let mut fds = Vec::new();
        for (side, socket) in self.sockets.iter().enumerate() {
            // This lane comes from the socket, the other one leads to it.
            let to = &self.lanes[1 - side];
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, self.reads(side));
            events.set(PollFlags::OUT, passes && to.blocked);
            if let Some(due) = to.due().filter(|_| passes && storm && !to.blocked) {
                until = until.min(due);
            }
            if !events.is_empty() {
                fds.push(PollFd::new(socket, events));
            }
        }
        let sleep = until.saturating_duration_since(now) + Duration::from_micros(200);
        let sleep = Timespec { tv_sec: sleep.as_secs() as i64, tv_nsec: i64::from(sleep.subsec_nanos()) };
        match poll(&mut fds, Some(&sleep)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        for from in 0..2 {
            if !self.reads(from) {
                continue;
            }
            match (&self.sockets[from]).read(buffer) {
                Ok(0) => self.lanes[from].ended = true,
                Ok(len) => self.lanes[from].take(&buffer[..len], Instant::now()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                // Of a silent connection the other side shall not learn.
                Err(_) if self.silent.is_some() => self.lanes[from].ended = true,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn reset(socket: &TcpStream) {
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}
