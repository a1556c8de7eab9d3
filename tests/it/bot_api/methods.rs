//! The methods: required fields, types, and what each refuses.
//!
//! Descriptions are the words the Bot API itself uses, as far as a client may depend on them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Message, Params, PressAnswer, Refusal, Shared, World, checks};

/// The bot itself.
pub(super) fn me() -> Value {
    json!({ "id": 700_100, "is_bot": true, "first_name": "radhold", "username": "radhold_test_bot" })
}

/// All methods but getUpdates, which waits.
pub(super) fn call(world: &mut World, method: &str, params: &Params) -> Result<Value, Refusal> {
    match method {
        "getme" => {
            let mut me = me();
            for ability in [
                "can_join_groups",
                "can_read_all_group_messages",
                "supports_inline_queries",
                "can_connect_to_business",
                "has_main_web_app",
            ] {
                me[ability] = json!(false);
            }
            Ok(me)
        }
        "setwebhook" => set_webhook(world, params),
        "deletewebhook" => {
            world.webhook = None;
            Ok(json!(true))
        }
        "getmycommands" => {
            let at = scope(params)?;
            Ok(world.commands.get(&at).cloned().unwrap_or_else(|| json!([])))
        }
        "setmycommands" => set_my_commands(world, params),
        "sendmessage" => send_message(world, params),
        "editmessagetext" => edit_message_text(world, params),
        "editmessagereplymarkup" => edit_message_reply_markup(world, params),
        "answercallbackquery" => answer_callback_query(world, params),
        _ => Err(Refusal::new(404, "Not Found")),
    }
}

fn set_webhook(world: &mut World, params: &Params) -> Result<Value, Refusal> {
    let url = params.text("url")?.unwrap_or_default();
    if !url.starts_with("https://") {
        return Err(Refusal::bad("bad webhook: An HTTPS URL must be provided for webhook"));
    }
    let secret = params.text("secret_token")?.unwrap_or_default();
    if secret.len() > 256 || !secret.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        return Err(Refusal::bad("secret token contains unallowed characters"));
    }
    world.webhook = Some(json!({ "url": url, "secret_token": secret, "allowed": params.json("allowed_updates")? }));
    // A poll that waits is ended.
    world.poll += 1;
    Ok(json!(true))
}

/// Where commands are for: a chat, or 0 for all private ones; and a language.
fn scope(params: &Params) -> Result<(i64, String), Refusal> {
    let scope = params.json("scope")?.unwrap_or_else(|| json!({ "type": "default" }));
    let chat = match scope["type"].as_str() {
        Some("all_private_chats") => 0,
        Some("chat") => scope["chat_id"].as_i64().ok_or_else(|| Refusal::bad("chat not found"))?,
        other => return Err(Refusal::bad(format!("no test wants commands of scope {other:?}"))),
    };
    Ok((chat, params.text("language_code")?.unwrap_or_default()))
}

fn set_my_commands(world: &mut World, params: &Params) -> Result<Value, Refusal> {
    let at = scope(params)?;
    if at.0 != 0 && !world.chats.contains_key(&at.0) {
        return Err(Refusal::bad("chat not found"));
    }
    let commands = params.json("commands")?.unwrap_or_else(|| json!([]));
    for command in commands.as_array().into_iter().flatten() {
        let name = command["command"].as_str().unwrap_or_default();
        let what = command["description"].as_str().unwrap_or_default();
        let fine = (1..=32).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !fine || !(1..=256).contains(&what.chars().count()) {
            return Err(Refusal::bad("BOT_COMMAND_INVALID"));
        }
    }
    world.commands.insert(at, commands);
    Ok(json!(true))
}

fn send_message(world: &mut World, params: &Params) -> Result<Value, Refusal> {
    let chat = chat(world, params)?;
    let content = checks::formatted(params.text("text")?, params.text("parse_mode")?.as_deref())?;
    let keyboard = checks::keyboard(params.json("reply_markup")?)?;
    let reply_to = match params.json("reply_parameters")? {
        None => None,
        Some(reply) => {
            let to = reply["message_id"].as_i64().ok_or_else(|| Refusal::bad("message to be replied not found"))?;
            let found = world.messages.contains_key(&(chat, to));
            if !found && reply["allow_sending_without_reply"] != true {
                return Err(Refusal::bad("message to be replied not found"));
            }
            found.then_some(to)
        }
    };
    let silent = params.flag("disable_notification")?;
    let id = world.add_message(Message {
        chat,
        id: 0,
        by_bot: true,
        text: content.text,
        keyboard,
        edits: 0,
        reply_to,
        silent,
        marks: content.marks,
        from: None,
        date: 0,
    });
    Ok(world.show(&world.messages[&(chat, id)]))
}

fn edit_message_text(world: &mut World, params: &Params) -> Result<Value, Refusal> {
    let at = message_to_edit(world, params)?;
    let content = checks::formatted(params.text("text")?, params.text("parse_mode")?.as_deref())?;
    let keyboard = checks::keyboard(params.json("reply_markup")?)?;
    edit(world, at, |message| {
        message.text = content.text;
        message.marks = content.marks;
        message.keyboard = keyboard;
    })
}

