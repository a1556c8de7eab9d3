-- A NAS that counts rubbish is recorded at a limit, and enough of that goes beyond 63 bits, where sum() fails and every report with it.
-- So octets are summed in two halves, which cannot, and end at the limit.

DROP VIEW report_quota_days;
DROP VIEW report_quota;
DROP VIEW report_usage_months;
DROP VIEW report_usage_days;
DROP VIEW usage_daily;

CREATE VIEW usage_daily AS
SELECT
    day,
    user_name,
    nas,
    CASE
        WHEN sum(input_octets >> 32) + (sum(input_octets & 4294967295) >> 32) > 2147483647 THEN 9223372036854775807
        ELSE (sum(input_octets >> 32) << 32) + sum(input_octets & 4294967295)
    END AS input_octets,
    CASE
        WHEN sum(output_octets >> 32) + (sum(output_octets & 4294967295) >> 32) > 2147483647 THEN 9223372036854775807
        ELSE (sum(output_octets >> 32) << 32) + sum(output_octets & 4294967295)
    END AS output_octets,
    sum(input_packets) AS input_packets,
    sum(output_packets) AS output_packets,
    sum(session_time) AS session_time
FROM (
    SELECT day, user_name, nas, input_octets, output_octets, input_packets, output_packets, session_time FROM usage
    UNION ALL
    SELECT day, user_name, nas, input_octets, output_octets, input_packets, output_packets, session_time FROM usage_days
)
GROUP BY day, user_name, nas;

CREATE VIEW report_usage_days AS
SELECT day, user_name, nas, input_octets, output_octets, input_packets, output_packets, session_time
FROM usage_daily;

CREATE VIEW report_usage_months AS
SELECT
    substr(day, 1, 7) || '-01' AS month,
    user_name,
    CASE
        WHEN sum(input_octets >> 32) + (sum(input_octets & 4294967295) >> 32) > 2147483647 THEN 9223372036854775807
        ELSE (sum(input_octets >> 32) << 32) + sum(input_octets & 4294967295)
    END AS input_octets,
    CASE
        WHEN sum(output_octets >> 32) + (sum(output_octets & 4294967295) >> 32) > 2147483647 THEN 9223372036854775807
        ELSE (sum(output_octets >> 32) << 32) + sum(output_octets & 4294967295)
    END AS output_octets,
    sum(session_time) AS session_time,
    count(DISTINCT day) AS days
FROM usage_daily
GROUP BY substr(day, 1, 7) || '-01', user_name;

CREATE VIEW report_quota AS
SELECT
    users.name AS user_name,
    months.month,
    users.monthly_quota,
    min(months.input_octets, 9223372036854775807 - months.output_octets) + months.output_octets AS used_octets,
    max(users.monthly_quota - min(months.input_octets, 9223372036854775807 - months.output_octets) - months.output_octets, 0) AS remaining_octets,
    round((months.input_octets * 1.0 + months.output_octets) * 100.0 / nullif(users.monthly_quota, 0), 1) AS used_percent
FROM users JOIN report_usage_months months ON months.user_name = users.name
WHERE users.monthly_quota IS NOT NULL;

CREATE VIEW report_quota_days AS
SELECT
    user_name,
    month,
    day,
    monthly_quota,
    used_octets,
    used_so_far,
    max(monthly_quota - used_so_far, 0) AS remaining_octets
FROM (
    SELECT
        users.name AS user_name,
        substr(days.day, 1, 7) || '-01' AS month,
        days.day,
        users.monthly_quota,
        days.octets AS used_octets,
        CASE
            WHEN sum(days.octets >> 32) OVER so_far + (sum(days.octets & 4294967295) OVER so_far >> 32) > 2147483647 THEN 9223372036854775807
            ELSE (sum(days.octets >> 32) OVER so_far << 32) + sum(days.octets & 4294967295) OVER so_far
        END AS used_so_far
    FROM users
    JOIN (
        SELECT
            user_name,
            day,
            CASE
                WHEN sum((input_octets + output_octets) >> 32) + (sum((input_octets + output_octets) & 4294967295) >> 32) > 2147483647 THEN 9223372036854775807
                ELSE (sum((input_octets + output_octets) >> 32) << 32) + sum((input_octets + output_octets) & 4294967295)
            END AS octets
        FROM report_usage_days
        GROUP BY user_name, day
    ) days ON days.user_name = users.name
    WHERE users.monthly_quota IS NOT NULL
    WINDOW so_far AS (PARTITION BY users.name, substr(days.day, 1, 7) ORDER BY days.day)
);
