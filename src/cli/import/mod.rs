//! `radhold import …`: users, NASes and accounting of another server into our store. Knows no SQL.

mod accounting;
mod nas;
mod password;
mod plan;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::app::{chance, clock, keys};
use crate::auth::{ClearPassword, Credential, NtHash, PasswordCost, SealingKey, StoredCredential, hash_password};
use crate::model::{GroupName, Nas, ReplyItem, SecondFactor, Secret, User, UserName};
use crate::store::{StoreError, freeradius};

use super::context::Context;
use super::failure::Failure;
use super::{audit, manual, output};
use accounting::AccountingCounts;
use password::Form;
use plan::{Effect, LeftOut, Plan, Planned};

/// So many rows of what is left out are read by people; the rest is for --json.
const SHOWN: usize = 50;

/// Bring users and NASes over from another server.
#[derive(Debug, Subcommand)]
pub(super) enum ImportCommand {
    Freeradius(FreeradiusArgs),
}

/// Bring users and NASes over from FreeRADIUS's SQL tables on PostgreSQL.
///
/// Reads radcheck, radreply, radusergroup, radgroupcheck, radgroupreply and nas, in the shape of FreeRADIUS 3's own schema, and
/// changes nothing there. All that can be carried over is added in one transaction, or nothing is; running it again adds what is
/// new and leaves users and NASes that are here already as they are.
///
/// What cannot be carried over is listed row by row, with the reason. A user with a check that radhold would not make (a
/// Calling-Station-Id, Simultaneous-Use, Expiration, …) is imported disabled, since they could do more here than there:
/// --drop-check imports without that check, and `radhold user set NAME --enable` lets in one by one.
///
/// Imported users are held like all others until an approver says yes; see --no-second-factor, and `radhold user bind`.
///
/// --accounting brings radacct over too, some hundred rows at a time: as sessions that were observed, with usage by day, under the
/// names of our NASes by address. A second run adds what is new and goes on with what has gone on there; octets count once. A
/// session without a stop of which there was no word for a day is taken for over.
///
/// A password in the address can be seen in the list of processes: give it as PGPASSWORD or in ~/.pgpass.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold import freeradius --from postgres://radius@db.example/radius --dry-run\n  radhold import freeradius --from postgres://radius@db.example/radius --users --drop-check Simultaneous-Use\n  radhold import freeradius --from postgres://radius@db.example/radius --json > left-out.json"
))]
pub(super) struct FreeradiusArgs {
    /// FreeRADIUS's database.
    #[arg(long, value_name = "URL")]
    from: String,
    /// Say what would become of each row, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Users only [default: users and NASes].
    #[arg(long)]
    users: bool,
    /// NASes only [default: users and NASes].
    #[arg(long)]
    nas: bool,
    /// The history in radacct too.
    #[arg(long)]
    accounting: bool,
    /// How clear passwords are stored. NT hashes stay NT hashes.
    #[arg(long, value_enum, default_value_t = StoreAs::Clear)]
    store_as: StoreAs,
    /// Let the password be enough for all of them: no hold.
    #[arg(long)]
    no_second_factor: bool,
    /// Import users without this check, as if its rows were not there; may be repeated.
    #[arg(long, value_name = "ATTRIBUTE")]
    drop_check: Vec<String>,
    /// Accept Access-Requests of the NASes without Message-Authenticator (CVE-2024-3596), as FreeRADIUS does by default.
    #[arg(long)]
    no_require_message_authenticator: bool,
    /// Print JSON: an object with counts and all that is left out.
    #[arg(long)]
    json: bool,
}

/// How clear passwords are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StoreAs {
    /// Sealed: PAP, CHAP, MS-CHAPv1, MS-CHAPv2, as at FreeRADIUS
    Clear,
    /// The NT hash, sealed: PAP, MS-CHAPv1, MS-CHAPv2
    Nt,
    /// A one-way hash: PAP only. Slow to make
    Argon2id,
}

/// What came of it, as programs see it.
#[derive(Debug, Serialize)]
struct Done<'d> {
    dry_run: bool,
    users: Counts,
    nases: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    accounting: Option<AccountingCounts>,
    left_out: &'d [LeftOut],
}

#[derive(Debug, Serialize, Clone, Copy)]
struct Counts {
    /// Added, or to be added.
    added: u64,
    /// Among them: cannot log in before somebody looks.
    disabled: u64,
    /// There already, left as they are.
    there: u64,
    /// Not imported.
    refused: u64,
}

pub(super) async fn run(command: ImportCommand, context: &Context) -> Result<(), Failure> {
    match command {
        ImportCommand::Freeradius(args) => freeradius(&args, context).await,
    }
}

