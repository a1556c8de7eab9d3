//! The server itself, spoken to without the approver: paths, tokens, encodings, polls.

use serde_json::{Value, json};

use super::{BotApi, Failure, TOKEN};

/// Sends a body (GET when there is none); gives the status and the answer.
async fn call(api: &BotApi, path: &str, body: Option<(&str, String)>) -> (u16, Value) {
    let url = format!("{}{path}", api.url());
    let client = teloxide::net::default_reqwest_settings().no_proxy().build().unwrap();
    let request = match body {
        None => client.get(url),
        Some((kind, body)) => client.post(url).header("content-type", kind).body(body),
    };
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn json_call(api: &BotApi, method: &str, params: Value) -> (u16, Value) {
    call(api, &format!("bot{TOKEN}/{method}"), Some(("application/json", params.to_string()))).await
}

/// The same, refused; gives the description.
async fn refused(api: &BotApi, method: &str, params: Value) -> String {
    let (status, answer) = json_call(api, method, params.clone()).await;
    assert_eq!(answer["ok"], false, "{method} {params}: {answer}");
    assert_eq!(answer["error_code"], status);
    answer["description"].as_str().unwrap().to_owned()
}

async fn polled(api: &BotApi, params: Value) -> Vec<i64> {
    let (status, answer) = json_call(api, "getUpdates", params).await;
    assert_eq!(status, 200, "{answer}");
    answer["result"].as_array().unwrap().iter().map(|update| update["update_id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn paths_tokens_and_methods_are_told_apart() {
    let api = BotApi::start().await;
    let get = |path: String| {
        let api = &api;
        async move { call(api, &path, None).await.0 }
    };
    assert_eq!(get(format!("bot{TOKEN}/getMe")).await, 200);
    assert_eq!(get(format!("bot{TOKEN}/GETME")).await, 200, "method names are not case-sensitive");
    assert_eq!(get(format!("bot{TOKEN}/getYou")).await, 404);
    assert_eq!(get("bot1:other/getMe".into()).await, 401);
    assert_eq!(get("botnonsense/getMe".into()).await, 404);
    assert_eq!(get("getMe".into()).await, 404);
}

#[tokio::test]
async fn parameters_come_in_four_ways() {
    let api = BotApi::start().await;
    api.add_user(5, "Eve");
    let path = format!("bot{TOKEN}/sendMessage");
    let multipart = "--xx\r\nContent-Disposition: form-data; name=\"chat_id\"\r\n\r\n5\r\n--xx\r\nContent-Disposition: \
                     form-data; name=\"text\"\r\n\r\nfour\r\n--xx--\r\n";
    let keyboard = json!({ "inline_keyboard": [[{ "text": "b", "callback_data": "d" }]] });
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("chat_id", "5"), ("text", "two"), ("reply_markup", &keyboard.to_string())])
        .finish();
    for (path, body) in [
        (format!("{path}?chat_id=5&text=one"), None),
        (path.clone(), Some(("application/x-www-form-urlencoded", form))),
        (path.clone(), Some(("application/json", json!({ "chat_id": "5", "text": "three" }).to_string()))),
        (path.clone(), Some(("multipart/form-data; boundary=xx", multipart.to_owned()))),
    ] {
        let (status, answer) = call(&api, &path, body).await;
        assert_eq!(status, 200, "{answer}");
    }
    let sent = api.sent(5);
    let texts: Vec<_> = sent.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(texts, ["one", "two", "three", "four"]);
    assert_eq!(sent[1].buttons(), ["b"]);
}

#[tokio::test]
async fn required_fields_and_unknown_places_are_refused() {
    let api = BotApi::start().await;
    api.add_user(5, "Eve");
    for (method, params, words) in [
        ("sendMessage", json!({ "text": "x" }), "chat_id is empty"),
        ("sendMessage", json!({ "chat_id": 6, "text": "x" }), "chat not found"),
        ("sendMessage", json!({ "chat_id": 5 }), "message text is empty"),
        ("sendMessage", json!({ "chat_id": 5, "text": [1] }), "must be of type String"),
        ("sendMessage", json!({ "chat_id": 5, "text": "x", "parse_mode": "Word" }), "unsupported parse_mode"),
        ("editMessageText", json!({ "chat_id": 5, "text": "x" }), "message identifier is not specified"),
        ("editMessageText", json!({ "chat_id": 5, "message_id": 9, "text": "x" }), "message to edit not found"),
        ("answerCallbackQuery", json!({}), "query is too old"),
        ("answerCallbackQuery", json!({ "callback_query_id": "1" }), "query is too old"),
        ("getUpdates", json!({ "offset": "soon" }), "must be a number"),
    ] {
        let why = refused(&api, method, params.clone()).await;
        assert!(why.starts_with("Bad Request: ") && why.contains(words), "{method} {params}: {why}");
    }
}

#[tokio::test]
async fn a_press_is_answered_once_in_time_and_briefly() {
    let api = BotApi::start().await;
    api.add_user(5, "Eve");
    json_call(&api, "sendMessage", json!({ "chat_id": 5, "text": "x" })).await;
    let message = api.sent(5)[0].id;
    let query = api.press_data(5, message, 5, "d");
    let long =
        refused(&api, "answerCallbackQuery", json!({ "callback_query_id": query, "text": "x".repeat(201) })).await;
    assert!(long.contains("MESSAGE_TOO_LONG"), "{long}");
    let answer = json!({ "callback_query_id": query, "text": "ok", "show_alert": true });
    assert_eq!(json_call(&api, "answerCallbackQuery", answer.clone()).await.0, 200);
    assert!(refused(&api, "answerCallbackQuery", answer).await.contains("query is too old"));
    let old = api.press_too_old(5, message, 5, "d");
    assert!(refused(&api, "answerCallbackQuery", json!({ "callback_query_id": old })).await.contains("too old"));
}

#[tokio::test]
async fn updates_come_until_confirmed() {
    let api = BotApi::start().await;
    for text in ["a", "b", "c"] {
        api.write(5, 5, text);
    }
    assert_eq!(polled(&api, json!({})).await, [1, 2, 3]);
    assert_eq!(polled(&api, json!({ "limit": 2 })).await, [1, 2]);
    assert_eq!(polled(&api, json!({ "offset": 2 })).await, [2, 3]);
    assert_eq!(polled(&api, json!({})).await, [2, 3], "1 is confirmed for good");
    assert_eq!(polled(&api, json!({ "offset": -1 })).await, [3]);
    assert_eq!(polled(&api, json!({ "offset": 4, "allowed_updates": ["callback_query"] })).await, [0; 0]);
    api.write(5, 5, "not allowed");
    api.press_data(5, 1, 5, "d");
    assert_eq!(polled(&api, json!({})).await, [4]);
}

#[tokio::test]
async fn a_poll_waits_and_a_newer_one_ends_it() {
    let api = BotApi::start().await;
    let (older, newer) = tokio::join!(json_call(&api, "getUpdates", json!({ "timeout": 50 })), async {
        api.until("the older poll", |world| world.calls_of("getUpdates").next().map(drop)).await;
        let waiting = json_call(&api, "getUpdates", json!({ "timeout": 50 }));
        let (newer, ()) = tokio::join!(waiting, async {
            api.until("the older poll's end", |world| world.calls_of("getUpdates").next()?.status).await;
            api.write(5, 5, "hello");
        });
        newer
    });
    assert_eq!(older.0, 409, "{}", older.1);
    assert_eq!(newer.1["result"][0]["message"]["text"], "hello");
}

#[tokio::test]
async fn trouble_has_the_published_shape() {
    let api = BotApi::start().await;
    api.add_user(5, "Eve");
    api.add_group(-7, "Old");
    api.migrate(-7, -1007);
    api.fail("sendMessage", Failure::TooMany(9), 1);
    let (status, answer) = json_call(&api, "sendMessage", json!({ "chat_id": 5, "text": "x" })).await;
    assert_eq!(
        (status, answer),
        (
            429,
            json!({
                "ok": false, "error_code": 429, "description": "Too Many Requests: retry after 9",
                "parameters": { "retry_after": 9 },
            })
        )
    );
    let (status, answer) = json_call(&api, "sendMessage", json!({ "chat_id": -7, "text": "x" })).await;
    assert_eq!((status, &answer["parameters"]), (400, &json!({ "migrate_to_chat_id": -1007 })));
    api.set_blocked(5, true);
    assert_eq!(json_call(&api, "sendMessage", json!({ "chat_id": 5, "text": "x" })).await.0, 403);
}
