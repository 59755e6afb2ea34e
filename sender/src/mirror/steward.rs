//! Everything of a mirror that may take its time: reading the policy again when it changes, looking names up again, opening
//! sockets, turning sessions on and off.
//!
//! What is ready goes to the packet path through the [`Mailbox`]. A policy that is not right is told, with its places, and
//! nothing changes. A file is taken when it has stayed the same for a second, so that half of one is never read.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::exits::{ExitChange, Exits};
use super::ledger::Ledger;
use super::mailbox::{Change, Mailbox};
use super::plan::Plan;
use super::status::{SessionStatus, Status, TargetStatus};
use crate::error::SendError;
use crate::policy::{Interface, OwnTraffic, Policy, PolicyFile};
use crate::target::Target;
use crate::transmit::{Link, LinkSettings, TransmitSettings};
use crate::ways::Ways;
pub(crate) use loops::WaySettings;
use loops::{is_clear, refuse_loop};

mod loops;

/// How often a target without a link is tried again.
const ABSENT_RETRY: Duration = Duration::from_secs(5);
/// How long an answer waits for the packet path to take what it tells of.
const APPLY_PATIENCE: Duration = Duration::from_secs(1);
const APPLY_POLL: Duration = Duration::from_millis(2);

/// What a steward is told once.
#[derive(Clone)]
pub(crate) struct StewardSettings {
    /// The policy file.
    pub(crate) policy: PathBuf,
    /// How links are opened. The source ports are for each target, and fewer where there are many targets.
    pub(crate) links: LinkSettings,
    /// How often names are looked up again.
    pub(crate) resolve_interval: Duration,
    /// How often the file is looked at.
    pub(crate) tick: Duration,
    /// The interfaces that frames come from, by [`super::Frame::interface`]. Asked again at each reload.
    pub(crate) interfaces: Interfaces,
    /// For a mirror of interfaces, by which copies may come back.
    pub(crate) ways: Option<WaySettings>,
}

/// Tells the interfaces, for a policy.
pub(crate) type Interfaces = Arc<dyn Fn(&Policy) -> Result<Vec<Interface>, SendError> + Send + Sync>;

impl StewardSettings {
    /// How often the file is looked at unless a test is in a hurry.
    pub(crate) const TICK: Duration = Duration::from_secs(1);
    /// How often names are looked up again unless told otherwise.
    pub(crate) const RESOLVE_INTERVAL: Duration = Duration::from_mins(1);
}

/// What somebody wants of a steward.
pub(crate) enum Request {
    /// Read the policy again, whether it has changed or not.
    Reload(Answer),
    /// Turn a session on or off, which is named by its name or number.
    Enable {
        /// Name or number.
        session: String,
        /// Whether it is to be on.
        on: bool,
        /// Who wants to know.
        answer: Answer,
    },
    /// Names that were looked up.
    Resolved(Vec<(Target, Result<Vec<SocketAddr>, SendError>)>),
    /// The end.
    Stop,
}

/// Where the outcome of a request goes; whoever asked may be gone.
pub(crate) type Answer = Box<dyn FnOnce(Result<Outcome, Refusal>) + Send>;

/// What a request did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// How many policies have been in force, this one included.
    pub(crate) generation: u64,
    /// Whether packets are decided by it already; they will be with the next batch.
    pub(crate) in_force: bool,
}

/// Why a request did nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no such session.
    UnknownSession(String),
    /// The policy is not right.
    Policy(String),
}

/// A session that was turned on or off by hand. It stays so until the file says something else than it did.
#[derive(Clone, Copy)]
struct Override {
    file: bool,
    on: bool,
}

/// A target as it was last opened.
#[derive(Clone)]
struct Known {
    target: Target,
    address: Option<SocketAddr>,
    /// Where our datagrams to it come from.
    sockets: Vec<SocketAddr>,
}

impl Known {
    fn new(target: Target, link: &Link) -> Self {
        Self { target, address: link.target(), sockets: link.sockets() }
    }
}

/// Does what takes time.
pub(crate) struct Steward {
    settings: StewardSettings,
    file: Arc<PolicyFile>,
    stamp: Option<Stamp>,
    /// A stamp that is not the file's in force, and was seen once.
    seen: Option<Stamp>,
    overrides: BTreeMap<String, Override>,
    known: Vec<Known>,
    own: Arc<OwnTraffic>,
    generation: u64,
    ledger: Arc<Ledger>,
    mailbox: Arc<Mailbox>,
    status: Arc<Mutex<Status>>,
    next_resolve: Instant,
    is_resolving: bool,
    ways: Option<Ways>,
}