async fn freeradius(args: &FreeradiusArgs, context: &Context) -> Result<(), Failure> {
    if url::Url::parse(&args.from).is_ok_and(|url| url.password().is_some()) {
        eprintln!(
            "radhold: warning: the list of processes shows the password in --from; PGPASSWORD and ~/.pgpass do not"
        );
    }
    let (users, nases) = (args.users || !args.nas, args.nas || !args.users);
    let tables = freeradius::read(&args.from, users, nases).await.map_err(|error| match error {
        // It is their store that is meant, not ours.
        StoreError::Away(why) | StoreError::Refused(why) => Failure::failed(format!("{why}; see --from")),
        other => other.into(),
    })?;
    let store = context.store().await?;
    let stored_users: BTreeSet<UserName> = store.users().await?.into_iter().map(|user| user.name).collect();
    let stored_nases = store.nases().await?;

    let Plan { users: planned, mut left_out } = plan_users(args, context, &tables)?;
    let known: Vec<Nas> = stored_nases.iter().chain(&context.config.nas).cloned().collect();
    let require_message_authenticator = !args.no_require_message_authenticator;
    let (nases, nases_left_out) =
        nas::nases(&tables.clients, &nas::Rules { known: &known, require_message_authenticator });
    left_out.extend(nases_left_out);

    let is_new = |planned: &&Planned| !stored_users.contains(planned.name.as_str());
    let new_users: Vec<&Planned> = planned.iter().filter(is_new).collect();
    let new_nases: Vec<Nas> =
        nases.iter().filter(|nas| known.iter().all(|known| known.name != nas.name)).cloned().collect();
    if !args.dry_run {
        let key = context.sealing_key()?;
        let bar = bar("storing", new_users.len() * 2 + new_nases.len());
        let sealed = new_users.iter().map(|planned| user(planned, args, &key).inspect(|_| bar.inc(1)));
        let sealed = sealed.collect::<Result<Vec<_>, _>>()?;
        let sealed_nases =
            new_nases.iter().cloned().map(|nas| keys::seal_nas(nas, &key)).collect::<Result<Vec<_>, _>>()?;
        let what = format!("{} users, {} NASes", sealed.len(), sealed_nases.len());
        let act = audit::entry(context, audit::operator(None), "import", "freeradius", what);
        let imported = store.import(&sealed, &sealed_nases, &act, &|done| bar.inc(done)).await;
        bar.finish_and_clear();
        let imported = imported?;
        if (imported.users, imported.nases) != (sealed.len() as u64, sealed_nases.len() as u64) {
            eprintln!("radhold: somebody else added some of them meanwhile; those stay as they are");
        }
    }
    let accounting = match args.accounting {
        true => Some(accounting(args, context, &known, &new_nases).await?),
        false => None,
    };
    let refused = |table: &str, other: bool| {
        let refused = left_out.iter().filter(|it| it.effect == Effect::NotImported && (it.table == table) != other);
        // A user may have several rows that say so; a NAS is its row.
        let whose: BTreeSet<_> = refused.map(|it| (&it.whose, it.row.filter(|_| !other))).collect();
        whose.len() as u64
    };
    let done = Done {
        dry_run: args.dry_run,
        users: Counts {
            added: new_users.len() as u64,
            disabled: new_users.iter().filter(|user| user.disabled).count() as u64,
            there: (planned.len() - new_users.len()) as u64,
            refused: refused("nas", true),
        },
        nases: Counts {
            added: new_nases.len() as u64,
            disabled: 0,
            there: (nases.len() - new_nases.len()) as u64,
            refused: refused("nas", false),
        },
        accounting,
        left_out: &left_out,
    };
    if args.json { output::print_json(&done) } else { tell(&done, require_message_authenticator) }
}

async fn accounting(
    args: &FreeradiusArgs,
    context: &Context,
    known: &[Nas],
    new: &[Nas],
) -> Result<AccountingCounts, Failure> {
    let store = context.store().await?;
    let mut reader = freeradius::AcctReader::open(&args.from).await?;
    let nases: Vec<Nas> = known.iter().chain(new).cloned().collect();
    let dictionary = context.dictionary()?;
    let rules = accounting::Rules {
        nases: &nases,
        dictionary: &dictionary,
        timing: context.config.hold.timing,
        dry_run: args.dry_run,
    };
    let bar = bar("sessions", usize::try_from(reader.count().await?).unwrap_or(usize::MAX));
    let counts = accounting::import(&mut reader, &*store, &rules, &bar).await;
    bar.finish_and_clear();
    counts
}

