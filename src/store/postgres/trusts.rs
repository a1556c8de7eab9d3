//! Approvals that are remembered: kept with the lifting they are of, made void with the denial they end by.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::columns::time;
use super::{audit, failure};
use crate::model::{SessionId, Timestamp, UserName};
use crate::policy::{Trust, TrustPlace, TrustVoid};
use crate::store::row::{self, Cells};
use crate::store::{AuditEntry, StoreError, guards};

macro_rules! columns {
    () => {
        "session_id, trusts.user_name AS user_name, place, since, until, through, who, revoked_at"
    };
}

/// Remembers approvals, each in the place of an earlier one for the same place. Rows are locked in the order of users and places.
pub(super) async fn add(
    connection: &mut PgConnection,
    trusts: impl Iterator<Item = (Trust, Timestamp)>,
) -> Result<(), sqlx::Error> {
    // By names as they are kept: a statement writes no row twice.
    let mut latest: BTreeMap<(String, TrustPlace), (Trust, Timestamp)> = BTreeMap::new();
    for (trust, at) in trusts {
        let key = (row::text(trust.user.as_str()).into_owned(), trust.place.clone());
        if latest.get(&key).is_none_or(|(known, _)| known.since < trust.since) {
            latest.insert(key, (trust, at));
        }
    }
    if latest.is_empty() {
        return Ok(());
    }
    let trusts: Vec<&(Trust, Timestamp)> = latest.values().collect();
    let texts = |of: fn(&Trust) -> String| -> Vec<String> {
        trusts.iter().map(|(trust, _)| row::text(&of(trust)).into_owned()).collect()
    };
    let times = |of: fn(&Trust) -> Timestamp| trusts.iter().map(|(trust, _)| time(of(trust))).collect::<Vec<_>>();
    sqlx::query(
        "INSERT INTO trusts (user_name, place, session_id, since, until, through, who, changed_at)
         SELECT user_name, place, session_id, since, until, through, who, changed_at
         FROM unnest($1::text[], $2::text[], $3::uuid[], $4::timestamptz[], $5::timestamptz[], $6::text[], $7::text[], $8::timestamptz[])
             WITH ORDINALITY AS new (user_name, place, session_id, since, until, through, who, changed_at, nr)
         ORDER BY nr
         ON CONFLICT (user_name, place) DO UPDATE
         SET (session_id, since, until, through, who, revoked_at, changed_at) =
             (excluded.session_id, excluded.since, excluded.until, excluded.through, excluded.who, NULL, excluded.changed_at)
         WHERE excluded.since > trusts.since AND (trusts.revoked_at IS NULL OR excluded.since > trusts.revoked_at)",
    )
    .bind(texts(|trust| trust.user.to_string()))
    .bind(texts(|trust| trust.place.to_string()))
    .bind(trusts.iter().map(|(trust, _)| trust.session.0).collect::<Vec<Uuid>>())
    .bind(times(|trust| trust.since))
    .bind(times(|trust| trust.until))
    .bind(texts(|trust| trust.through.to_string()))
    .bind(texts(|trust| trust.who.clone()))
    .bind(trusts.iter().map(|(_, at)| time(*at)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes approvals void. Rows are locked in the order of users.
pub(super) async fn void(
    connection: &mut PgConnection,
    voids: impl Iterator<Item = (TrustVoid, Timestamp)>,
    why: &str,
) -> Result<(), sqlx::Error> {
    let mut latest: BTreeMap<String, (Timestamp, Timestamp)> = BTreeMap::new();
    for (void, at) in voids {
        let known = latest.entry(row::text(void.user.as_str()).into_owned()).or_insert((void.up_to, at));
        *known = (known.0.max(void.up_to), known.1.max(at));
    }
    if latest.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO trust_voids (user_name, up_to, why, changed_at)
         SELECT user_name, up_to, $3, changed_at
         FROM unnest($1::text[], $2::timestamptz[], $4::timestamptz[]) WITH ORDINALITY AS new (user_name, up_to, changed_at, nr)
         ORDER BY nr
         ON CONFLICT (user_name) DO UPDATE
         SET up_to = excluded.up_to, why = excluded.why, changed_at = excluded.changed_at
         WHERE excluded.up_to > trust_voids.up_to",
    )
    .bind(latest.keys().cloned().collect::<Vec<String>>())
    .bind(latest.values().map(|(up_to, _)| time(*up_to)).collect::<Vec<_>>())
    .bind(why)
    .bind(latest.values().map(|(_, at)| time(*at)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn changed(
    connection: &mut PgConnection,
    since: Timestamp,
) -> Result<(Vec<Trust>, Vec<TrustVoid>), StoreError> {
    // Approvals first: a void that comes between the two looks is seen.
    let trusts = sqlx::query(concat!("SELECT ", columns!(), " FROM trusts WHERE changed_at >= $1 ORDER BY changed_at"))
        .bind(time(since))
        .fetch_all(&mut *connection)
        .await
        .map_err(failure)?;
    let voids = sqlx::query("SELECT user_name, up_to FROM trust_voids WHERE changed_at >= $1")
        .bind(time(since))
        .fetch_all(&mut *connection)
        .await
        .map_err(failure)?;
    let trusts = trusts.iter().map(|row| guards::trust(&Cells { table: "trusts", row })).collect::<Result<_, _>>()?;
    let voids = voids.iter().map(|row| guards::void(&Cells { table: "trust_voids", row })).collect::<Result<_, _>>()?;
    Ok((trusts, voids))
}

pub(super) async fn of(
    connection: &mut PgConnection,
    user: Option<&UserName>,
    now: Timestamp,
) -> Result<Vec<Trust>, StoreError> {
    const OF: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM trusts LEFT JOIN trust_voids ON trust_voids.user_name = trusts.user_name
          WHERE ($1::text IS NULL OR trusts.user_name = $1) AND revoked_at IS NULL AND until > $2
              AND coalesce(up_to < since, true)
          ORDER BY trusts.user_name COLLATE \"C\", since, place COLLATE \"C\""
    );
    let user = user.map(|user| row::text(user.as_str()));
    let rows = sqlx::query(OF).bind(user).bind(time(now)).fetch_all(&mut *connection).await.map_err(failure)?;
    rows.iter().map(|row| guards::trust(&Cells { table: "trusts", row })).collect()
}

pub(super) async fn revoke(
    mut tx: Transaction<'_, Postgres>,
    user: &UserName,
    only: Option<SessionId>,
    act: &AuditEntry,
) -> Result<u64, StoreError> {
    if only.is_none() {
        // What is approved already and not lifted yet is meant too. First, as in a commit: rows are locked in one order.
        let all = TrustVoid { user: user.clone(), up_to: act.at };
        void(&mut tx, [(all, act.at)].into_iter(), guards::REVOKED).await.map_err(failure)?;
    }
    let revoked = sqlx::query(
        "UPDATE trusts SET revoked_at = $3, changed_at = $3
         WHERE user_name = $1 AND ($2::uuid IS NULL OR session_id = $2) AND revoked_at IS NULL AND until > $3
             AND NOT EXISTS (
                 SELECT 1 FROM trust_voids AS void
                 WHERE void.user_name = trusts.user_name AND void.up_to >= trusts.since AND void.up_to < $3
             )",
    )
    .bind(row::text(user.as_str()))
    .bind(only.map(|session| session.0))
    .bind(time(act.at))
    .execute(&mut *tx)
    .await
    .map_err(failure)?
    .rows_affected();
    if revoked > 0 {
        audit::add(&mut tx, std::slice::from_ref(act)).await?;
    }
    tx.commit().await.map_err(failure)?;
    Ok(revoked)
}

pub(super) async fn forget(connection: &mut PgConnection, before: Timestamp) -> Result<(), StoreError> {
    for statement in ["DELETE FROM trusts WHERE until < $1", "DELETE FROM trust_voids WHERE up_to < $1"] {
        sqlx::query(statement).bind(time(before)).execute(&mut *connection).await.map_err(failure)?;
    }
    Ok(())
}