/// What tells a file from the one that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    len: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            len: metadata.len(),
        })
    }
}

fn seconds_since_1970() -> f64 {
    // A clock before 1970 tells nothing.
    SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64())
}

/// What a mirror begins with.
pub(crate) struct Start {
    pub(crate) steward: Steward,
    pub(crate) plan: Plan,
    pub(crate) exits: Exits,
}

impl Steward {
    /// Reads the policy and opens the links. Only a policy that is not right is an error: a target without an address or a route
    /// may have one later.
    pub(crate) fn prepare(
        settings: StewardSettings,
        ledger: Arc<Ledger>,
        mailbox: Arc<Mailbox>,
    ) -> Result<Start, SendError> {
        let stamp = Stamp::of(&settings.policy);
        let file = Arc::new(PolicyFile::load(&settings.policy).map_err(SendError::Policy)?);
        let mut steward = Self {
            stamp,
            seen: None,
            overrides: BTreeMap::new(),
            known: Vec::new(),
            own: Arc::default(),
            generation: 0,
            ledger,
            mailbox,
            status: Arc::default(),
            next_resolve: Instant::now() + settings.resolve_interval,
            is_resolving: false,
            ways: settings.ways.clone().map(|WaySettings { captured, tunnels }| Ways::new(captured, tunnels)),
            file: Arc::clone(&file),
            settings,
        };
        let (plan, changes) = steward.make(&file, BTreeMap::new()).map_err(SendError::Setting)?;
        steward.shown().reloads.accepted_at = seconds_since_1970();
        let mut exits = Exits::default();
        exits.rebuild(changes);
        Ok(Start { steward, plan, exits })
    }

    /// The policy as it is in force.
    pub(crate) fn policy(&self) -> &Policy {
        &self.file.policy
    }

    /// The policy file.
    pub(crate) fn path(&self) -> &Path {
        &self.settings.policy
    }

    /// What others are shown.
    pub(crate) fn status(&self) -> Arc<Mutex<Status>> {
        Arc::clone(&self.status)
    }

    /// Makes a plan of `file` with `overrides`, opens links that it needs and has not, and takes both for what is in force.
    /// On an error all stays as it was.
    fn make(
        &mut self,
        file: &Arc<PolicyFile>,
        mut overrides: BTreeMap<String, Override>,
    ) -> Result<(Plan, Vec<ExitChange>), String> {
        let mut policy = file.policy.clone();
        overrides.retain(|name, _| policy.sessions.iter().any(|session| session.name == *name));
        for session in &mut policy.sessions {
            match overrides.get(&session.name) {
                Some(change) if change.file == session.enabled => session.enabled = change.on,
                Some(_) => drop(overrides.remove(&session.name)),
                None => {}
            }
        }
        let policy = Arc::new(policy);
        let interfaces = (self.settings.interfaces)(&policy).map_err(|error| error.to_string())?;
        // Who our own traffic is with is known when the links are open; whether the policy can be run at all comes first.
        let mut plan = Plan::new(policy, &interfaces, &self.own, &self.ledger)?;
        let links = self.links_for(plan.targets().len());
        let mut known = Vec::new();
        let mut changes = Vec::new();
        for target in plan.targets() {
            if let Some(place) = self.known.iter().position(|old| old.target == *target) {
                known.push(self.known[place].clone());
                changes.push(ExitChange::Keep(place));
            } else {
                let link = open(links, target, &target.resolve());
                refuse_loop(target, &link, plan.guards_own())
                    .and_then(|()| self.ways.as_mut().map_or(Ok(()), |ways| is_clear(ways, &link)))
                    .map_err(|text| file.error(vec![file.problem(&plan.path_of(target), text)]).to_string())?;
                known.push(Known::new(target.clone(), &link));
                changes.push(ExitChange::Open(link));
            }
        }
        self.own = Arc::new(own_traffic(&known));
        plan.set_own_traffic(&self.own);
        self.file = Arc::clone(file);
        self.overrides = overrides;
        self.known = known;
        self.generation += 1;
        self.publish(&plan);
        Ok((plan, changes))
    }

    /// Fewer source ports for each of many targets: every one is a socket.
    fn links_for(&self, targets: usize) -> LinkSettings {
        const MOST_SOCKETS: usize = 512;
        let most = (MOST_SOCKETS / targets.max(1)).max(1) as u16;
        let most = most.min(TransmitSettings::MAX_SOURCE_PORTS);
        LinkSettings { source_ports: self.settings.links.source_ports.clamp(1, most), ..self.settings.links }
    }

