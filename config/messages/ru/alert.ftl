# Что узнаёт оператор в своём чате (telegram.operator_chat) и за что отказано во входе. Что означают переменные, сказано в английском
# файле.

alert-operator-asked =
    { $user }, сервер { $nas }, откуда: { $caller ->
        [known] { $from }
       *[unknown] неизвестно
    }. Вход ждёт оператора не дольше { $left } с, до { $until }: radhold session approve { $session } (или deny { $session }).

alert-undeliverable =
    { $user }, сервер { $nas } (сеанс { $session }): спросить никого не удалось ({ $reason }); { $then ->
        [held] сеанс остаётся ограниченным до конца срока, если оператор не решит иначе: radhold session approve { $session }.
       *[ended] сеанс завершается.
    }

alert-coa-refused =
    { $user }, сервер { $nas } (сеанс { $session }): сервер отвергает CoA-Request ({ $given ->
        [yes] { $cause }
       *[no] без Error-Cause
    }); сеанс остаётся ограниченным до конца срока. Проверьте dialect этого сервера.

alert-disconnect-refused =
    { $user }, сервер { $nas } (сеанс { $session }): сервер отвергает Disconnect-Request ({ $given ->
        [yes] { $cause }
       *[no] без Error-Cause
    }); завершите сеанс там вручную.

alert-ack-without-effect =
    { $user }, сервер { $nas } (сеанс { $session }): сервер подтвердил CoA-Request, но по его учёту сеанс всё ещё ограничен; пробуем снова.

alert-eviction-unconfirmed =
    { $user }, сервер { $nas } (сеанс { $session }): сервер так и не подтвердил конец сеанса; больше не пробуем. Проверьте на месте.

alert-emergency-code =
    { $user }, сервер { $nas } (сеанс { $session }): вход без вопроса ({ $who }). Сколько осталось от кода, покажет `radhold emergency list`.

alert-prompts-exceeded =
    Узел { $node }: слишком много входов пользователя { $user } за час остались без подтверждения; дальнейшие отвергаются без вопроса. Возможно, пароль знает кто-то ещё.

alert-spool-full =
    Узел { $node }: хранилище недоступно, а спул больше не принимает ({ $error }): учёт не подтверждается, хранить его должны серверы.

alert-spool-nearly-full =
    Узел { $node }: спул почти полон ({ $used } из { $limit } МиБ, записей в очереди: { $waiting }); когда он заполнится, учёт перестанет подтверждаться.

alert-spool-damaged =
    Узел { $node }: файл спула был повреждён ({ $damage }); он перемещён в { $file }, начат новый. Спасено записей: { $saved }; отложено: { $aside }; не поместилось и осталось в том файле: { $left }; не прочитано, самое большее: { $unreadable }. См. radhold spool.

word-ban-strikes =
    { $count ->
        [one] { $count } вход отклонён или не подтверждён
        [few] { $count } входа отклонены или не подтверждены
       *[other] { $count } входов отклонены или не подтверждены
    }

word-ban-denied-login = отклонённый вход пользователя { $user }
