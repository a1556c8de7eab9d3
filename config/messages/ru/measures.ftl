word-decimal-mark = ,

word-days = { $days ->
    [one] { $days } день
    [few] { $days } дня
   *[other] { $days } дней
}
word-hours = { $hours } ч
word-minutes = { $minutes } мин
word-seconds = { $seconds } с

word-bytes = { $bytes ->
    [one] { $bytes } байт
    [few] { $bytes } байта
   *[other] { $bytes } байт
}
word-kilobytes = { $size } кБ
word-megabytes = { $size } МБ
word-gigabytes = { $size } ГБ
word-terabytes = { $size } ТБ