fn plan_users(args: &FreeradiusArgs, context: &Context, tables: &freeradius::Tables) -> Result<Plan, Failure> {
    let (dictionary, dialects) = (context.dictionary()?, context.dialects()?);
    // Thousands of users have the same few attributes.
    let judged: RefCell<BTreeMap<(String, String), Result<(), String>>> = RefCell::default();
    let judge = |item: &ReplyItem| {
        dictionary.encode(&item.name, &item.value).map_err(|error| error.to_string())?;
        dialects.iter().try_for_each(|dialect| {
            dialect.check_reply(&dictionary, std::slice::from_ref(item)).map_err(|error| error.to_string())
        })
    };
    let reply = |item: &ReplyItem| {
        let key = (item.name.clone(), item.value.clone());
        judged.borrow_mut().entry(key).or_insert_with(|| judge(item)).clone()
    };
    let name = |name: &str| super::user::user_name(name).map(drop).map_err(|failure| failure.message);
    let group = |name: &str| super::group::group_name(name).map(drop);
    let drop_checks = args.drop_check.iter().map(|name| name.to_ascii_lowercase()).collect();
    let bar = bar("reading", tables.check.len());
    let plan = plan::users(
        tables,
        &plan::Rules { drop_checks: &drop_checks, name: &name, group: &group, reply: &reply },
        &|| bar.inc(1),
    );
    bar.finish_and_clear();
    Ok(plan)
}

fn user(planned: &Planned, args: &FreeradiusArgs, key: &SealingKey) -> Result<User, Failure> {
    let credential = match (&planned.password, args.store_as) {
        (Form::Nt(hash), _) => Credential::NtHash(NtHash::from_bytes(**hash)),
        (Form::Clear(text), StoreAs::Clear) => Credential::Password(ClearPassword::new(text.as_bytes())?),
        (Form::Clear(text), StoreAs::Nt) => {
            Credential::NtHash(NtHash::of_password(text.as_bytes()).expect("text of PostgreSQL is UTF-8"))
        }
        (Form::Clear(text), StoreAs::Argon2id) => {
            Credential::Argon2id(hash_password(text.as_bytes(), &chance::octets(), PasswordCost::default())?)
        }
    };
    let stored = StoredCredential::seal(&credential, key, &planned.name, &chance::octets());
    let mut user = User::new(planned.name.as_str(), Secret::new(stored.to_text()), clock::now());
    user.disabled = planned.disabled;
    user.second_factor = if args.no_second_factor { SecondFactor::None } else { SecondFactor::Required };
    user.permit_filter = planned.permit_filter.clone();
    user.session_timeout = planned.session_timeout;
    user.reply = planned.reply.clone();
    user.groups = planned.groups.iter().map(GroupName::new).collect();
    Ok(user)
}

fn tell(done: &Done<'_>, require_message_authenticator: bool) -> Result<(), Failure> {
    if !done.left_out.is_empty() {
        let row = |left: &LeftOut| {
            [
                left.table.to_owned(),
                output::or_dash(left.row),
                left.whose.clone(),
                left.what.clone(),
                left.reason.clone(),
                left.effect.as_str().to_owned(),
            ]
        };
        let rows = done.left_out.iter().take(SHOWN).map(row).collect();
        output::print("What is not carried over:")?;
        output::print_table(["TABLE", "ROW", "WHOSE", "SAYS", "WHY", "EFFECT"], rows, "")?;
        if done.left_out.len() > SHOWN {
            output::print(&format!("and {} more; --json has them all", done.left_out.len() - SHOWN))?;
        }
        output::print("")?;
    }
    let verb = if done.dry_run { "would be added" } else { "added" };
    let count = |what: &str, counts: Counts| {
        let mut line = format!("{what}: {} {verb}", counts.added);
        for (number, words) in
            [(counts.disabled, "of them disabled"), (counts.there, "here already"), (counts.refused, "not imported")]
        {
            if number > 0 {
                line += &format!(", {number} {words}");
            }
        }
        line
    };
    output::print(&count("users", done.users))?;
    output::print(&count("NASes", done.nases))?;
    if let Some(counts) = done.accounting {
        output::print(&format!(
            "sessions: {} {verb}, {} of them open, {} have gone on, {} here already",
            counts.added, counts.open, counts.continued, counts.there
        ))?;
    }
    if done.nases.added > 0 && require_message_authenticator {
        output::print(
            "the NASes must send Message-Authenticator; for those that cannot, see `radhold nas add --help`",
        )?;
    }
    Ok(())
}

/// On a terminal only, and gone in the end.
fn bar(what: &'static str, length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} {eta}").expect("this template is well formed");
    ProgressBar::new(length as u64).with_style(style).with_message(what)
}
