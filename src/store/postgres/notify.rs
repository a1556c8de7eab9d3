//! The one connection a node keeps for itself: it hears what others change (LISTEN), shows that the node is alive, and holds its
//! turn to poll Telegram. All three end together, with the connection: whoever cannot hear is soon taken for dead, and goes on
//! polling only until another does.
//!
//! Must not go through a pooler that gives each transaction another connection.

use std::time::{Duration, Instant};

use sqlx::postgres::{PgListener, PgNotification, PgPoolOptions};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::link::Link;
use super::{failure, nodes};
use crate::model::UserName;
use crate::store::{News, Presence, StoreError, Turn};
use crate::telemetry;

/// The channel that the triggers speak on.
const CHANNEL: &str = "radhold";
/// Between signs of life.
const BEAT: Duration = Duration::from_millis(500);
/// How long anything on this connection may take. A node whose connection hangs longer is deaf.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between tries to get such a connection: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Hears and shows, for as long as somebody takes the news.
pub(super) async fn attend(link: &Link, me: &Presence, news: &mpsc::Sender<News>) {
    let mut pause = PAUSES.0;
    let mut had_turn = false;
    loop {
        let begun = Instant::now();
        let Err(error) = hear(link, me, news, &mut had_turn).await else { return };
        for deaf in [had_turn.then_some(News::Turn(Turn::Unsure)), Some(News::Deaf)].into_iter().flatten() {
            if news.send(deaf).await.is_err() {
                return;
            }
        }
        link.suspect();
        telemetry::count("store.deaf");
        // While the store is away, the breaker has said so.
        tracing::debug!(%error, "nothing is heard of other nodes; connecting again");
        pause = if begun.elapsed() > PAUSES.1 * 4 { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
        tokio::time::sleep(pause).await;
    }
}

/// One connection's life. `Ok` when nobody takes the news any more. `had_turn` is whether this node believes it has the turn.
async fn hear(link: &Link, me: &Presence, news: &mpsc::Sender<News>, had_turn: &mut bool) -> Result<(), StoreError> {
    let mut listener = connect(link).await?;
    if !nodes::take_name(&mut listener, &me.node).await.map_err(failure)? {
        telemetry::count("store.name-taken");
        tracing::warn!(node = %me.node, "another process works under this node's name; the names of nodes must differ");
    }
    let mut lag = Duration::ZERO;
    let mut turn = false;
    let mut hearing = false;
    let mut forbidden = false;
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beats.tick() => {
                let begun = Instant::now();
                if let Some(number) = me.wants_turn.filter(|_| !turn) {
                    turn = within(nodes::take_turn(&mut listener, number)).await?;
                    let had = std::mem::replace(had_turn, turn);
                    let whose = if turn { Turn::Ours } else { Turn::Others };
                    if (turn || had) && news.send(News::Turn(whose)).await.is_err() {
                        return Ok(());
                    }
                }
                let beat = within(nodes::beat(&mut listener, me, lag, turn)).await?;
                lag = begun.elapsed();
                if beat.frozen > 0 {
                    cut_frozen(&mut listener, me, &mut forbidden).await?;
                }
                let heard = if hearing { News::Heard } else { News::Hearing };
                hearing = true;
                let freed = (beat.freed > 0).then(|| {
                    telemetry::count("orders.taken-over");
                    tracing::warn!(orders = beat.freed, "orders of a dead node are free again");
                    News::Orders
                });
                let draining = beat.draining.then_some(News::Draining);
                for item in [Some(heard), freed, draining, Some(News::Nodes(beat.alive))].into_iter().flatten() {
                    if news.send(item).await.is_err() {
                        return Ok(());
                    }
                }
            }
            heard = listener.try_recv() => {
                let heard = heard.map_err(failure)?.ok_or_else(|| StoreError::Away("the connection has ended".to_owned()))?;
                if let Some(item) = read(&heard) && news.send(item).await.is_err() {
                    return Ok(());
                }
            }
            () = news.closed() => return Ok(()),
        }
    }
}

/// That it is forbidden is said once for each connection.
async fn cut_frozen(listener: &mut PgListener, me: &Presence, forbidden: &mut bool) -> Result<(), StoreError> {
    let cut = match timeout(PATIENCE, nodes::cut_frozen(listener, me)).await {
        Ok(Err(sqlx::Error::Database(error))) => Err(error),
        Ok(Err(error)) => return Err(failure(error)),
        Err(_) => return Err(StoreError::Away(format!("no answer within {PATIENCE:?}"))),
        Ok(Ok(())) => Ok(()),
    };
    if let Err(error) = cut
        && !std::mem::replace(forbidden, true)
    {
        telemetry::count("store.frozen-node-not-cut");
        tracing::error!(%error, "the connection of a node that is frozen cannot be ended (pg_terminate_backend); all nodes want one role");
    }
    Ok(())
}

async fn connect(link: &Link) -> Result<PgListener, StoreError> {
    let options = link.direct_options().await?;
    // What is said here need not survive anything, and must not wait for a standby.
    let options = options.options([("synchronous_commit", "off")]);
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE).connect_lazy_with(options);
    let mut listener = within(PgListener::connect_with(&pool)).await?;
    // A connection that came again by itself would have missed something, and lost its locks, and nobody would know.
    listener.eager_reconnect(false);
    within(listener.listen(CHANNEL)).await?;
    Ok(listener)
}

async fn within<T>(call: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    timeout(PATIENCE, call)
        .await
        .map_err(|_| StoreError::Away(format!("no answer within {PATIENCE:?}")))?
        .map_err(failure)
}

fn read(heard: &PgNotification) -> Option<News> {
    match heard.payload().split_once(' ').unwrap_or((heard.payload(), "")) {
        ("user", name) => Some(News::User(UserName::from(name))),
        ("users", _) => Some(News::Users),
        ("nases", _) => Some(News::Nases),
        ("bans", _) => Some(News::Bans),
        ("trust", _) => Some(News::Trust),
        ("orders", _) => Some(News::Orders),
        // A newer node may say more.
        _ => None,
    }
}
