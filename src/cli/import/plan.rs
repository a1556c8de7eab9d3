//! From FreeRADIUS's tables to our users: what becomes of each, and what cannot be carried over. Reads and writes nothing.
//!
//! It follows rlm_sql 3.2 (`read_groups = yes`): a user's check rows, then their reply rows, then their groups by priority
//! until one does not say Fall-Through. What FreeRADIUS checks and we would not is never silently dropped: such a user is
//! imported disabled, since otherwise they could do more here than there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::model::ReplyItem;
use crate::store::freeradius::{Item, Tables};

use super::password::{self, Form};

/// A user to be.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) name: String,
    pub(super) password: Form,
    pub(super) disabled: bool,
    pub(super) permit_filter: Option<String>,
    pub(super) session_timeout: Option<Duration>,
    pub(super) reply: Vec<ReplyItem>,
    /// The groups they are in, by priority. What the groups' rows say is in the user already.
    pub(super) groups: Vec<String>,
}

/// A row that is not carried over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct LeftOut {
    /// The table.
    pub(super) table: &'static str,
    /// The row's id; none when it is the lack of one.
    pub(super) row: Option<i64>,
    /// Whose: a user, a group, a NAS.
    pub(super) whose: String,
    /// What it says; values that may be secret are left out.
    pub(super) what: String,
    /// Why.
    pub(super) reason: String,
    /// What follows.
    pub(super) effect: Effect,
}

/// What follows from a row's being left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Effect {
    /// The user or NAS is not imported.
    NotImported,
    /// The user, or each member of the group, is imported disabled.
    Disabled,
    /// The rest is imported without it.
    WithoutIt,
}

impl Effect {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::NotImported => "not imported",
            Self::Disabled => "imported disabled",
            Self::WithoutIt => "imported without it",
        }
    }
}

/// What comes of the tables.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) users: Vec<Planned>,
    pub(super) left_out: Vec<LeftOut>,
}

/// What may be decided beforehand.
pub(super) struct Rules<'r> {
    /// Attributes of check rows to pass over, lower case.
    pub(super) drop_checks: &'r BTreeSet<String>,
    /// Why a name cannot be a User-Name.
    pub(super) name: &'r dyn Fn(&str) -> Result<(), String>,
    /// Why a name cannot be a group's.
    pub(super) group: &'r dyn Fn(&str) -> Result<(), String>,
    /// Why an attribute cannot be in an Access-Accept.
    pub(super) reply: &'r dyn Fn(&ReplyItem) -> Result<(), String>,
}

/// Plans all users there are; `done` is told of each.
pub(super) fn users(tables: &Tables, rules: &Rules<'_>, done: &dyn Fn()) -> Plan {
    let by_owner = |items: &'_ [Item]| {
        let mut by_owner: BTreeMap<String, Vec<Item>> = BTreeMap::new();
        for item in items {
            by_owner.entry(item.owner.clone()).or_default().push(item.clone());
        }
        by_owner
    };
    let (check, reply) = (by_owner(&tables.check), by_owner(&tables.reply));
    let (group_check, group_reply) = (by_owner(&tables.group_check), by_owner(&tables.group_reply));
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for membership in &tables.memberships {
        groups.entry(&membership.user).or_default().push(&membership.group);
    }
    let mut planner = Planner { rules, plan: Plan::default(), told: BTreeSet::new() };
    let names: BTreeSet<&str> =
        check.keys().chain(reply.keys()).map(String::as_str).chain(groups.keys().copied()).collect();
    let none = Vec::new();
    for name in names {
        let of = |items: &'_ BTreeMap<String, Vec<Item>>| items.get(name).unwrap_or(&none).clone();
        let groups = groups.get(name).into_iter().flatten().map(|group| Group {
            name: group,
            check: group_check.get(*group).unwrap_or(&none),
            reply: group_reply.get(*group).unwrap_or(&none),
        });
        planner.user(name, &of(&check), &of(&reply), groups.collect());
        done();
    }
    planner.plan
}

struct Group<'t> {
    name: &'t str,
    check: &'t [Item],
    reply: &'t [Item],
}

struct Planner<'r> {
    rules: &'r Rules<'r>,
    plan: Plan,
    /// Rows that were told of already: once is enough, not once for each member of a group, or for each fault.
    told: BTreeSet<(&'static str, i64)>,
}