fn edit_message_reply_markup(world: &mut World, params: &Params) -> Result<Value, Refusal> {
    let at = message_to_edit(world, params)?;
    let keyboard = checks::keyboard(params.json("reply_markup")?)?;
    edit(world, at, |message| message.keyboard = keyboard)
}

fn edit(world: &mut World, at: (i64, i64), change: impl FnOnce(&mut Message)) -> Result<Value, Refusal> {
    let before = world.messages[&at].clone();
    let mut after = before.clone();
    change(&mut after);
    if after == before {
        return Err(Refusal::bad(
            "message is not modified: specified new message content and reply markup are exactly the same as a current \
             content and reply markup of the message",
        ));
    }
    after.edits += 1;
    world.messages.insert(at, after);
    Ok(world.show(&world.messages[&at]))
}

fn answer_callback_query(world: &mut World, params: &Params) -> Result<Value, Refusal> {
    let too_old = || Refusal::bad("query is too old and response timeout expired or query ID is invalid");
    let id = params.text("callback_query_id")?.ok_or_else(too_old)?;
    let text = params.text("text")?.unwrap_or_default();
    let alert = params.flag("show_alert")?;
    if text.chars().count() > 200 {
        return Err(Refusal::bad("MESSAGE_TOO_LONG"));
    }
    let query = world.queries.get(&id).ok_or_else(too_old)?;
    if query.born.elapsed() >= query.lifetime || world.answers.contains_key(&id) {
        return Err(too_old());
    }
    world.answers.insert(id, PressAnswer { text, alert });
    Ok(json!(true))
}

/// Waits for updates as long as asked. A newer poll ends an older one with 409.
pub(super) async fn get_updates(shared: &Shared, params: &Params) -> Result<Value, Refusal> {
    let offset = params.integer("offset")?.unwrap_or(0);
    let limit = params.integer("limit")?.unwrap_or(100).clamp(1, 100);
    let timeout = params.integer("timeout")?.unwrap_or(0).clamp(0, 50);
    let allowed = params.json("allowed_updates")?;
    let deadline = Instant::now() + Duration::from_secs(timeout.unsigned_abs());
    let mut changed = shared.changed.subscribe();
    let ours = shared.change(|world| {
        if let Some(allowed) = allowed.as_ref().and_then(Value::as_array) {
            let kinds: BTreeSet<_> = allowed.iter().filter_map(|kind| kind.as_str().map(str::to_owned)).collect();
            world.allowed = (!kinds.is_empty()).then_some(kinds);
        }
        // All before the offset is confirmed; a negative one counts from the end.
        if offset < 0 {
            let keep = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
            while world.updates.len() > keep {
                world.updates.pop_front();
            }
        } else {
            world.updates.retain(|(id, _)| *id >= offset);
        }
        world.poll += 1;
        world.poll
    });
    loop {
        {
            let world = shared.lock();
            if world.webhook.is_some() {
                return Err(Refusal::new(
                    409,
                    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
                ));
            }
            if world.poll != ours {
                return Err(Refusal::new(
                    409,
                    "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
                ));
            }
            let limit = usize::try_from(limit).unwrap_or(100);
            let ready: Vec<_> = world.updates.iter().take(limit).map(|(_, update)| update.clone()).collect();
            if !ready.is_empty() || Instant::now() >= deadline {
                return Ok(json!(ready));
            }
        }
        let _ = tokio::time::timeout_at(deadline, changed.changed()).await;
    }
}

/// The chat a call is for, if the bot may write there.
fn chat(world: &World, params: &Params) -> Result<i64, Refusal> {
    let id = match params.text("chat_id")?.as_deref() {
        None | Some("") => return Err(Refusal::bad("chat_id is empty")),
        Some(id) => id.parse::<i64>().map_err(|_| Refusal::bad("chat not found"))?,
    };
    let chat = world.chats.get(&id).ok_or_else(|| Refusal::bad("chat not found"))?;
    if let Some(to) = chat.moved_to {
        return Err(Refusal {
            parameters: Some(json!({ "migrate_to_chat_id": to })),
            ..Refusal::bad("group chat was upgraded to a supergroup chat")
        });
    }
    if chat.blocked {
        return Err(Refusal::new(403, "Forbidden: bot was blocked by the user"));
    }
    Ok(id)
}

fn message_to_edit(world: &World, params: &Params) -> Result<(i64, i64), Refusal> {
    let chat = chat(world, params)?;
    let id = params.integer("message_id")?.ok_or_else(|| Refusal::bad("message identifier is not specified"))?;
    match world.messages.get(&(chat, id)) {
        None => Err(Refusal::bad("message to edit not found")),
        Some(message) if !message.by_bot => Err(Refusal::bad("message can't be edited")),
        Some(_) => Ok((chat, id)),
    }
}
