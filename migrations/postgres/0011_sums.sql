-- A NAS that counts rubbish is recorded at a limit, and enough of that goes beyond what bigint holds: sums end there instead of failing
-- every report. Columns and types stay as they were.

CREATE OR REPLACE VIEW report_usage_months AS
SELECT
    date_trunc('month', day::timestamp)::date AS month,
    user_name,
    least(sum(input_octets), 9223372036854775807)::bigint AS input_octets,
    least(sum(output_octets), 9223372036854775807)::bigint AS output_octets,
    least(sum(session_time), 9223372036854775807)::bigint AS session_time,
    count(DISTINCT day) AS days
FROM usage_daily
GROUP BY date_trunc('month', day::timestamp)::date, user_name;

CREATE OR REPLACE VIEW report_quota AS
SELECT
    users.name AS user_name,
    months.month,
    users.monthly_quota,
    least(months.input_octets::numeric + months.output_octets, 9223372036854775807)::bigint AS used_octets,
    greatest(users.monthly_quota - months.input_octets::numeric - months.output_octets, 0)::bigint AS remaining_octets,
    round((months.input_octets::numeric + months.output_octets) * 100.0 / nullif(users.monthly_quota, 0), 1)::double precision
        AS used_percent
FROM users JOIN report_usage_months months ON months.user_name = users.name
WHERE users.monthly_quota IS NOT NULL;

CREATE OR REPLACE VIEW report_quota_days AS
SELECT
    users.name AS user_name,
    date_trunc('month', days.day::timestamp)::date AS month,
    days.day,
    users.monthly_quota,
    days.octets AS used_octets,
    least(sum(days.octets) OVER so_far, 9223372036854775807)::bigint AS used_so_far,
    greatest(users.monthly_quota - sum(days.octets) OVER so_far, 0)::bigint AS remaining_octets
FROM users
JOIN (
    SELECT user_name, day, least(sum(input_octets::numeric + output_octets), 9223372036854775807)::bigint AS octets
    FROM report_usage_days
    GROUP BY user_name, day
) days ON days.user_name = users.name
WHERE users.monthly_quota IS NOT NULL
WINDOW so_far AS (PARTITION BY users.name, date_trunc('month', days.day::timestamp)::date ORDER BY days.day);
