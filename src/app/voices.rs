//! Who may speak about a session, as the store has it now: bindings taken back, accounts disabled and groups left since the question
//! was put count.
//!
//! Never decides how many must agree: that is the machine's.

use std::collections::BTreeSet;

use crate::model::{ApproverKind, Binding, SecondPerson, UserName};
use crate::policy::{HoldTerms, Terms, second_person};
use crate::session::{Event, Press, Proof, Session, Told, Voices};
use crate::store::{Store, StoreError};

/// The fact that a press is; or what to tell whoever pressed.
pub(super) async fn fact(store: &dyn Store, press: Press) -> Result<Result<Event, Told>, StoreError> {
    let Some(session) = store.sessions_by_id(&[press.session()]).await?.pop() else {
        return Ok(Err(Told::SessionOver));
    };
    let voices = voices(store, &session).await?;
    Ok(match press.into_proof(voices) {
        Ok(Proof::Yes(approval)) => Ok(Event::Approved(approval)),
        Ok(Proof::No(denial)) => Ok(Event::Denied(denial)),
        Err(_) => Err(Told::NotEntitled),
    })
}

/// Who has a voice about a session now.
pub(super) async fn voices(store: &dyn Store, session: &Session) -> Result<Voices, StoreError> {
    // Beside each other: somebody waits for this.
    let (user, bindings, (others, _)) =
        tokio::try_join!(store.user(&session.user), store.bindings(&session.user), confirmers(store, session))?;
    if user.is_none_or(|user| user.disabled) {
        return Ok(Voices::default());
    }
    // What answers for the person without a chat.
    let asked_by_us = |kind: &ApproverKind| terms(session).is_some_and(|terms| asks(terms, *kind));
    let channels = [ApproverKind::Webhook, ApproverKind::Totp].into_iter().filter(asked_by_us);
    Ok(Voices::of_own(&bindings, channels).with_others(&others))
}

/// Where those can be asked who may confirm a session of somebody else, and how many of them there must be. Only those who may by
/// the terms of its hold, and still may.
pub(super) async fn confirmers(store: &dyn Store, session: &Session) -> Result<(Vec<Binding>, u32), StoreError> {
    let Some(then) = terms(session).and_then(|terms| terms.second_person.as_ref()) else { return Ok((Vec::new(), 0)) };
    let member = store.member(&session.user).await?;
    let Some(now) = member.as_ref().and_then(|member| second_person(&member.groups)) else {
        return Ok((Vec::new(), then.needed));
    };
    let mut names = people(store, then).await?;
    if now != then {
        let still = people(store, now).await?;
        names.retain(|name| still.contains(name));
    }
    names.remove(&session.user);
    // The person's own chats ask nobody else, whatever other account they are bound to.
    let own = store.bindings(&session.user).await?;
    let is_own = |binding: &Binding| {
        own.iter().any(|other| (other.approver, &other.presser) == (binding.approver, &binding.presser))
    };
    let mut bindings = Vec::new();
    for name in names {
        if store.user(&name).await?.is_some_and(|user| !user.disabled) {
            bindings.extend(
                store
                    .bindings(&name)
                    .await?
                    .into_iter()
                    .filter(|binding| binding.approver == ApproverKind::Telegram && !is_own(binding)),
            );
        }
    }
    Ok((bindings, then.needed))
}

async fn people(store: &dyn Store, second: &SecondPerson) -> Result<BTreeSet<UserName>, StoreError> {
    let mut names: BTreeSet<UserName> = second.approvers.iter().cloned().collect();
    if let Some(group) = &second.group {
        names.extend(store.members(group).await?);
    }
    Ok(names)
}

fn terms(session: &Session) -> Option<&HoldTerms> {
    match &session.grant.as_ref()?.terms {
        Terms::Hold(terms) => Some(terms),
        Terms::Waived(_) => None,
    }
}

fn asks(terms: &HoldTerms, kind: ApproverKind) -> bool {
    terms.approvers.iter().any(|step| step.kind == kind)
}
