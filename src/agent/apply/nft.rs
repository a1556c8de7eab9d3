//! `nft -j` with JSON on its standard input: no shell, no text to quote. Keeps a mirror of which interface is in which permit
//! set, so that a change is one small transaction; when the kernel disagrees, the whole table is made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::mpsc;

use super::rules::{FAMILY, RuleSettings, TABLE, element, routed, ruleset, v4, v6};
use super::stations::mac;
use super::tool::{self, ToolError};
use crate::dynauth::server::Mac;

/// What nft is asked for the table, and how it says that there is none.
const LIST: [&str; 5] = ["-j", "list", "table", FAMILY, TABLE];
const NO_TABLE: &str = "No such file or directory";

/// After a monitor that ended.
const MONITOR_AGAIN: Duration = Duration::from_secs(5);

/// Which permit set an interface is in, and its peer's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::agent) struct Place {
    /// The permit set.
    pub(in crate::agent) set: String,
    /// The peer's IPv4 address.
    pub(in crate::agent) v4: Option<Ipv4Addr>,
    /// IPv4 networks behind the peer; none overlaps another.
    pub(in crate::agent) routed: Vec<Ipv4Net>,
}

/// A station that is let through.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::agent) struct Permitted {
    /// Its address, as nftables has it.
    pub(in crate::agent) mac: String,
    /// By which permit set.
    pub(in crate::agent) set: String,
    /// For how long from now.
    pub(in crate::agent) left: Duration,
}

/// Addresses that are banned: an interval, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::agent) struct Banned {
    /// The first.
    pub(in crate::agent) first: IpAddr,
    /// The last, of the same family.
    pub(in crate::agent) last: IpAddr,
    /// For how long from now; `None` is without end.
    pub(in crate::agent) left: Option<Duration>,
}

/// The sets of bans, and whether they are of IPv4.
const BANNED: [(&str, bool); 2] = [("banned_v4", true), ("banned_v6", false)];
/// nft tells whole seconds, and the kernel's timers stand still while the host sleeps.
const CLOCKS_APART: Duration = Duration::from_secs(3);

impl Banned {
    fn element(&self) -> Value {
        let (first, last) = (self.first.to_string(), self.last.to_string());
        let whole = ["0.0.0.0", "::"].contains(&first.as_str()).then(|| IpNet::new(self.first, 0).ok()).flatten();
        let value = if first == last {
            json!(first)
        } else if whole.is_some_and(|whole| whole.broadcast() == self.last) {
            json!({"prefix": {"addr": first, "len": 0}})
        } else {
            json!({"range": [first, last]})
        };
        match self.left {
            // Never too short.
            Some(left) => {
                json!({"elem": {"val": value, "timeout": left.as_secs() + u64::from(left.subsec_nanos() > 0)}})
            }
            None => value,
        }
    }

    /// Reads what nft lists.
    fn read(element: &Value) -> Option<Self> {
        let value = element.pointer("/elem/val").unwrap_or(element);
        let left = element.pointer("/elem/expires").and_then(Value::as_u64).map(Duration::from_secs);
        let address = |value: &Value| value.as_str()?.parse::<IpAddr>().ok();
        let (first, last) = if let Some(prefix) = value.get("prefix") {
            let net = IpNet::new(address(&prefix["addr"])?, prefix["len"].as_u64()?.try_into().ok()?).ok()?;
            (net.network(), net.broadcast())
        } else if let Some(range) = value.get("range") {
            (address(&range[0])?, address(&range[1])?)
        } else {
            (address(value)?, address(value)?)
        };
        Some(Self { first, last, left })
    }

    fn is_about(&self, other: &Self) -> bool {
        let same_end = match (self.left, other.left) {
            (Some(left), Some(other)) => left.abs_diff(other) <= CLOCKS_APART,
            (left, other) => left == other,
        };
        (self.first, self.last) == (other.first, other.last) && same_end
    }
}

