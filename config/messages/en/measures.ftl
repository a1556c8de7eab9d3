# How long, and how much. Each is a part of other messages.

# Between whole number and fraction.
word-decimal-mark = .

# $days (number): whole days.
word-days = { $days ->
    [one] { $days } day
   *[other] { $days } days
}
# $hours (number): whole hours.
word-hours = { $hours } h
# $minutes (number): whole minutes.
word-minutes = { $minutes } min
# $seconds (number): whole seconds.
word-seconds = { $seconds } s

# $bytes (number): less than a thousand.
word-bytes = { $bytes ->
    [one] { $bytes } byte
   *[other] { $bytes } bytes
}
# $size (text 8): thousands of bytes.
word-kilobytes = { $size } kB
# $size (text 8): millions of bytes.
word-megabytes = { $size } MB
# $size (text 8): thousands of millions of bytes.
word-gigabytes = { $size } GB
# $size (text 8): millions of millions of bytes.
word-terabytes = { $size } TB
