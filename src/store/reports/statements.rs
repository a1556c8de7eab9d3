//! The reports, one after another: names, columns, statements.

use super::Kind::{Count, Day, Octets, Percent, Seconds, Text, Time, Wait};
use super::Lately::{Days, Hours, Months};
use super::Narrowing::{Nas, Span, User};
use super::{Column, Kind, Report, Statement};

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

/// Narrows by user and by NAS; for the `WHERE` of a view that has both.
macro_rules! theirs {
    () => {
        "user_name = coalesce((SELECT user_name FROM asked), user_name) AND nas = coalesce((SELECT nas FROM asked), nas)"
    };
}

/// Narrows the usage by hour to the span, and says so of an indexed column too.
macro_rules! within {
    () => {
        "to_at > (SELECT from_at FROM asked) AND hour >= (SELECT from_at FROM asked) AND hour < (SELECT to_at FROM asked)"
    };
}

/// Narrows the usage by day to the days the span touches.
macro_rules! days_postgres {
    () => {
        "day >= (SELECT (from_at AT TIME ZONE 'UTC')::date FROM asked) AND day < (SELECT to_at AT TIME ZONE 'UTC' FROM asked)"
    };
}

/// The same for SQLite.
macro_rules! days_sqlite {
    () => {
        "day >= (SELECT substr(from_at, 1, 10) FROM asked) AND day || 'T00:00:00.000Z' < (SELECT to_at FROM asked)"
    };
}

/// Octets added up, which ends at what the column holds: bad counters of many sessions must not fail the report.
macro_rules! sum_postgres {
    ($octets:literal) => {
        concat!("CAST(least(sum(CAST(", $octets, " AS numeric)), 9223372036854775807) AS bigint)")
    };
    ($one:literal + $other:literal) => {
        concat!("CAST(least(sum(CAST(", $one, " AS numeric) + ", $other, "), 9223372036854775807) AS bigint)")
    };
}