/// What the check rows so far amount to.
#[derive(Default)]
struct Checked {
    passwords: Vec<(&'static str, Item)>,
    disabled: bool,
}

impl Planner<'_> {
    fn user(&mut self, name: &str, check: &[Item], reply: &[Item], groups: Vec<Group<'_>>) {
        if let Err(reason) = (self.rules.name)(name) {
            return self.lacks(name, reason);
        }
        let told_before = self.plan.left_out.len();
        let mut checked = Checked::default();
        self.check("radcheck", check, &mut checked);
        let mut items: Vec<(&'static str, Item)> = Vec::new();
        let mut goes_on = true;
        if check.is_empty() {
            // rlm_sql reads the reply rows of users it found in radcheck alone.
            for item in reply {
                self.leave(
                    "radreply",
                    item,
                    "FreeRADIUS ignores it: the user has no row in radcheck",
                    Effect::WithoutIt,
                );
            }
        } else {
            items.extend(reply.iter().map(|item| ("radreply", item.clone())));
            goes_on = fall_through(reply).unwrap_or(true);
        }
        let named = self.named(name, &groups);
        for group in groups {
            if !goes_on {
                break;
            }
            let unconditional = self.check("radgroupcheck", group.check, &mut checked);
            if !unconditional {
                // Whether it applies is for each login to say; its members are disabled, so nothing depends on it.
                let reason = "its group is for some logins alone, by a check that radhold would not make";
                for item in group.reply {
                    self.leave("radgroupreply", item, reason, Effect::WithoutIt);
                }
                continue;
            }
            merge(&mut items, group.reply);
            goes_on = fall_through(group.reply).unwrap_or(false);
        }
        let Some(password) = self.password(&checked.passwords) else { return self.without_password(name, told_before) };
        let mut planned = Planned {
            name: name.to_owned(),
            password,
            disabled: checked.disabled,
            permit_filter: None,
            session_timeout: None,
            reply: Vec::new(),
            groups: named,
        };
        for (table, item) in &items {
            self.reply(table, item, &mut planned);
        }
        self.plan.users.push(planned);
    }

    /// The names of a user's groups, each once, that can name a group here.
    fn named(&mut self, user: &str, groups: &[Group<'_>]) -> Vec<String> {
        let mut named: Vec<String> = Vec::new();
        for group in groups {
            match (self.rules.group)(group.name) {
                Ok(()) if named.iter().any(|other| other == group.name) => (),
                Ok(()) => named.push(group.name.to_owned()),
                Err(reason) => self.plan.left_out.push(LeftOut {
                    table: "radusergroup",
                    row: None,
                    whose: user.to_owned(),
                    what: format!("the group {:?}", group.name),
                    reason,
                    effect: Effect::WithoutIt,
                }),
            }
        }
        named
    }

    /// Takes the check rows of a user or a group in; whether they apply to every login.
    fn check(&mut self, table: &'static str, items: &[Item], checked: &mut Checked) -> bool {
        let mut unconditional = true;
        for item in items {
            let attribute = item.attribute.to_ascii_lowercase();
            let sets = matches!(item.op.as_str(), ":=" | "+=");
            if self.rules.drop_checks.contains(&attribute) {
                continue;
            }
            if sets && password::is_one(&attribute) {
                // Of a group, := replaces what the user's own rows set.
                if table == "radgroupcheck" && item.op == ":=" {
                    checked.passwords.retain(|(_, other)| !other.attribute.eq_ignore_ascii_case(&attribute));
                }
                checked.passwords.push((table, item.clone()));
            } else if sets && attribute == "auth-type" && item.value.eq_ignore_ascii_case("Reject") {
                checked.disabled = true;
            } else if sets && attribute == "auth-type" && !item.value.eq_ignore_ascii_case("Accept") {
                self.leave(table, item, "radhold takes the method from the request", Effect::WithoutIt);
            } else {
                checked.disabled = true;
                unconditional &= sets;
                let reason = match (sets, password::is_one(&attribute)) {
                    _ if attribute == "user-password" => {
                        "FreeRADIUS 3 takes no password from it, but from Cleartext-Password".to_owned()
                    }
                    (false, true) => {
                        format!("FreeRADIUS compares with {}, so that no login succeeds; := would set it", item.op)
                    }
                    (true, _) if attribute == "auth-type" => "radhold lets nobody in without a password".to_owned(),
                    _ => format!("radhold would not check it; --drop-check {} imports without", item.attribute),
                };
                if password::is_one(&attribute) {
                    checked.passwords.push((table, item.clone()));
                }
                self.leave(table, item, &reason, Effect::Disabled);
            }
        }
        unconditional
    }

    /// The one password of several that we keep.
    fn password(&mut self, items: &[(&'static str, Item)]) -> Option<Form> {
        let mut best: Option<(Form, &'static str, &Item)> = None;
        for (table, item) in items {
            match (password::form(&item.attribute, &item.value), &best) {
                (Err(reason), _) => self.leave(table, item, reason, Effect::WithoutIt),
                (Ok(form), None) => best = Some((form, table, item)),
                // The clear password is good for every method, and of several FreeRADIUS takes the first.
                (Ok(form @ Form::Clear(_)), Some((Form::Nt(_), of, other))) => {
                    self.leave(of, other, "the clear password is kept instead", Effect::WithoutIt);
                    best = Some((form, table, item));
                }
                (Ok(_), Some(_)) => self.leave(table, item, "another password is kept instead", Effect::WithoutIt),
            }
        }
        best.map(|(form, ..)| form)
    }

    fn reply(&mut self, table: &'static str, item: &Item, planned: &mut Planned) {
        let attribute = item.attribute.as_str();
        if attribute.eq_ignore_ascii_case("Fall-Through") {
            return;
        }
        if !matches!(item.op.as_str(), "=" | ":=" | "+=") {
            return self.leave(table, item, "the operator filters other attributes", Effect::WithoutIt);
        }
        let value = unquoted(&item.value);
        if value.contains("%{") || item.value.starts_with('`') {
            return self.leave(table, item, "the value is made anew at each login", Effect::WithoutIt);
        }
        if attribute.eq_ignore_ascii_case("Filter-Id") && planned.permit_filter.is_none() && !value.is_empty() {
            planned.permit_filter = Some(value.to_owned());
            return;
        }
        if attribute.eq_ignore_ascii_case("Filter-Id") {
            return self.leave(table, item, "a user has one permit filter", Effect::WithoutIt);
        }
        if attribute.eq_ignore_ascii_case("Session-Timeout") {
            match value.parse::<u32>() {
                Ok(secs @ 1..) => planned.session_timeout = Some(Duration::from_secs(u64::from(secs))),
                _ => self.leave(table, item, "not a number of seconds above zero", Effect::WithoutIt),
            }
            return;
        }
        let wanted = ReplyItem { name: attribute.to_owned(), value: value.to_owned() };
        match (self.rules.reply)(&wanted) {
            Ok(()) => planned.reply.push(wanted),
            Err(reason) => self.leave(table, item, &reason, Effect::WithoutIt),
        }
    }

    fn leave(&mut self, table: &'static str, item: &Item, reason: &str, effect: Effect) {
        if !self.told.insert((table, item.id)) {
            return;
        }
        self.plan.left_out.push(LeftOut {
            table,
            row: Some(item.id),
            whose: item.owner.clone(),
            what: said(item),
            reason: reason.to_owned(),
            effect,
        });
    }

    /// A user without a password we can check is not imported, and that is what follows from their rows.
    fn without_password(&mut self, name: &str, told_before: usize) {
        let mut told = false;
        for left in self.plan.left_out[told_before..].iter_mut().filter(|left| !left.table.starts_with("radgroup")) {
            left.effect = Effect::NotImported;
            told = true;
        }
        if !told {
            self.lacks(name, "there is no password to check".to_owned());
        }
    }

    /// A user who is not imported, and has no row to say it of.
    fn lacks(&mut self, name: &str, reason: String) {
        self.plan.left_out.push(LeftOut {
            table: "radcheck",
            row: None,
            whose: name.to_owned(),
            what: "the user".to_owned(),
            reason,
            effect: Effect::NotImported,
        });
    }
}

/// Adds a group's reply rows: `:=` replaces, `+=` adds, and `=` adds what is not there yet.
fn merge(items: &mut Vec<(&'static str, Item)>, group: &[Item]) {
    let before: BTreeSet<String> = items.iter().map(|(_, item)| item.attribute.to_ascii_lowercase()).collect();
    let replaced: BTreeSet<String> =
        group.iter().filter(|item| item.op == ":=").map(|item| item.attribute.to_ascii_lowercase()).collect();
    items.retain(|(_, item)| !replaced.contains(&item.attribute.to_ascii_lowercase()));
    for item in group {
        if item.op != "=" || !before.contains(&item.attribute.to_ascii_lowercase()) {
            items.push(("radgroupreply", item.clone()));
        }
    }
}

/// What Fall-Through says, if anything.
fn fall_through(items: &[Item]) -> Option<bool> {
    let item = items.iter().find(|item| item.attribute.eq_ignore_ascii_case("Fall-Through"))?;
    Some(matches!(unquoted(&item.value).to_ascii_lowercase().as_str(), "yes" | "1"))
}

/// A value without the quotes that rlm_sql takes off.
pub(super) fn unquoted(value: &str) -> &str {
    ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value)
}

/// The row in FreeRADIUS's notation, its value only when that cannot be a secret.
fn said(item: &Item) -> String {
    let name = item.attribute.to_ascii_lowercase();
    let secret = ["password", "secret", "key", "hash", "otp", "pin"].iter().any(|word| name.contains(word));
    let value = if secret { "…" } else { item.value.as_str() };
    format!("{} {} {value}", item.attribute, item.op)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::freeradius::Membership;

    fn items(rows: &[(&str, &str, &str, &str)]) -> Vec<Item> {
        let item = |(id, (owner, attribute, op, value)): (i64, &(&str, &str, &str, &str))| Item {
            id,
            owner: (*owner).to_owned(),
            attribute: (*attribute).to_owned(),
            op: (*op).to_owned(),
            value: (*value).to_owned(),
        };
        (1..).zip(rows).map(item).collect()
    }

    fn members(rows: &[(&str, &str)]) -> Vec<Membership> {
        rows.iter().map(|(user, group)| Membership { user: (*user).to_owned(), group: (*group).to_owned() }).collect()
    }

    fn plan(tables: &Tables, drop: &[&str]) -> Plan {
        let drop_checks = drop.iter().map(|name| (*name).to_owned()).collect();
        let reply = |item: &ReplyItem| {
            if item.name == "No-Such" { Err("unknown".to_owned()) } else { Ok(()) }
        };
        let name = |name: &str| if name.contains('\n') { Err("bad name".to_owned()) } else { Ok(()) };
        users(tables, &Rules { drop_checks: &drop_checks, name: &name, group: &|_| Ok(()), reply: &reply }, &|| ())
    }

    fn replies(user: &Planned) -> Vec<String> {
        user.reply.iter().map(|item| format!("{}={}", item.name, item.value)).collect()
    }

    #[test]
    fn what_freeradius_would_check_disables_the_user() {
        let check = [
            ("alice", "Cleartext-Password", ":=", "pw"),
            ("bob", "Cleartext-Password", ":=", "pw"),
            ("bob", "Calling-Station-Id", "==", "x"),
            ("carol", "Cleartext-Password", ":=", "pw"),
            ("carol", "Auth-Type", ":=", "Reject"),
            ("dave", "Cleartext-Password", "==", "pw"),
            ("erin", "Auth-Type", ":=", "Accept"),
            ("frank", "Cleartext-Password", ":=", "pw"),
            ("frank", "Simultaneous-Use", ":=", "1"),
        ];
        let tables = Tables { check: items(&check), ..Tables::default() };
        let disabled = |plan: &Plan| -> Vec<(String, bool)> {
            plan.users.iter().map(|user| (user.name.clone(), user.disabled)).collect()
        };
        let of = |pairs: &[(&str, bool)]| pairs.iter().map(|(name, is)| ((*name).to_owned(), *is)).collect::<Vec<_>>();
        let strict = plan(&tables, &[]);
        assert_eq!(
            disabled(&strict),
            of(&[("alice", false), ("bob", true), ("carol", true), ("dave", true), ("frank", true)])
        );
        let told: Vec<_> = strict.left_out.iter().map(|it| (it.whose.as_str(), it.row, it.effect)).collect();
        assert_eq!(
            told,
            [
                ("bob", Some(3), Effect::Disabled),
                ("dave", Some(6), Effect::Disabled),
                ("erin", Some(7), Effect::NotImported),
                ("frank", Some(9), Effect::Disabled)
            ]
        );
        let lenient = plan(&tables, &["simultaneous-use"]);
        assert!(!lenient.users.iter().find(|user| user.name == "frank").unwrap().disabled);
        assert!(lenient.users.iter().find(|user| user.name == "bob").unwrap().disabled);
    }

    #[test]
    fn groups_are_merged_as_rlm_sql_does() {
        let tables = Tables {
            check: items(&[("r", "Cleartext-Password", ":=", "pw"), ("s", "Cleartext-Password", ":=", "pw")]),
            reply: items(&[
                ("r", "Reply-Message", "=", "a"),
                ("r", "Framed-IP-Netmask", ":=", "255.255.255.255"),
                ("r", "Framed-MTU", ":=", "100"),
            ]),
            group_reply: items(&[
                ("one", "Reply-Message", "=", "from group"),
                ("one", "Port-Limit", "=", "3"),
                ("one", "Framed-MTU", "=", "200"),
                ("one", "Framed-IP-Netmask", ":=", "255.255.255.0"),
                ("two", "Login-IP-Host", "=", "1.2.3.4"),
                ("three", "Fall-Through", "=", "Yes"),
                ("three", "Session-Timeout", ":=", "60"),
            ]),
            memberships: members(&[("r", "one"), ("r", "two"), ("s", "three"), ("s", "one")]),
            ..Tables::default()
        };
        let plan = plan(&tables, &[]);
        assert_eq!(
            replies(&plan.users[0]),
            ["Reply-Message=a", "Framed-MTU=100", "Port-Limit=3", "Framed-IP-Netmask=255.255.255.0"]
        );
        assert_eq!(plan.users[1].session_timeout, Some(Duration::from_secs(60)));
        assert_eq!(
            replies(&plan.users[1]),
            ["Reply-Message=from group", "Port-Limit=3", "Framed-MTU=200", "Framed-IP-Netmask=255.255.255.0"]
        );
        assert!(plan.left_out.is_empty(), "{:?}", plan.left_out);
    }

    #[test]
    fn a_conditional_group_disables_its_members_and_is_told_of_once() {
        let tables = Tables {
            check: items(&[("r", "Cleartext-Password", ":=", "pw"), ("s", "Cleartext-Password", ":=", "pw")]),
            group_check: items(&[("night", "Login-Time", "==", "Al2200-0600")]),
            group_reply: items(&[("night", "Session-Timeout", "=", "60"), ("night", "Fall-Through", "=", "Yes")]),
            memberships: members(&[("r", "night"), ("s", "night")]),
            ..Tables::default()
        };
        let plan = plan(&tables, &[]);
        assert!(plan.users.iter().all(|user| user.disabled) && plan.users.len() == 2);
        let told: Vec<_> = plan.left_out.iter().map(|left| (left.table, left.row, left.what.as_str())).collect();
        assert_eq!(
            told,
            [
                ("radgroupcheck", Some(1), "Login-Time == Al2200-0600"),
                ("radgroupreply", Some(1), "Session-Timeout = 60"),
                ("radgroupreply", Some(2), "Fall-Through = Yes"),
            ]
        );
    }

    #[test]
    fn reply_rows_that_cannot_be_carried_over_are_told_of() {
        let tables = Tables {
            check: items(&[("r", "Cleartext-Password", ":=", "pw"), ("bad\n", "Cleartext-Password", ":=", "pw")]),
            reply: items(&[
                ("r", "Filter-Id", "=", "\"gold\""),
                ("r", "Filter-Id", "+=", "silver"),
                ("r", "Idle-Timeout", "==", "5"),
                ("r", "Framed-IP-Address", ":=", "%{sql:…}"),
                ("r", "No-Such", "=", "1"),
                ("r", "Session-Timeout", "=", "0"),
                ("ghost", "Reply-Message", "=", "boo"),
            ]),
            ..Tables::default()
        };
        let plan = plan(&tables, &[]);
        let [user] = &plan.users[..] else { panic!("{:?}", plan.users) };
        assert_eq!((user.permit_filter.as_deref(), user.reply.len()), (Some("gold"), 0));
        let told: Vec<_> = plan.left_out.iter().map(|it| (it.table, it.row, it.effect)).collect();
        assert_eq!(
            told,
            [
                ("radcheck", None, Effect::NotImported),
                ("radreply", Some(7), Effect::NotImported),
                ("radreply", Some(2), Effect::WithoutIt),
                ("radreply", Some(3), Effect::WithoutIt),
                ("radreply", Some(4), Effect::WithoutIt),
                ("radreply", Some(5), Effect::WithoutIt),
                ("radreply", Some(6), Effect::WithoutIt)
            ]
        );
    }

    #[test]
    fn of_several_passwords_the_most_useful_is_kept_and_none_is_shown() {
        let tables = Tables {
            check: items(&[
                ("r", "Crypt-Password", ":=", "$6$salt$hash"),
                ("r", "NT-Password", ":=", "0cb6948805f797bf2a82807973b89537"),
                ("r", "Cleartext-Password", ":=", "test"),
                ("s", "Crypt-Password", ":=", "$6$salt$hash"),
            ]),
            ..Tables::default()
        };
        let plan = plan(&tables, &[]);
        let [user] = &plan.users[..] else { panic!("{:?}", plan.users) };
        assert!(matches!(user.password, Form::Clear(_)));
        assert_eq!(plan.left_out.len(), 3);
        let shown = format!("{:?} {:?}", plan.left_out, plan.users);
        assert!(!shown.contains("salt") && !shown.contains("0cb6") && !shown.contains("test"), "{shown}");
    }
}