/// Why the rules are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// It cannot be run.
    #[error("nft cannot be run: {0}; install nftables")]
    Run(#[from] io::Error),
    /// It refused.
    #[error("nft refused: {0}")]
    Refused(String),
    /// It printed what is not JSON.
    #[error("nft -j prints no JSON: {0}")]
    Odd(#[from] serde_json::Error),
    /// It did not end in time.
    #[error("nft did not end in time")]
    Late,
}

impl From<ToolError> for NftError {
    fn from(error: ToolError) -> Self {
        match error {
            ToolError::Run(_, error) => Self::Run(error),
            ToolError::Refused(_, said) if said.is_empty() => Self::Refused("without a word".to_owned()),
            ToolError::Refused(_, said) => Self::Refused(said),
            ToolError::Late(_) => Self::Late,
        }
    }
}

/// Our table in the kernel.
#[derive(Debug)]
pub(in crate::agent) struct Table {
    settings: RuleSettings,
    places: BTreeMap<String, Place>,
    /// Chains, rules and sets as nft showed them when we had just made them; the kernel gives each a handle of its own, and a rule
    /// that is changed another one.
    made: Vec<Value>,
    /// Stations that were let through when we last looked; the kernel alone knows until when.
    stations: BTreeSet<String>,
}

impl Table {
    /// Puts the table in force with exactly these interfaces permitted; bans that are in force stay, but for those without end.
    pub(in crate::agent) async fn establish(
        settings: RuleSettings,
        places: BTreeMap<String, Place>,
    ) -> Result<Self, NftError> {
        let mut table = Self { settings, places, made: Vec::new(), stations: BTreeSet::new() };
        table.rebuild().await?;
        Ok(table)
    }

    /// Puts an interface into a set, or into none: the sandbox.
    pub(in crate::agent) async fn place(&mut self, interface: &str, place: Option<Place>) -> Result<(), NftError> {
        let before = self.places.get(interface).cloned();
        if before == place {
            return Ok(());
        }
        let mut commands = Vec::new();
        if let Some(before) = &before {
            commands.extend(elements("delete", interface, before));
        }
        if let Some(place) = &place {
            commands.extend(elements("add", interface, place));
        }
        match place {
            Some(place) => self.places.insert(interface.to_owned(), place),
            None => self.places.remove(interface),
        };
        match run(json!({"nftables": commands})).await {
            Ok(()) => Ok(()),
            // Somebody else changed our table: then it is made anew, as it should be.
            Err(NftError::Refused(_)) => self.rebuild().await,
            Err(error) => Err(error),
        }
    }

    /// What was ordered of an interface and could not be done is not to be done later either: this is as it should be. The next
    /// comparison mends what is otherwise.
    pub(in crate::agent) fn take_back(&mut self, interface: &str, before: Option<Place>) {
        match before {
            Some(before) => self.places.insert(interface.to_owned(), before),
            None => self.places.remove(interface),
        };
    }

    /// Compares the permit sets, chains and rules with what they should be and mends them. Says whether there was something to mend.
    pub(in crate::agent) async fn reconcile(&mut self) -> Result<bool, NftError> {
        let mut wanted = BTreeMap::new();
        for (permit, _) in &self.settings.permits {
            wanted.insert(v4(permit), Vec::new());
            wanted.insert(routed(permit), Vec::new());
            wanted.insert(v6(permit), Vec::new());
        }
        for (interface, place) in &self.places {
            if let Some(address) = place.v4 {
                let element = json!({"concat": [interface, address.to_string()]}).to_string();
                wanted.entry(v4(&place.set)).or_default().push(element);
            }
            wanted.entry(v6(&place.set)).or_default().push(json!(interface).to_string());
            let networks = place.routed.iter().map(|net| network(interface, *net).to_string());
            wanted.entry(routed(&place.set)).or_default().extend(networks);
        }
        let listed = list().await?;
        let fine = listed.as_ref().is_some_and(|listed| {
            wanted.iter_mut().all(|(set, elements)| {
                let mut found: Vec<String> = match set_of(listed, set) {
                    Some(found) => found.iter().map(Value::to_string).collect(),
                    None => return false,
                };
                found.sort_unstable();
                elements.sort_unstable();
                found == *elements
            }) && made(listed) == self.made
                && rules_in(listed, "/rule") == rules_in(&ruleset(&self.settings, &[]), "/add/rule")
        });
        if !fine {
            self.rebuild().await?;
        }
        Ok(!fine)
    }

    /// Bans exactly these of the outer protocols: all in one transaction, since nft takes no interval that overlaps another.
    pub(in crate::agent) async fn ban(&self, banned: &[Banned]) -> Result<(), NftError> {
        let mut commands = Vec::new();
        for (set, v4) in BANNED {
            commands.push(json!({"flush": {"set": {"family": FAMILY, "table": TABLE, "name": set}}}));
            let elements: Vec<Value> =
                banned.iter().filter(|banned| banned.first.is_ipv4() == v4).map(Banned::element).collect();
            if !elements.is_empty() {
                let elements = json!({"family": FAMILY, "table": TABLE, "name": set, "elem": elements});
                commands.push(json!({"add": {"element": elements}}));
            }
        }
        run(json!({"nftables": commands})).await
    }

    /// Compares the bans in force with what they should be, and mends them. Says whether there was something to mend.
    pub(in crate::agent) async fn reconcile_bans(&self, banned: &[Banned]) -> Result<bool, NftError> {
        let listed = list().await?.unwrap_or_default();
        let found = BANNED.iter().flat_map(|(set, _)| set_of(&listed, set).unwrap_or_default());
        let lasting = |banned: &Banned| banned.left.is_none_or(|left| left > CLOCKS_APART);
        let mut found: Vec<Banned> = found.filter_map(|element| Banned::read(&element)).filter(lasting).collect();
        found.sort_unstable_by_key(|banned| banned.first);
        let wanted: Vec<&Banned> = banned.iter().filter(|banned| lasting(banned)).collect();
        let fine =
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| found.is_about(wanted));
        if !fine {
            self.ban(banned).await?;
        }
        Ok(!fine)
    }

    /// Lets a station through for so long, by the set it is in when none is named. False when it is in none.
    pub(in crate::agent) async fn permit_station(
        &mut self,
        station: Mac,
        set: Option<&str>,
        time: Duration,
    ) -> Result<bool, NftError> {
        let now_in = self.sets_with(station).await?;
        let Some(set) = set.map(mac).or_else(|| now_in.first().cloned()) else { return Ok(false) };
        let address = json!(station.to_string());
        // It may have left a set meanwhile, and deleting what is not there fails: so it is added before.
        let mut commands = Vec::new();
        for before in now_in.iter().chain([&set]) {
            commands.extend(["add", "delete"].map(|verb| element(verb, before, address.clone())));
        }
        let timed = json!({"elem": {"val": address, "timeout": time.as_secs().max(1)}});
        commands.push(element("add", &set, timed));
        run(json!({"nftables": commands})).await?;
        self.stations.insert(station.to_string());
        Ok(true)
    }

    /// Puts a station back into the sandbox. False when it was there.
    pub(in crate::agent) async fn forget_station(&mut self, station: Mac) -> Result<bool, NftError> {
        let now_in = self.sets_with(station).await?;
        let both = |set: &String| ["add", "delete"].map(|verb| element(verb, set, json!(station.to_string())));
        let commands: Vec<Value> = now_in.iter().flat_map(both).collect();
        if !commands.is_empty() {
            run(json!({"nftables": commands})).await?;
        }
        self.stations.remove(&station.to_string());
        Ok(!now_in.is_empty())
    }

    /// Whether a station is in the sandbox, as far as we know.
    pub(in crate::agent) fn confines(&self, station: Mac) -> bool {
        !self.stations.contains(&station.to_string())
    }

    /// Stations whose time ended since this was last asked.
    pub(in crate::agent) async fn stations_over(&mut self) -> Result<Vec<String>, NftError> {
        if self.settings.captive.is_empty() {
            return Ok(Vec::new());
        }
        let listed = list().await?.unwrap_or_default();
        let now: BTreeSet<String> = self
            .station_sets()
            .flat_map(|set| set_of(&listed, &set).unwrap_or_default())
            .filter_map(|element| Some(element.pointer("/elem/val").unwrap_or(&element).as_str()?.to_owned()))
            .collect();
        let before = std::mem::replace(&mut self.stations, now);
        Ok(before.difference(&self.stations).cloned().collect())
    }

    /// Stations that are let through, in order.
    pub(in crate::agent) async fn stations(&self) -> Result<Vec<Permitted>, NftError> {
        if self.settings.captive.is_empty() {
            return Ok(Vec::new());
        }
        let listed = list().await?.unwrap_or_default();
        let mut stations = Vec::new();
        for (set, _) in &self.settings.permits {
            for element in set_of(&listed, &mac(set)).unwrap_or_default() {
                let (Some(mac), Some(left)) = (element["elem"]["val"].as_str(), element["elem"]["expires"].as_u64())
                else {
                    continue;
                };
                stations.push(Permitted { mac: mac.to_owned(), set: set.clone(), left: Duration::from_secs(left) });
            }
        }
        stations.sort_unstable();
        Ok(stations)
    }

    fn station_sets(&self) -> impl Iterator<Item = String> {
        let permits = self.settings.permits.iter().filter(|_| !self.settings.captive.is_empty());
        permits.map(|(permit, _)| mac(permit))
    }

    async fn sets_with(&self, station: Mac) -> Result<Vec<String>, NftError> {
        let (listed, address) = (list().await?.unwrap_or_default(), station.to_string());
        let is_it = |element: &Value| element.pointer("/elem/val").unwrap_or(element) == &json!(address);
        Ok(self.station_sets().filter(|set| set_of(&listed, set).is_some_and(|all| all.iter().any(is_it))).collect())
    }

    async fn rebuild(&mut self) -> Result<(), NftError> {
        let mut kept = Vec::new();
        if let Some(listed) = list().await? {
            for set in BANNED.map(|(set, _)| set.to_owned()).into_iter().chain(self.station_sets()) {
                let found = set_of(&listed, &set).unwrap_or_default();
                kept.extend(found.iter().filter_map(still_timed).map(|timed| element("add", &set, timed)));
            }
        }
        for (interface, place) in &self.places {
            kept.extend(elements("add", interface, place));
        }
        run(ruleset(&self.settings, &kept)).await?;
        self.made = list().await?.as_ref().map(made).unwrap_or_default();
        Ok(())
    }
}

