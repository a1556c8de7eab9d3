//! What is the same at each login of a user on a NAS: decided and encoded once, and kept for as long as everything it was made of is
//! as it was. Only for logins that nobody is asked about.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::super::settings::Settings;
use super::super::users::Users;
use crate::auth::{Credential, PreparedNtHash, Remembered, SealingKey, StoredCredential};
use crate::model::{Member, Nas, Timestamp};
use crate::policy::{self, Grant, Terms};

/// What such a login gets.
#[derive(Debug)]
pub(super) struct Plan {
    pub member: Arc<Member>,
    pub nas: Arc<Nas>,
    pub grant: Grant,
    /// Opened.
    pub credential: Credential,
    /// The same as MS-CHAPv2 needs it, if that is possible; once somebody has logged in so.
    prepared: OnceLock<Option<Box<PreparedNtHash>>>,
    /// The attributes of the Access-Accept that come of the grant, encoded.
    pub attributes: Vec<u8>,
}

impl Plan {
    /// `None` when such logins need more than a plan: somebody is asked, or something is wrong that is to be said.
    fn new(member: Arc<Member>, nas: &Arc<Nas>, settings: &Settings, key: &SealingKey) -> Option<Self> {
        let grant = policy::decide(&member, &member.groups, nas, &settings.defaults).ok()?;
        if !matches!(grant.terms, Terms::Waived(_)) {
            return None;
        }
        let stored = std::str::from_utf8(member.credential.expose()).ok()?;
        let credential = StoredCredential::parse(stored).ok()?.open(key, member.name.as_str()).ok()?;
        let dialect = settings.dialects.get(&nas.dialect)?;
        let attributes = dialect.granted(&settings.dictionary, &member.name, &grant).ok()?.concat();
        Some(Self { member, nas: Arc::clone(nas), grant, credential, prepared: OnceLock::new(), attributes })
    }

    /// What MS-CHAPv2 is checked against; `None` when the password is stored in a form of which that cannot be made.
    pub(super) fn prepared_nt_hash(&self) -> Option<&PreparedNtHash> {
        let prepare = || PreparedNtHash::of(&self.credential).map(Box::new);
        self.prepared.get_or_init(prepare).as_deref()
    }
}

/// A plan, or that there is none, and what it was made of.
#[derive(Debug)]
pub(super) struct Planned {
    member: Arc<Member>,
    nas: Arc<Nas>,
    /// Until which change of users it is known to hold.
    change: u64,
    pub plan: Option<Arc<Plan>>,
    /// The user's password, if it was right lately and is slow to check.
    pub remembered: Option<Remembered>,
}

impl Planned {
    /// Whether it is still what it was made of, by this change of users.
    fn holds(&mut self, name: &str, nas: &Arc<Nas>, change: u64, (users, now): (&Users, Timestamp)) -> bool {
        if !Arc::ptr_eq(&self.nas, nas) {
            return false;
        }
        if self.change != change
            && let Some((member, change)) = users.at_hand(name, now)
            && Arc::ptr_eq(&member, &self.member)
        {
            // Somebody else has changed.
            self.change = change;
        }
        self.change == change
    }
}

/// The plans of one core. Bounded: when full, those that were not asked for lately are forgotten.
#[derive(Debug)]
pub(super) struct Plans {
    /// Asked for since the last time these were full.
    young: HashMap<Box<str>, Planned>,
    old: HashMap<Box<str>, Planned>,
    most: usize,
    /// Of the settings that all of them were made of.
    version: u64,
}

impl Plans {
    /// None; twice `most` at most.
    pub(super) fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), most: most.max(1), version: 0 }
    }

    /// The plan for that user there, made if need be; `None` when nothing is known of the user at this moment.
    pub(super) fn get(
        &mut self,
        name: &str,
        nas: &Arc<Nas>,
        settings: (&Arc<Settings>, u64),
        (users, now): (&Users, Timestamp),
        key: &SealingKey,
    ) -> Option<&mut Planned> {
        let (settings, version) = settings;
        let change = users.change(now)?;
        if self.version != version {
            // With the passwords they hold.
            (self.young, self.old, self.version) = (HashMap::new(), HashMap::new(), version);
        }
        let holds = match self.young.get_mut(name) {
            Some(planned) => planned.holds(name, nas, change, (users, now)),
            None => self.old.remove_entry(name).is_some_and(|(name, mut planned)| {
                let holds = planned.holds(&name, nas, change, (users, now));
                self.keep(name, planned);
                holds
            }),
        };
        if !holds {
            let Some((member, change)) = users.at_hand(name, now) else {
                // With the password it holds.
                self.young.remove(name);
                return None;
            };
            let plan = Plan::new(Arc::clone(&member), nas, settings, key).map(Arc::new);
            let nas = Arc::clone(nas);
            self.keep(name.into(), Planned { member, nas, change, plan, remembered: None });
        }
        self.young.get_mut(name)
    }

    fn keep(&mut self, name: Box<str>, planned: Planned) {
        if self.young.len() >= self.most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name, planned);
    }
}
