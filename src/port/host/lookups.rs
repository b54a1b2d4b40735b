//! Name lookups. They block, and nothing ends them before their time: each has a thread, of which the process has a few,
//! whatever becomes of them.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::File;
use std::io::Error;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ptr::null_mut;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

use super::net::{HostWaker, is_shortage};
use crate::port::{Token, Waker};

/// Threads in the process, those included whose answers nobody waits for any more.
const THREADS: usize = 8;
/// How many threads may look up the same name: while its name servers are silent, other names get their turn.
const SAME: usize = 2;

/// The addresses of a name, maybe none; `None` when there was no thread, file or memory to look it up.
pub(super) type Found = Option<Vec<SocketAddr>>;
type Resolver = fn(&str) -> Found;

/// The lookups of this process.
pub(super) static LOOKUPS: Lookups = Lookups::new(resolve);

/// The lookups that wait for a thread, and the threads.
#[derive(Debug)]
pub(super) struct Lookups {
    resolver: Resolver,
    state: Mutex<LookupState>,
}

#[derive(Debug)]
struct LookupState {
    threads: usize,
    /// The name that each thread looks up.
    running: Vec<String>,
    waiting: VecDeque<Lookup>,
}

/// A lookup whose answer a network waits for.
#[derive(Debug)]
pub(super) struct Lookup {
    /// The network that has asked.
    pub(super) asker: usize,
    pub(super) token: Token,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) done: Sender<(Token, Found)>,
    pub(super) waker: HostWaker,
}

impl Lookup {
    fn answer(self, mut found: Found) {
        found.iter_mut().flatten().for_each(|address| address.set_port(self.port));
        // The network that has asked may be dropped by now.
        let _ = self.done.send((self.token, found));
        self.waker.wake();
    }
}

impl LookupState {
    /// The first waiting lookup whose name has fewer threads than it may have.
    fn next(&self) -> Option<usize> {
        let running = |host: &String| self.running.iter().filter(|name| *name == host).count();
        self.waiting.iter().position(|lookup| running(&lookup.host) < SAME)
    }
}

