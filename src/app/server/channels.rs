//! The channels to approvers: made from the configuration, and kept going while the server lives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::ServeError;
use crate::app::news::Share;
use crate::app::readers::StoreReaders;
use crate::app::{clock, words};
use crate::approver::operator::Operator;
use crate::approver::telegram::{self, Pace, Telegram, TelegramOptions};
use crate::approver::totp::Authenticator;
use crate::approver::webhook::{Webhook, WebhookOptions};
use crate::approver::{Approver, AskError, Incoming, Menu, Voice};
use crate::config::Config;
use crate::model::ApproverKind;
use crate::session::ButtonKey;
use crate::store::{Store, Turn};
use crate::telemetry;

/// How long somebody who polls with our token, and should not, is left alone.
const ELSEWHERE: Duration = Duration::from_secs(3);

/// All words, and how chats want them, as the store knows.
pub(super) fn voice(config: &Config, store: &Arc<dyn Store>) -> Result<Voice, ServeError> {
    Ok(Voice {
        messages: Arc::new(words::messages(&config.messages)?),
        language: config.messages.language.clone(),
        zone: config.messages.zone,
        readers: Arc::new(StoreReaders(Arc::clone(store))),
    })
}

pub(super) fn approvers(
    config: &Config,
    buttons: &ButtonKey,
    voice: &Voice,
) -> Result<BTreeMap<ApproverKind, Arc<dyn Approver>>, ServeError> {
    let mut approvers: BTreeMap<ApproverKind, Arc<dyn Approver>> = BTreeMap::new();
    approvers.insert(ApproverKind::Operator, Arc::new(Operator));
    approvers.insert(ApproverKind::Totp, Arc::new(Authenticator));
    if let Some(telegram) = &config.telegram {
        let options = TelegramOptions {
            api_url: Some(telegram.api_url.clone()),
            operator_chat: telegram.operator_chat,
            voice: voice.clone(),
            pace: Pace { messages: telegram.messages_per_second, ..Pace::default() },
            proxy: telegram.proxy.clone(),
            webhook: telegram.webhook.as_ref().map(|webhook| telegram::Webhook {
                url: webhook.url.clone(),
                listen: webhook.listen,
                secret: webhook.secret.clone(),
            }),
            ..TelegramOptions::new(telegram.token.clone())
        };
        approvers.insert(ApproverKind::Telegram, Arc::new(Telegram::new(options, buttons.clone())?));
    }
    if let Some(webhook) = &config.webhook {
        let options = WebhookOptions {
            url: webhook.url.clone(),
            secret: webhook.secret.clone(),
            timeout: webhook.timeout,
            allow: webhook.allow.clone(),
            listen: webhook.listen,
            callback_url: webhook.callback_url.clone(),
            clock: clock::now,
        };
        let webhook = Webhook::new(options, buttons.clone())?;
        if let Some(callback) = webhook.callback_url() {
            tracing::info!(%callback, "answers to the webhook are taken in");
        }
        approvers.insert(ApproverKind::Webhook, Arc::new(webhook));
    }
    Ok(approvers)
}

/// Where what an approver hears goes.
pub(super) struct Ear {
    pub(super) incoming: mpsc::Sender<Incoming>,
    /// Of Telegram, where only one node may listen; `None` where it is told of answers, whichever node that comes to.
    pub(super) turn: Option<watch::Receiver<Turn>>,
}

/// Starts all that one approver wants done while the server lives.
pub(super) fn keep_going(
    background: &mut JoinSet<()>,
    approver: &Arc<dyn Approver>,
    ear: Ear,
    menus: &watch::Sender<Vec<Menu>>,
    shared: &watch::Receiver<Share>,
) {
    let Ear { incoming, turn } = ear;
    let own = Arc::clone(approver);
    let telegram = approver.kind() == ApproverKind::Telegram;
    if telegram {
        background.spawn(offer(Arc::clone(approver), menus.subscribe()));
        background.spawn(share_limits(Arc::clone(approver), shared.clone()));
    }
    match turn.filter(|_| telegram) {
        Some(turn) => background.spawn(listen_in_turn(own, incoming, turn)),
        None => background.spawn(async move { own.listen(incoming).await }),
    };
}

/// Has the commands offered, and again when there are others, for ever; tried until it is done.
async fn offer(approver: Arc<dyn Approver>, mut menus: watch::Receiver<Vec<Menu>>) {
    loop {
        let offered = menus.borrow_and_update().clone();
        tokio::select! {
            () = offer_once(&*approver, &offered) => {}
            changed = menus.changed() => match changed {
                Ok(()) => continue,
                Err(_) => break,
            },
        }
        if menus.changed().await.is_err() {
            break;
        }
    }
    // A part of the server does not end by itself.
    std::future::pending::<()>().await;
}

async fn offer_once(approver: &dyn Approver, menus: &[Menu]) {
    let mut pause = Duration::from_secs(1);
    loop {
        let wait = match approver.publish(menus).await {
            Ok(()) => return,
            Err(AskError::Later { after, reason }) => {
                tracing::info!(approver = %approver.kind(), reason, "its commands are not offered yet");
                after.unwrap_or(pause)
            }
            Err(AskError::Undeliverable(reason)) => {
                tracing::warn!(approver = %approver.kind(), reason, "its commands cannot be offered");
                return;
            }
        };
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(Duration::from_secs(60));
    }
}

/// Tells an approver among how many nodes its limits are shared, for ever.
async fn share_limits(approver: Arc<dyn Approver>, mut shared: watch::Receiver<Share>) {
    loop {
        approver.share_among(usize::try_from(shared.borrow_and_update().of).unwrap_or(usize::MAX));
        if shared.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Listens while it is this node's turn. A press that was in hand when the turn ends is not confirmed to Telegram, and comes to
/// whoever has the turn next.
async fn listen_in_turn(
    approver: Arc<dyn Approver>,
    incoming: mpsc::Sender<Incoming>,
    mut turn: watch::Receiver<Turn>,
) {
    let kind = approver.kind();
    while turn.wait_for(|turn| *turn != Turn::Others).await.is_ok() {
        tracing::info!(approver = %kind, "this node polls");
        let polled_elsewhere = tokio::select! {
            () = approver.listen(incoming.clone()) => true,
            _ = turn.wait_for(|turn| *turn == Turn::Others) => false,
        };
        if incoming.is_closed() {
            return;
        }
        if polled_elsewhere {
            telemetry::count("approver.polled-elsewhere");
            if *turn.borrow_and_update() == Turn::Unsure {
                tracing::warn!(approver = %kind, "another polls, while this node cannot reach the store; it polls no more");
                drop(turn.changed().await);
                continue;
            }
            // Whoever was frozen sees the other before it hears that it has lost its turn.
            drop(tokio::time::timeout(ELSEWHERE, turn.changed()).await);
            if *turn.borrow() == Turn::Ours {
                tracing::error!(approver = %kind, "somebody else polls with the same token; two must not");
                continue;
            }
        }
        tracing::warn!(approver = %kind, "this node polls no more: another has the turn");
    }
}