/// What of a listing stays the same while sessions come and go.
fn made(listed: &Value) -> Vec<Value> {
    let items = listed["nftables"].as_array().into_iter().flatten();
    let lasting = items.filter(|item| ["chain", "rule", "set", "map"].iter().any(|kind| item.get(kind).is_some()));
    let mut lasting: Vec<Value> = lasting.cloned().collect();
    for item in &mut lasting {
        for kind in ["set", "map"] {
            if let Some(set) = item.get_mut(kind).and_then(Value::as_object_mut) {
                set.remove("elem");
            }
        }
    }
    lasting
}

/// Says whenever somebody deletes our table, as a restart of Debian's nftables.service does. For ever.
pub(in crate::agent) async fn watch(lost: mpsc::Sender<()>) {
    loop {
        let monitor = tokio::process::Command::new("nft")
            .args(["monitor", "destroy", "tables"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        if let Ok(mut monitor) = monitor
            && let Some(stdout) = monitor.stdout.take()
        {
            let mut lines = BufReader::new(stdout).lines();
            let ours = format!("table {FAMILY} {TABLE}");
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains(&ours) {
                    // Full: it is known already.
                    let _ = lost.try_send(());
                }
            }
        }
        // Without it there is still the comparison every few seconds.
        tokio::time::sleep(MONITOR_AGAIN).await;
    }
}

/// Takes an interface out of every permit set there is, whoever put it there: for a hook that finds no agent. Blocks.
///
/// # Errors
/// [`NftError`]; no table at all is fine.
pub(in crate::agent) fn forget_interface(interface: &str) -> Result<(), NftError> {
    let Some(listed) = list_now()? else { return Ok(()) };
    let mut commands = Vec::new();
    for item in listed["nftables"].as_array().into_iter().flatten() {
        let (Some(name), Some(elements)) = (item["set"]["name"].as_str(), item["set"]["elem"].as_array()) else {
            continue;
        };
        for found in elements {
            if found.as_str() == Some(interface) || found["concat"][0].as_str() == Some(interface) {
                commands.push(element("delete", name, found.clone()));
            }
        }
    }
    if commands.is_empty() { Ok(()) } else { run_now(&json!({"nftables": commands})) }
}

fn elements(verb: &str, interface: &str, place: &Place) -> Vec<Value> {
    let mut elements = vec![element(verb, &v6(&place.set), json!(interface))];
    if let Some(address) = place.v4 {
        let both = json!({"concat": [interface, address.to_string()]});
        elements.push(element(verb, &v4(&place.set), both));
    }
    elements.extend(place.routed.iter().map(|net| element(verb, &routed(&place.set), network(interface, *net))));
    elements
}

/// As nft lists it: a network of one host without a length.
fn network(interface: &str, net: Ipv4Net) -> Value {
    let address = net.addr().to_string();
    match net.prefix_len() {
        32 => json!({"concat": [interface, address]}),
        length => json!({"concat": [interface, {"prefix": {"addr": address, "len": length}}]}),
    }
}

/// An element with the rest of its time, which nft tells in whole seconds: the one begun is not taken away.
fn still_timed(found: &Value) -> Option<Value> {
    let found = &found["elem"];
    let (timeout, expires) = (found["timeout"].as_u64()?, found["expires"].as_u64()?);
    Some(json!({"elem": {"val": found["val"], "timeout": timeout, "expires": timeout.min(expires + 1)}}))
}

fn set_of(listed: &Value, name: &str) -> Option<Vec<Value>> {
    let mut sets = listed["nftables"].as_array()?.iter().map(|item| &item["set"]);
    let set = sets.find(|set| set["name"] == name)?;
    Some(set["elem"].as_array().cloned().unwrap_or_default())
}

fn rules_in(commands: &Value, at: &str) -> usize {
    commands["nftables"].as_array().into_iter().flatten().filter(|item| item.pointer(at).is_some()).count()
}

async fn run(commands: Value) -> Result<(), NftError> {
    tool::run("nft", &["-j", "-f", "-"], &commands.to_string()).await?;
    Ok(())
}

async fn list() -> Result<Option<Value>, NftError> {
    match tool::run("nft", &LIST, "").await {
        Ok(listed) => Ok(Some(serde_json::from_str(&listed)?)),
        Err(ToolError::Refused(_, said)) if said.contains(NO_TABLE) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn run_now(commands: &Value) -> Result<(), NftError> {
    let mut child = Command::new("nft")
        .args(["-j", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let text = commands.to_string();
    // It reads all of its input before it says anything, so this cannot jam.
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(NftError::Refused(said.lines().next().unwrap_or("without a word").to_owned()));
    }
    Ok(written?)
}

/// The table as it is; `None` when there is none.
fn list_now() -> Result<Option<Value>, NftError> {
    let output = Command::new("nft").args(LIST).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(Some(serde_json::from_slice(&output.stdout)?));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains(NO_TABLE) {
        return Ok(None);
    }
    Err(NftError::Refused(said.lines().next().unwrap_or("without a word").to_owned()))
}