impl Lookups {
    pub(super) const fn new(resolver: Resolver) -> Self {
        let state = LookupState { threads: 0, running: Vec::new(), waiting: VecDeque::new() };
        Self { resolver, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, LookupState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a lookup in the queue; the answer goes to its `done` and `waker`.
    pub(super) fn ask(&'static self, lookup: Lookup) {
        let mut state = self.state();
        state.waiting.push_back(lookup);
        if state.next().is_none() || state.threads == THREADS {
            return;
        }
        state.threads += 1;
        drop(state);
        if Builder::new().name("mqtt_dns".into()).spawn(|| self.work()).is_ok() {
            return;
        }
        let mut state = self.state();
        state.threads -= 1;
        // No further thread could start: those that run will come to this lookup.
        let lost = if state.threads == 0 { core::mem::take(&mut state.waiting) } else { VecDeque::new() };
        drop(state);
        lost.into_iter().for_each(|lookup| lookup.answer(None));
    }

    /// Forgets the waiting lookups of this network, or only that of `token`.
    pub(super) fn forget(&self, asker: usize, token: Option<Token>) {
        let is_forgotten = |lookup: &Lookup| lookup.asker == asker && token.is_none_or(|token| lookup.token == token);
        self.state().waiting.retain(|lookup| !is_forgotten(lookup));
    }

    /// The body of a lookup thread.
    fn work(&self) {
        while let Some(lookup) = self.take() {
            let found = (self.resolver)(&lookup.host);
            self.put_back(&lookup.host, found.as_ref().filter(|found| !found.is_empty()));
            lookup.answer(found);
        }
    }

    /// The next lookup for the calling thread, which ends without one.
    fn take(&self) -> Option<Lookup> {
        let mut state = self.state();
        let lookup = state.next().and_then(|at| state.waiting.remove(at));
        match &lookup {
            Some(lookup) => state.running.push(lookup.host.clone()),
            None => state.threads -= 1,
        }
        lookup
    }

    /// A lookup has ended. What it has found is good for others that wait for it.
    fn put_back(&self, host: &str, found: Option<&Vec<SocketAddr>>) {
        let mut state = self.state();
        if let Some(at) = state.running.iter().position(|name| name == host) {
            state.running.swap_remove(at);
        }
        let Some(found) = found else { return };
        let (same, others) = core::mem::take(&mut state.waiting).into_iter().partition(|lookup| lookup.host == host);
        state.waiting = others;
        drop(state);
        let same: VecDeque<Lookup> = same;
        same.into_iter().for_each(|lookup| lookup.answer(Some(found.clone())));
    }
}

/// Asks the system, which may take long.
fn resolve(host: &str) -> Found {
    let Ok(name) = CString::new(host) else { return Some(Vec::new()) };
    // SAFETY: all zeros is an `addrinfo` that asks for nothing in particular.
    let mut hints: libc::addrinfo = unsafe { core::mem::zeroed() };
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut list = null_mut();
    // SAFETY: the name ends with a NUL; the list is written when the result is 0.
    match unsafe { libc::getaddrinfo(name.as_ptr(), core::ptr::null(), &hints, &mut list) } {
        0 => {}
        libc::EAI_MEMORY => return None,
        libc::EAI_SYSTEM if is_shortage(&Error::last_os_error()) => return None,
        // glibc reports "not found" also when it could not open a file or socket to ask with.
        _ if is_out_of_files() => return None,
        _ => return Some(Vec::new()),
    }
    let mut addresses = Vec::new();
    let mut next = list;
    // SAFETY: a list of such structures, which ends with NULL.
    while let Some(info) = unsafe { next.as_ref() } {
        // SAFETY: `ai_addr` is an address of the family that it names.
        addresses.extend(unsafe { address(info.ai_addr) });
        next = info.ai_next;
    }
    // SAFETY: it came from getaddrinfo, and nothing of it is used any more.
    unsafe { libc::freeaddrinfo(list) };
    Some(addresses)
}

/// # Safety
/// It is NULL or points to an address of the family that it names.
unsafe fn address(from: *const libc::sockaddr) -> Option<SocketAddr> {
    // SAFETY: the caller vouches for it.
    match unsafe { from.as_ref() }?.sa_family.into() {
        libc::AF_INET => {
            // SAFETY: of this family it is this structure.
            let v4 = unsafe { &*from.cast::<libc::sockaddr_in>() };
            Some((Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr)), 0).into())
        }
        libc::AF_INET6 => {
            // SAFETY: of this family it is this structure.
            let v6 = unsafe { &*from.cast::<libc::sockaddr_in6>() };
            Some(SocketAddrV6::new(Ipv6Addr::from(v6.sin6_addr.s6_addr), 0, 0, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn is_out_of_files() -> bool {
    File::open("/").is_err_and(|error| is_shortage(&error))
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::{Duration, Instant};

    use super::super::net::HostNet;
    use super::*;
    use crate::port::Net;

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(50);

    /// Names that were looked up, and those whose name servers have come back.
    static NAMES: Mutex<(Vec<String>, Vec<String>)> = Mutex::new((Vec::new(), Vec::new()));
    static CHANGED: Condvar = Condvar::new();

    /// Names that begin with "hung" hang until somebody says otherwise.
    fn resolver(host: &str) -> Found {
        let mut names = NAMES.lock().unwrap();
        names.0.push(host.into());
        CHANGED.notify_all();
        let hangs =
            |names: &mut (Vec<String>, Vec<String>)| host.starts_with("hung") && !names.1.iter().any(|n| n == host);
        drop(CHANGED.wait_while(names, hangs).unwrap());
        Some(if host.ends_with("nowhere") { vec![] } else { vec![([10, 0, 0, 1], 0).into()] })
    }

    fn begun(host: &str) -> usize {
        NAMES.lock().unwrap().0.iter().filter(|name| *name == host).count()
    }

    fn wait_for(host: &str, count: usize) {
        let until = Instant::now() + LONG;
        while begun(host) < count {
            assert!(Instant::now() < until, "{host} is not looked up");
            std::thread::yield_now();
        }
    }

    fn release(host: &str) {
        NAMES.lock().unwrap().1.push(host.into());
        CHANGED.notify_all();
    }

    struct Asker {
        lookups: &'static Lookups,
        net: HostNet,
        done: Sender<(Token, Found)>,
        found: Receiver<(Token, Found)>,
    }

    impl Asker {
        fn new() -> Self {
            let (done, found) = channel();
            let lookups = Box::leak(Box::new(Lookups::new(resolver)));
            Self { lookups, net: HostNet::open().unwrap(), done, found }
        }

        fn ask(&self, token: Token, host: &str) {
            let (done, waker) = (self.done.clone(), self.net.waker());
            self.lookups.ask(Lookup { asker: 1, token, host: host.into(), port: 1883, done, waker });
        }

        fn answer(&self) -> Token {
            let (token, found) = self.found.recv_timeout(LONG).expect("an answer");
            assert_eq!(found.unwrap(), [([10, 0, 0, 1], 1883).into()]);
            token
        }

        fn nothing(&self) {
            assert!(self.found.recv_timeout(SHORT).is_err(), "an answer too many");
        }
    }

    #[test]
    fn a_few_threads_for_all_names() {
        let asker = Asker::new();
        let names: Vec<_> = (0..20).map(|n| format!("hung-{n}.all")).collect();
        for (n, name) in names.iter().enumerate() {
            asker.ask(n, name);
        }
        names[..THREADS].iter().for_each(|name| wait_for(name, 1));
        asker.nothing();
        assert_eq!(asker.lookups.state().threads, THREADS);
        // The lookups that wait for a thread are forgotten, and are not begun when a thread becomes free.
        asker.lookups.forget(2, None);
        asker.lookups.forget(1, Some(THREADS));
        assert_eq!(asker.lookups.state().waiting.len(), 20 - THREADS - 1);
        asker.lookups.forget(1, None);
        asker.ask(100, "good.all");
        asker.nothing();
        names[..THREADS].iter().for_each(|name| release(name));
        let mut answers: Vec<_> = (0..=THREADS).map(|_| asker.answer()).collect();
        answers.sort_unstable();
        assert_eq!(answers, [(0..THREADS).collect(), vec![100]].concat());
        assert!(names[THREADS..].iter().all(|name| begun(name) == 0));
        let until = Instant::now() + LONG;
        while asker.lookups.state().threads > 0 {
            assert!(Instant::now() < until, "threads are left");
            std::thread::yield_now();
        }
    }

    #[test]
    fn one_name_does_not_take_all_threads() {
        let asker = Asker::new();
        for token in 0..20 {
            asker.ask(token, "hung.one");
        }
        wait_for("hung.one", SAME);
        for token in 100..110 {
            asker.ask(token, "good.one");
            assert_eq!(asker.answer(), token);
        }
        asker.nothing();
        // What the first one finds is good for all that wait.
        release("hung.one");
        let mut answers: Vec<_> = (0..20).map(|_| asker.answer()).collect();
        answers.sort_unstable();
        assert_eq!(answers, (0..20).collect::<Vec<_>>());
        assert!(begun("hung.one") <= SAME + 1);
    }

    #[test]
    fn in_order() {
        let asker = Asker::new();
        let names: Vec<_> = (0..THREADS).map(|n| format!("hung-{n}.order")).collect();
        for (n, name) in names.iter().enumerate() {
            asker.ask(n, name);
        }
        for token in 100..110 {
            asker.ask(token, &format!("good-{token}.order"));
        }
        names.iter().for_each(|name| wait_for(name, 1));
        asker.nothing();
        release(&names[3]);
        let answers: Vec<_> = (0..11).map(|_| asker.answer()).collect();
        assert_eq!(answers, [vec![3], (100..110).collect()].concat());
        names.iter().for_each(|name| release(name));
    }

    /// A name that is not found is looked up again for whoever asks for it: a name server may have come back meanwhile.
    #[test]
    fn nothing_found_is_no_answer_for_others() {
        let asker = Asker::new();
        for token in 0..3 {
            asker.ask(token, "hung.nowhere");
        }
        wait_for("hung.nowhere", SAME);
        release("hung.nowhere");
        for _ in 0..3 {
            assert_eq!(asker.found.recv_timeout(LONG).expect("an answer").1, Some(vec![]));
        }
        assert_eq!(begun("hung.nowhere"), 3);
    }

    #[test]
    fn the_system_answers() {
        assert_eq!(resolve("127.0.0.1"), Some(vec![([127, 0, 0, 1], 0).into()]));
        assert_eq!(resolve("::1"), Some(vec![(Ipv6Addr::LOCALHOST, 0).into()]));
        assert_eq!(resolve("a\0b"), Some(vec![]));
    }
}