    fn publish(&self, plan: &Plan) {
        let policy = &plan.policy;
        let sessions = policy.sessions.iter().map(|session| SessionStatus {
            name: session.name.clone(),
            number: session.number,
            enabled: session.enabled,
            vni: session.vni.get(),
            encapsulation: session.encapsulation,
            target: policy.targets[session.target].name.clone(),
        });
        let mut status = self.shown();
        status.generation = self.generation;
        status.policy = self.settings.policy.display().to_string();
        status.sessions = sessions.collect();
        status.targets = self.target_statuses();
    }

    fn shown(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn target_statuses(&self) -> Vec<TargetStatus> {
        let one = |known: &Known| TargetStatus { target: known.target.to_string(), address: known.address };
        self.known.iter().map(one).collect()
    }

    /// Serves requests, and does what is due, in a thread of its own until the [`Office`] is closed.
    pub(crate) fn start(self) -> std::io::Result<Office> {
        let (requests, received) = channel();
        let own = requests.clone();
        let thread = std::thread::Builder::new().name("steward".to_owned()).spawn(move || self.run(&received, &own))?;
        Ok(Office { requests, thread: Some(thread) })
    }

    fn run(mut self, received: &Receiver<Request>, requests: &Sender<Request>) {
        loop {
            match received.recv_timeout(self.settings.tick) {
                Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Request::Reload(answer)) => answer(self.reload("as asked")),
                Ok(Request::Enable { session, on, answer }) => answer(self.enable(&session, on)),
                Ok(Request::Resolved(results)) => self.resolved(results),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.look_at_file();
            self.look_at_sources();
            self.look_at_ways();
            self.resolve(requests);
            self.mailbox.sweep();
        }
    }

    /// Takes the file when it has changed and then stayed the same for a tick.
    fn look_at_file(&mut self) {
        let stamp = Stamp::of(&self.settings.policy);
        if stamp.is_none() || stamp == self.stamp {
            // A file that is gone for a moment is about to be replaced.
            self.seen = None;
        } else if stamp == self.seen {
            // The outcome has been told; nobody waits for it.
            let _ = self.reload("it has changed");
        } else {
            self.seen = stamp;
        }
    }

    fn reload(&mut self, why: &str) -> Result<Outcome, Refusal> {
        // Before it is read: what is written meanwhile is seen as another change.
        self.stamp = Stamp::of(&self.settings.policy);
        self.seen = None;
        let path = self.settings.policy.display().to_string();
        let loaded = PolicyFile::load(&self.settings.policy).map_err(|error| Refusal::Policy(error.to_string()));
        let taken = loaded.and_then(|file| self.take(&Arc::new(file), self.overrides.clone()));
        match &taken {
            Ok(outcome) => tracing::warn!("policy {path} was read again, {why}: generation {}", outcome.generation),
            Err(Refusal::Policy(error) | Refusal::UnknownSession(error)) => {
                tracing::warn!("the policy stays as it was, since what it is now is refused: {error}");
            }
        }
        self.note_reload(&taken);
        taken
    }

    /// Counts a reload, for those who did not ask for it: nobody reads the answer to a signal.
    fn note_reload(&self, taken: &Result<Outcome, Refusal>) {
        let mut status = self.shown();
        let reloads = &mut status.reloads;
        match taken {
            Ok(_) => {
                reloads.accepted += 1;
                reloads.accepted_at = seconds_since_1970();
                reloads.error = None;
            }
            Err(Refusal::Policy(error) | Refusal::UnknownSession(error)) => {
                reloads.refused += 1;
                reloads.error = Some(error.clone());
            }
        }
    }

    fn enable(&mut self, session: &str, on: bool) -> Result<Outcome, Refusal> {
        let sessions = &self.file.policy.sessions;
        let named = sessions.iter().find(|known| known.name == session);
        let found = named.or_else(|| sessions.iter().find(|known| session.parse() == Ok(known.number)));
        let Some(found) = found else { return Err(Refusal::UnknownSession(session.to_owned())) };
        let mut overrides = self.overrides.clone();
        overrides.insert(found.name.clone(), Override { file: found.enabled, on });
        let name = found.name.clone();
        let outcome = self.take(&Arc::clone(&self.file), overrides)?;
        tracing::info!("session {name:?} is {}", if on { "enabled" } else { "disabled" });
        Ok(outcome)
    }

    fn take(&mut self, file: &Arc<PolicyFile>, overrides: BTreeMap<String, Override>) -> Result<Outcome, Refusal> {
        let (plan, exits) = self.make(file, overrides).map_err(Refusal::Policy)?;
        let ticket = self.mailbox.post([Change::Plan { plan: Box::new(plan), exits }]);
        let until = Instant::now() + APPLY_PATIENCE;
        while !self.mailbox.is_applied(ticket) && Instant::now() < until {
            std::thread::sleep(APPLY_POLL);
        }
        Ok(Outcome { generation: self.generation, in_force: self.mailbox.is_applied(ticket) })
    }

    fn show_targets(&self) {
        let statuses = self.target_statuses();
        self.shown().targets = statuses;
    }

    /// Has names looked up, if it is time to, by a thread that ends with the answer: a resolver may take half a minute.
    fn resolve(&mut self, requests: &Sender<Request>) {
        if self.is_resolving || Instant::now() < self.next_resolve {
            return;
        }
        let targets: Vec<Target> = self.known.iter().map(|known| known.target.clone()).collect();
        let requests = requests.clone();
        let look_up = move || {
            let results = targets.into_iter().map(|target| (target.resolve(), target)).map(|(a, b)| (b, a)).collect();
            // The steward may have ended.
            let _ = requests.send(Request::Resolved(results));
        };
        match std::thread::Builder::new().name("resolve".to_owned()).spawn(look_up) {
            Ok(_) => self.is_resolving = true,
            Err(error) => {
                tracing::warn!("cannot start a thread to look names up: {error}");
                self.next_resolve = Instant::now() + self.settings.resolve_interval;
            }
        }
    }

    fn resolved(&mut self, results: Vec<(Target, Result<Vec<SocketAddr>, SendError>)>) {
        self.is_resolving = false;
        let links = self.links_for(self.known.len());
        let mut changes = Vec::new();
        for (target, addresses) in results {
            let Some(place) = self.known.iter().position(|known| known.target == target) else { continue };
            let old = self.known[place].address;
            match &addresses {
                Ok(addresses) if old.is_some_and(|old| addresses.contains(&old)) => continue,
                // Where the copies go now is better than nowhere.
                Err(_) if old.is_some() => continue,
                _ => {}
            }
            let link = open(links, &target, &addresses);
            let Some(address) = link.target() else { continue };
            if let Some(ways) = &mut self.ways
                && let Err(hidden) = is_clear(ways, &link)
            {
                tracing::warn!("no copies go to {target} at {address} until this is mended: {hidden}");
                continue;
            }
            if let Some(old) = old {
                tracing::warn!("{target} is {address} now, and was {old}");
            } else {
                tracing::warn!("{target} is {address}: copies go there from now on");
            }
            self.known[place] = Known::new(target, &link);
            changes.push(Change::Exit { place, link: Box::new(link) });
        }
        if !changes.is_empty() {
            self.own = Arc::new(own_traffic(&self.known));
            self.mailbox.post(std::iter::once(Change::Own(Arc::clone(&self.own))).chain(changes));
            self.show_targets();
        }
        let is_absent = self.known.iter().any(|known| known.address.is_none());
        let retry = if is_absent { ABSENT_RETRY } else { self.settings.resolve_interval };
        self.next_resolve = Instant::now() + retry.min(self.settings.resolve_interval);
    }
}

/// Opens the link to a target with these addresses; where it cannot be, an absent one.
fn open(links: LinkSettings, target: &Target, addresses: &Result<Vec<SocketAddr>, SendError>) -> Link {
    let opened = match addresses {
        Ok(addresses) => Link::open_any(links, addresses, target).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    opened.unwrap_or_else(|error| {
        tracing::warn!("no copies go to {target} until this is mended: {error}");
        Link::absent(links)
    })
}

/// What is ours: datagrams to the targets, and from our sockets, by whatever address a load balancer of this host lets them go on.
fn own_traffic(known: &[Known]) -> OwnTraffic {
    let mut own = OwnTraffic::default();
    let mut is_whole = true;
    for known in known {
        is_whole &= known.address.is_none_or(|address| own.add_link(address, &known.sockets));
    }
    if !is_whole {
        tracing::warn!("there are more targets than are kept out of what is mirrored");
    }
    own
}

/// Where a steward takes requests. It ends when this is dropped.
pub(crate) struct Office {
    requests: Sender<Request>,
    thread: Option<JoinHandle<()>>,
}

impl Office {
    /// A call that has the policy read again, for a signal.
    pub(crate) fn reload(&self) -> Box<dyn Fn() + Send> {
        let requests = self.requests.clone();
        Box::new(move || {
            // The outcome is told by the steward, who may have ended.
            let _ = requests.send(Request::Reload(Box::new(|_| ())));
        })
    }

    /// A way to send requests.
    pub(crate) fn requests(&self) -> Sender<Request> {
        self.requests.clone()
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        // An error means that the thread is gone already.
        let _ = self.requests.send(Request::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the steward panicked");
        }
    }
}

#[cfg(test)]
mod tests;
