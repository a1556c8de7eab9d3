//! Updates that are brought instead of fetched.

use std::net::SocketAddr;

use serde_json::json;

use super::*;
use crate::port::own_address;

const WEBHOOK_SECRET: &str = "0123456789abcdef-webhook";

/// Brings something to the webhook; the status.
async fn bring(at: SocketAddr, path: &str, secret: Option<&str>, kind: &str, body: String) -> u16 {
    let client = teloxide::net::default_reqwest_settings().no_proxy().build().unwrap();
    let mut request = client.post(format!("http://{at}{path}")).header("content-type", kind).body(body);
    if let Some(secret) = secret {
        request = request.header("X-Telegram-Bot-Api-Secret-Token", secret);
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_are_brought_by_whoever_knows_the_secret_and_by_nobody_else() {
    let at = own_address();
    let webhook = format!(
        "[telegram.webhook]\nurl = \"https://radius.example/telegram\"\nlisten = \"{at}\"\nsecret = \"{WEBHOOK_SECRET}\""
    );
    let mut scene = Scene::new("", &webhook).await;
    let set = scene.api.until("the webhook", |world| world.webhook.clone()).await;
    assert_eq!(set["url"], "https://radius.example/telegram");
    assert_eq!(set["secret_token"], WEBHOOK_SECRET);
    scene.bind("alice", ALICE);
    scene.held("alice", 7, "203.0.113.7");
    let prompt = scene.api.until_sent(ALICE, 0).await;
    let query = scene.api.press(ALICE, prompt.id, ALICE, prompt.buttons()[0]);
    let update = scene.api.update().to_string();

    let json = "application/json";
    for (path, secret, kind, body, status) in [
        ("/telegram", None, json, update.clone(), 404),
        ("/telegram", Some("0123456789abcdef-webhooK"), json, update.clone(), 404),
        ("/telegram", Some(""), json, update.clone(), 404),
        ("/elsewhere", Some(WEBHOOK_SECRET), json, update.clone(), 404),
        ("/telegram", Some(WEBHOOK_SECRET), "text/plain", update.clone(), 415),
        ("/telegram", Some(WEBHOOK_SECRET), json, "x".repeat(300 * 1024), 413),
        // What makes no sense would come again for ever.
        ("/telegram", Some(WEBHOOK_SECRET), json, "{}".to_owned(), 200),
        ("/telegram", Some(WEBHOOK_SECRET), json, json!({ "update_id": 9, "poll": {} }).to_string(), 200),
    ] {
        assert_eq!(bring(at, path, secret, kind, body).await, status, "{path} {secret:?} {kind}");
    }
    assert_eq!(scene.radhold.until_state("held")["decision"], Value::Null);

    assert_eq!(bring(at, "/telegram", Some(WEBHOOK_SECRET), json, update.clone()).await, 200);
    assert!(scene.api.until_answered(&query).await.text.starts_with("Confirmed."));
    assert_eq!(scene.das.next().await["code"], 43);
    // Brought twice, it changes nothing.
    assert_eq!(bring(at, "/telegram", Some(WEBHOOK_SECRET), json, update).await, 200);
    scene.radhold.until_state("permitted");
    assert_eq!(scene.audit("session.approved").len(), 1);
    assert_eq!(scene.api.count("getUpdates"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_polls_takes_an_old_webhook_back() {
    let api = BotApi::start().await;
    let client = teloxide::net::default_reqwest_settings().no_proxy().build().unwrap();
    let set = format!("{}bot{TOKEN}/setWebhook?url=https%3A%2F%2Fold.example%2F", api.url());
    assert!(client.get(set).send().await.unwrap().status().is_success());
    let das = Das::start(&["ack"]).await;
    api.add_user(ADMIN, "Root");
    let radhold = Radhold::start(&config(&api, &das, "", ""));
    api.write(ADMIN, ADMIN, "/stats");
    let stats = api.until_sent(ADMIN, 0).await;
    assert!(stats.text.contains("Nodes alive"), "{stats:?}");
    assert!(api.look(|world| world.webhook.is_none()));
    drop(radhold);
}