/// The same for SQLite, whose sum() fails beyond 63 bits: in two halves, which stay below.
macro_rules! sum_sqlite {
    ($octets:literal) => {
        concat!(
            "CASE WHEN sum((",
            $octets,
            ") >> 32) + (sum((",
            $octets,
            ") & 4294967295) >> 32) > 2147483647
             THEN 9223372036854775807
             ELSE (sum((",
            $octets,
            ") >> 32) << 32) + sum((",
            $octets,
            ") & 4294967295) END"
        )
    };
}

macro_rules! limit {
    () => {
        " LIMIT (SELECT most FROM asked)"
    };
}

/// The end of the report of quotas: every user who has one, in every month.
macro_rules! quotas {
    () => {
        concat!(
            " FROM users CROSS JOIN months
              LEFT JOIN used ON used.user_name = users.name AND used.month = months.month
              WHERE monthly_quota > 0 AND users.name = coalesce((SELECT user_name FROM asked), users.name)
              ORDER BY months.month DESC, 6 DESC, users.name",
            limit!()
        )
    };
}

/// All of them, in the order of docs/reporting.md.
pub const REPORTS: &[Report] = &[
    Report {
        name: "online",
        about: "sessions on their NAS now, the newest first",
        columns: &[
            column("user_name", Text),
            column("nas", Text),
            column("state", Text),
            column("framed_ip", Text),
            column("calling_station_id", Text),
            column("started_at", Time),
            column("online_seconds", Seconds),
            column("silent_seconds", Seconds),
            column("input_octets", Octets),
            column("output_octets", Octets),
        ],
        narrowed_by: &[User, Nas],
        lately: None,
        limit: 1000,
        statement: Statement::Each {
            postgres: concat!(
                "SELECT user_name, nas, state, host(framed_ip) AS framed_ip, calling_station_id, started_at, online_seconds,
                     silent_seconds, input_octets, output_octets
                 FROM report_online WHERE ",
                theirs!(),
                " ORDER BY report_online.started_at DESC, session_id",
                limit!()
            ),
            sqlite: concat!(
                "SELECT user_name, nas, state, framed_ip, calling_station_id, started_at, online_seconds,
                     silent_seconds, input_octets, output_octets
                 FROM report_online WHERE ",
                theirs!(),
                " ORDER BY started_at DESC, session_id",
                limit!()
            ),
        },
    },
    Report {
        name: "months",
        about: "what each user carried, month by month",
        columns: &[
            column("month", Day),
            column("user_name", Text),
            column("days", Count),
            column("input_octets", Octets),
            column("output_octets", Octets),
            column("session_time", Seconds),
        ],
        narrowed_by: &[Span, User, Nas],
        lately: Some(Months(11)),
        limit: 0,
        statement: Statement::Each {
            postgres: concat!(
                "SELECT date_trunc('month', day::timestamp)::date AS month, user_name, count(DISTINCT day) AS days, ",
                sum_postgres!("input_octets"),
                " AS input_octets, ",
                sum_postgres!("output_octets"),
                " AS output_octets, sum(session_time)::bigint AS session_time
                 FROM report_usage_days WHERE ",
                days_postgres!(),
                " AND ",
                theirs!(),
                " GROUP BY 1, user_name ORDER BY 1 DESC, sum(input_octets::numeric + output_octets) DESC, user_name",
                limit!()
            ),
            sqlite: concat!(
                "SELECT substr(day, 1, 7) || '-01' AS month, user_name, count(DISTINCT day) AS days, ",
                sum_sqlite!("input_octets"),
                " AS input_octets, ",
                sum_sqlite!("output_octets"),
                " AS output_octets, sum(session_time) AS session_time
                 FROM report_usage_days WHERE ",
                days_sqlite!(),
                " AND ",
                theirs!(),
                " GROUP BY 1, user_name ORDER BY 1 DESC, total(input_octets) + total(output_octets) DESC, user_name",
                limit!()
            ),
        },
    },
    Report {
        name: "top",
        about: "who carried the most",
        columns: &[
            column("user_name", Text),
            column("sessions", Count),
            column("input_octets", Octets),
            column("output_octets", Octets),
            column("octets", Octets),
            column("percent", Percent),
        ],
        narrowed_by: &[Span, User, Nas],
        lately: Some(Days(30)),
        limit: 20,
        statement: Statement::Each {
            postgres: concat!(
                ", carried AS (
                     SELECT user_name, count(DISTINCT session_id) AS sessions, ",
                sum_postgres!("input_octets"),
                " AS input_octets, ",
                sum_postgres!("output_octets"),
                " AS output_octets, ",
                sum_postgres!("input_octets" + "output_octets"),
                " AS octets
                     FROM report_usage_hours WHERE ",
                within!(),
                " AND ",
                theirs!(),
                " GROUP BY user_name
                 )
                 SELECT user_name, sessions, input_octets, output_octets, octets,
                     CAST(octets * 100.0 / nullif(sum(octets) OVER (), 0) AS double precision) AS percent
                 FROM carried ORDER BY carried.octets DESC, user_name",
                limit!()
            ),
            sqlite: concat!(
                ", carried AS (
                     SELECT user_name, count(DISTINCT session_id) AS sessions, ",
                sum_sqlite!("input_octets"),
                " AS input_octets, ",
                sum_sqlite!("output_octets"),
                " AS output_octets, ",
                sum_sqlite!("input_octets + output_octets"),
                " AS octets
                     FROM report_usage_hours WHERE ",
                within!(),
                " AND ",
                theirs!(),
                " GROUP BY user_name
                 )
                 SELECT user_name, sessions, input_octets, output_octets, octets,
                     CAST(octets * 100.0 / nullif(total(octets) OVER (), 0) AS double precision) AS percent
                 FROM carried ORDER BY carried.octets DESC, user_name",
                limit!()
            ),
        },
    },
    Report {
        name: "usage",
        about: "what was carried, day by day",
        columns: &[
            column("day", Day),
            column("users", Count),
            column("input_octets", Octets),
            column("output_octets", Octets),
            column("octets", Octets),
        ],
        narrowed_by: &[Span, User, Nas],
        lately: Some(Days(30)),
        limit: 0,
        statement: Statement::Each {
            postgres: concat!(
                "SELECT day, count(DISTINCT user_name) AS users, ",
                sum_postgres!("input_octets"),
                " AS input_octets, ",
                sum_postgres!("output_octets"),
                " AS output_octets, ",
                sum_postgres!("input_octets" + "output_octets"),
                " AS octets
                 FROM report_usage_days WHERE ",
                days_postgres!(),
                " AND ",
                theirs!(),
                " GROUP BY day ORDER BY day",
                limit!()
            ),
            sqlite: concat!(
                "SELECT day, count(DISTINCT user_name) AS users, ",
                sum_sqlite!("input_octets"),
                " AS input_octets, ",
                sum_sqlite!("output_octets"),
                " AS output_octets, ",
                sum_sqlite!("input_octets + output_octets"),
                " AS octets
                 FROM report_usage_days WHERE ",
                days_sqlite!(),
                " AND ",
                theirs!(),
                " GROUP BY day ORDER BY day",
                limit!()
            ),
        },
    },
    Report {
        name: "hours",
        about: "the busiest hours, the one that carried most first",
        columns: &[
            column("hour", Time),
            column("sessions", Count),
            column("input_octets", Octets),
            column("output_octets", Octets),
            column("octets", Octets),
        ],
        narrowed_by: &[Span, User, Nas],
        lately: Some(Days(7)),
        limit: 24,
        statement: Statement::Each {
            postgres: concat!(
                "SELECT hour, count(DISTINCT session_id) AS sessions, ",
                sum_postgres!("input_octets"),
                " AS input_octets, ",
                sum_postgres!("output_octets"),
                " AS output_octets, ",
                sum_postgres!("input_octets" + "output_octets"),
                " AS octets
                 FROM report_usage_hours WHERE ",
                within!(),
                " AND ",
                theirs!(),
                " GROUP BY hour ORDER BY 5 DESC, hour",
                limit!()
            ),
            sqlite: concat!(
                "SELECT hour, count(DISTINCT session_id) AS sessions, ",
                sum_sqlite!("input_octets"),
                " AS input_octets, ",
                sum_sqlite!("output_octets"),
                " AS output_octets, ",
                sum_sqlite!("input_octets + output_octets"),
                " AS octets
                 FROM report_usage_hours WHERE ",
                within!(),
                " AND ",
                theirs!(),
                " GROUP BY hour ORDER BY 5 DESC, hour",
                limit!()
            ),
        },
    },
    Report {
        name: "concurrent",
        about: "the most sessions at once, hour by hour",
        columns: &[column("hour", Time), column("most_at_once", Count)],
        narrowed_by: &[Span, User, Nas],
        lately: Some(Hours(24)),
        limit: 0,
        // Each full hour is a row that changes nothing, so that an hour without a change has its number too. In one instant
        // the ends count first, or a session that takes another's place would be one too many.
        statement: Statement::Each {
            postgres: concat!(
                ", changes AS (
                     SELECT at, change FROM report_session_changes WHERE at < (SELECT to_at FROM asked) AND ",
                theirs!(),
                " UNION ALL
                     SELECT generate_series(date_trunc('hour', from_at, 'UTC'), to_at - interval '1 microsecond', interval '1 hour'), 0
                     FROM asked
                 ),
                 levels AS (
                     SELECT at, change, sum(change) OVER (ORDER BY at, change ROWS UNBOUNDED PRECEDING) AS sessions FROM changes
                 )
                 SELECT date_trunc('hour', at, 'UTC') AS hour, max(sessions) AS most_at_once
                 FROM levels
                 WHERE at >= (SELECT date_trunc('hour', from_at, 'UTC') FROM asked) AND change >= 0
                 GROUP BY 1 ORDER BY 1",
                limit!()
            ),
            sqlite: concat!(
                ", grid (at) AS (
                     SELECT substr(from_at, 1, 13) || ':00:00.000Z' FROM asked
                     UNION ALL
                     SELECT strftime('%Y-%m-%dT%H:%M:%fZ', at, '+1 hour') FROM grid
                     WHERE strftime('%Y-%m-%dT%H:%M:%fZ', at, '+1 hour') < (SELECT to_at FROM asked)
                 ),
                 changes AS (
                     SELECT at, change FROM report_session_changes WHERE at < (SELECT to_at FROM asked) AND ",
                theirs!(),
                " UNION ALL SELECT at, 0 FROM grid
                 ),
                 levels AS (
                     SELECT at, change, sum(change) OVER (ORDER BY at, change ROWS UNBOUNDED PRECEDING) AS sessions FROM changes
                 )
                 SELECT substr(at, 1, 13) || ':00:00.000Z' AS hour, max(sessions) AS most_at_once
                 FROM levels
                 WHERE at >= (SELECT substr(from_at, 1, 13) FROM asked) AND change >= 0
                 GROUP BY 1 ORDER BY 1",
                limit!()
            ),
        },
    },
    Report {
        name: "holds",
        about: "holds by what became of them, and how long people took to answer",
        columns: &[
            column("outcome", Text),
            column("holds", Count),
            column("answered", Count),
            column("median_seconds", Wait),
            column("longest_seconds", Wait),
        ],
        narrowed_by: &[Span, User, Nas],
        lately: Some(Days(30)),
        limit: 0,
        statement: Statement::Both(concat!(
            ", ranked AS (
                 SELECT outcome, seconds_to_decide,
                     row_number() OVER (PARTITION BY outcome, seconds_to_decide IS NULL ORDER BY seconds_to_decide) AS place,
                     count(seconds_to_decide) OVER (PARTITION BY outcome) AS answered
                 FROM report_holds
                 WHERE accepted_at >= (SELECT from_at FROM asked) AND accepted_at < (SELECT to_at FROM asked) AND ",
            theirs!(),
            " )
             SELECT outcome, count(*) AS holds, max(answered) AS answered,
                 avg(CASE WHEN place IN ((answered + 1) / 2, (answered + 2) / 2) THEN seconds_to_decide END) AS median_seconds,
                 max(seconds_to_decide) AS longest_seconds
             FROM ranked GROUP BY outcome ORDER BY count(*) DESC, outcome",
            limit!()
        )),
    },
    Report {
        name: "rejects",
        about: "refused logins by reason and source",
        columns: &[
            column("reason", Text),
            column("source", Text),
            column("nas", Text),
            column("users", Count),
            column("logins", Count),
            column("last_at", Time),
        ],
        narrowed_by: &[Span, User, Nas],
        lately: Some(Hours(24)),
        limit: 50,
        statement: Statement::Both(concat!(
            "SELECT reason, source, nas, count(DISTINCT user_name) AS users, count(*) AS logins, max(at) AS last_at
             FROM report_rejections
             WHERE at >= (SELECT from_at FROM asked) AND at < (SELECT to_at FROM asked) AND ",
            theirs!(),
            " GROUP BY reason, source, nas ORDER BY count(*) DESC, reason, source NULLS LAST, nas",
            limit!()
        )),
    },
    Report {
        name: "nas",
        about: "how each NAS is doing: heard when, and what went wrong in the last 24 hours",
        columns: &[
            column("nas", Text),
            column("heard_at", Time),
            column("silent_seconds", Seconds),
            column("sessions_open", Count),
            column("sessions_held", Count),
            column("sessions_evicting", Count),
            column("logins_24h", Count),
            column("rejected_24h", Count),
            column("not_lifted_24h", Count),
            column("ghosts_24h", Count),
            column("orders_waiting", Count),
            column("oldest_order_seconds", Seconds),
        ],
        narrowed_by: &[Nas],
        lately: None,
        limit: 0,
        statement: Statement::Both(concat!(
            "SELECT nas, heard_at, silent_seconds, sessions_open, sessions_held, sessions_evicting, logins_24h, rejected_24h,
                 not_lifted_24h, ghosts_24h, orders_waiting, oldest_order_seconds
             FROM report_nas_health WHERE nas = coalesce((SELECT nas FROM asked), nas) ORDER BY nas",
            limit!()
        )),
    },
    Report {
        name: "ghosts",
        about: "sessions that ended without a Stop, the latest first",
        columns: &[
            column("ended_at", Time),
            column("user_name", Text),
            column("nas", Text),
            column("acct_session_id", Text),
            column("end_cause", Text),
            column("started_at", Time),
            column("heard_at", Time),
            column("silent_seconds", Seconds),
            column("input_octets", Octets),
            column("output_octets", Octets),
        ],
        narrowed_by: &[Span, User, Nas],
        lately: Some(Days(7)),
        limit: 100,
        statement: Statement::Both(concat!(
            "SELECT ended_at, user_name, nas, acct_session_id, end_cause, started_at, heard_at, silent_seconds, input_octets,
                 output_octets
             FROM report_ghosts
             WHERE ended_at >= (SELECT from_at FROM asked) AND ended_at < (SELECT to_at FROM asked) AND ",
            theirs!(),
            " ORDER BY ended_at DESC, session_id",
            limit!()
        )),
    },
    Report {
        name: "quota",
        about: "monthly quotas: what is left, the fullest first (informs; nothing is enforced)",
        columns: &[
            column("month", Day),
            column("user_name", Text),
            column("monthly_quota", Octets),
            column("used_octets", Octets),
            column("remaining_octets", Octets),
            column("used_percent", Percent),
        ],
        narrowed_by: &[Span, User],
        lately: Some(Months(0)),
        limit: 0,
        // Users who used nothing that month have all of it left, and are shown.
        statement: Statement::Each {
            postgres: concat!(
                ", months AS (
                     SELECT generate_series(
                         date_trunc('month', from_at, 'UTC') AT TIME ZONE 'UTC',
                         (to_at - interval '1 microsecond') AT TIME ZONE 'UTC',
                         interval '1 month'
                     )::date AS month
                     FROM asked
                 ),
                 used AS (
                     SELECT user_name, date_trunc('month', day::timestamp)::date AS month, ",
                sum_postgres!("input_octets" + "output_octets"),
                " AS octets
                     FROM report_usage_days
                     WHERE day >= (SELECT min(month) FROM months)
                     GROUP BY 1, 2
                 )
                 SELECT months.month, users.name AS user_name, monthly_quota,
                     CAST(coalesce(octets, 0) AS bigint) AS used_octets,
                     CAST(greatest(monthly_quota - coalesce(octets, 0), 0) AS bigint) AS remaining_octets,
                     CAST(coalesce(octets, 0) * 100.0 / monthly_quota AS double precision) AS used_percent",
                quotas!()
            ),
            sqlite: concat!(
                ", months (month) AS (
                     SELECT substr(from_at, 1, 7) || '-01' FROM asked
                     UNION ALL
                     SELECT date(month, '+1 month') FROM months WHERE date(month, '+1 month') || 'T00:00:00.000Z' < (SELECT to_at FROM asked)
                 ),
                 used AS (
                     SELECT user_name, substr(day, 1, 7) || '-01' AS month, ",
                sum_sqlite!("input_octets + output_octets"),
                " AS octets
                     FROM report_usage_days
                     WHERE day >= (SELECT min(month) FROM months)
                     GROUP BY 1, 2
                 )
                 SELECT months.month, users.name AS user_name, monthly_quota, coalesce(octets, 0) AS used_octets,
                     max(monthly_quota - coalesce(octets, 0), 0) AS remaining_octets,
                     coalesce(octets, 0) * 100.0 / monthly_quota AS used_percent",
                quotas!()
            ),
        },
    },
];
