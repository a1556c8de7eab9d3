# Сверка чисел и места, где некоторое время не спрашивают.

# $value (text 2): число.
reply-number = Выберите число { $value } в телефоне.

trust-list = <b>Где вас не спрашивают</b>

# $number (number): номер в списке.
# $user (text 200): пользователь.
# $kind (one of address, device): что за место.
# $value (text 200): адрес или MAC-адрес устройства.
# $nas (text 200): сервер устройства.
# $until (text 40): до какого времени.
trust-place =
    { $number }. { $user }, { $kind ->
        [device] с устройства { $value } на { $nas }
       *[address] с адреса { $value }
    }, до { $until }

# $number (number): номер в списке.
button-trust-revoke = Снова спрашивать: { $number }
answer-trust-revoked = Готово. Теперь вас там спрашивают.
answer-trust-over = Вас там и так спрашивают.
