# О чём можно попросить бота: всем и администраторам.

command-sessions = Ваши подключения, с кнопкой завершения
command-history = Ваши последние входы
command-trusted = Где вас пока не спрашивают
command-lang = Язык
command-quiet = Уведомления со звуком или без
command-zone = Ваш часовой пояс
command-help = Что я умею
command-held = Входы, которые ждут ответа
command-online = Кто подключён
command-bans = Кому отказано, с кнопкой снятия
command-permit = Пропустить ожидающий вход
command-kick = Завершить подключение
command-stats = Как дела у radhold
command-enrol = Ссылка для подключения чата

bot-help =
    В этом чате подтверждаются входы: { $users }.

    /sessions — ваши подключения, с кнопкой завершения
    /history — ваши последние входы
    /trusted — где вас пока не спрашивают
    /lang — язык
    /zone — часовой пояс
    /quiet — уведомления со звуком или без

bot-help-administrator =
    <b>Администраторам</b>
    /held — входы и чаты, которые ждут решения
    /online — кто подключён
    /bans — кому отказано
    /permit ID — пропустить ожидающий вход
    /kick ID — завершить подключение
    /stats — как дела у radhold
    /enrol ИМЯ — ссылка для подключения чата

bot-later = Сейчас это узнать не удаётся. Попробуйте через минуту.
bot-unknown = Такого я не знаю. /help — что я умею.
bot-private = Спросите меня об этом в личном чате.

bot-no-sessions = У вас нет открытых подключений.
bot-sessions = <b>Ваши подключения</b>

bot-session =
    { $number }. { $user }, сервер { $nas }, откуда: { $from }
    { $at }, { $state ->
        [offered] ещё не началось
        [held] ждёт подтверждения
        [permitting] открывается
        [permitted] открыто
        [evicting] завершается
        [dropped] не началось
        [closed] завершено
       *[observed] замечено
    }, { $size }

word-unknown = неизвестно

bot-no-history = Записей о входах нет.
bot-history = <b>Ваши последние входы</b>

bot-past =
    { $at }: { $nas }, откуда: { $from } — { $end ->
        [open] продолжается
        [confirmed] подтверждён
        [denied] отклонён
       *[unconfirmed] не подтверждён
    }, { $time }, { $size }

bot-no-trusted = Нет мест, где вас не спрашивают.

bot-lang = Здесь я говорю на { $language }. Напишите <code>/lang</code> и одно из: { $languages }. С <code>/lang auto</code> язык берётся из вашего Telegram.

bot-lang-unknown = На этом языке я не говорю. Есть: { $languages }.

bot-quiet =
    { $quiet ->
        [on] Уведомления приходят без звука. Вопросы — со звуком. Изменить: <code>/quiet off</code>.
       *[off] Уведомления приходят со звуком. Без звука: <code>/quiet on</code>; вопросы останутся со звуком.
    }

bot-zone = Ваш часовой пояс { $zone }; там сейчас { $now }. Изменить: <code>/zone Europe/Moscow</code> или другое имя.
bot-zone-unknown = Такого часового пояса нет. Напишите имя, например <code>/zone Europe/Moscow</code>.

button-bot-end = Завершить { $number }
button-bot-permit = Пропустить { $number }
button-bot-kick = Завершить { $number }
button-bot-lift = Снять { $number }
button-bot-ban-caller = Отказывать этому адресу
button-bot-ban-account = Отказывать этому пользователю

answer-bot-ending = Подключение завершается.
answer-bot-permitting = Пропущено. Подключение открывается.
answer-bot-over = Поздно: подключение уже завершено или завершается.
answer-bot-decided = Поздно: решение уже принято, или время вышло.
answer-bot-not-held = Это подключение никого не ждёт.
answer-bot-not-yours = Это можете сделать не вы.
answer-bot-later = Записать не удалось. Нажмите ещё раз.
answer-bot-lifted = Запрет снят.
answer-bot-no-ban = Этот запрет уже не действует.
answer-bot-banned = Отказано: { $whom }.
answer-bot-no-caller = Сервер не сообщил, откуда звонили: отказывать некому.
answer-bot-allowed = Этот адрес из сети, разрешённой в настройках: отсюда её не запретить.
answer-bot-known = Запрет уже действует.

bot-no-held = Никто не ждёт.
bot-held = <b>Ждут ответа</b>

bot-held-one =
    { $number }. { $user }, сервер { $nas }, откуда: { $from }
    <code>{ $id }</code>, осталось { $left } с

bot-no-online = Никто не подключён.
bot-online = <b>Подключены: { $count }</b>

bot-online-one =
    { $user }, сервер { $nas }, откуда: { $from }
    <code>{ $id }</code>, { $at }, { $size }

bot-no-bans = Никому не отказано.
bot-bans = <b>Отказано</b>

bot-ban = { $number }. { $whom }, до { $until }: { $reason } ({ $by })
bot-ban-lasting = { $number }. { $whom }, пока не снимут: { $reason } ({ $by })

bot-permit-how = Напишите <code>/permit ID</code> с концом номера входа; список: /held.
bot-kick-how = Напишите <code>/kick ID</code> с концом номера подключения; список: /online.
bot-no-such-session = Такого подключения нет, или их несколько; укажите номер полнее.
bot-done-permit = Пропущено. Подключение открывается.
bot-done-kick = Подключение завершается.
bot-not-done = Поздно: подключение уже завершено, или решение принято.

bot-stats =
    <b>radhold</b>
    Подключены: { $online }
    Ждут ответа: { $held }
    Запретов: { $bans }
    Живых узлов: { $nodes }
    Поручений в очереди: { $waiting }, старейшему { $oldest } с

bot-strike =
    <b>Вход отклонён.</b>
    Пользователь: { $user }
    Сервер: { $nas }
    Откуда: { $from }
    Когда: { $at }
    Кто-то знает пароль: его нужно сменить.
