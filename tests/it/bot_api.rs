//! A Bot API server of our own, over real HTTP on loopback: it checks what the published API checks, remembers what it
//! was asked, and lets a test play the people at the other end.
//!
//! ```ignore
//! let api = BotApi::start().await;
//! api.add_user(42, "Alice");
//! let telegram = Telegram::new(api.options(), key)?;
//! ```
//!
//! Reads no clock but a monotonic one: the dates it gives count up from a fixed day. Knows nothing of radhold but how to
//! point it here ([`BotApi::options`]).

mod checks;
mod methods;
mod params;
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use radhold::approver::telegram::{Pace, TelegramOptions};
use radhold::model::Secret;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use url::Url;

pub(crate) use self::params::Params;

/// The one token the server accepts.
pub(crate) const TOKEN: &str = "700100:AAF-test_token";
/// How long a condition is waited for before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server. Stops when dropped.
pub(crate) struct BotApi {
    shared: Arc<Shared>,
    url: Url,
    task: JoinHandle<()>,
}

/// A message as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) chat: i64,
    pub(crate) id: i64,
    /// Sent by the bot (and not to it).
    pub(crate) by_bot: bool,
    /// As people see it: entities are parsed away.
    pub(crate) text: String,
    pub(crate) keyboard: Vec<Vec<Button>>,
    /// How often it was edited.
    pub(crate) edits: u32,
    /// The message it answers.
    pub(crate) reply_to: Option<i64>,
    /// It came without a sound.
    pub(crate) silent: bool,
    marks: Vec<(String, usize, usize)>,
    from: Option<i64>,
    date: i64,
}

/// A button under a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Button {
    pub(crate) text: String,
    pub(crate) data: Option<String>,
}

/// What the bot answered to a press.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PressAnswer {
    pub(crate) text: String,
    pub(crate) alert: bool,
}

/// A call that was made, in the order of arrival.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The method, in small letters.
    pub(crate) method: String,
    pub(crate) params: Params,
    /// When it arrived.
    pub(crate) at: Instant,
    /// The status it was answered with; `None` while it is being worked on, or when the caller went away.
    pub(crate) status: Option<u16>,
}

/// What can be made to go wrong.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// 429 with `retry_after`, in seconds.
    TooMany(u32),
    /// This status, with the usual words.
    Status(u16),
    /// The connection breaks before the answer.
    Drop,
    /// The answer is right, but late.
    Delay(Duration),
}

/// Everything a test may look at.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) messages: BTreeMap<(i64, i64), Message>,
    pub(crate) calls: Vec<Call>,
    /// By query id: the answer that was accepted.
    pub(crate) answers: BTreeMap<String, PressAnswer>,
    /// Updates that are not confirmed yet.
    pub(crate) updates: VecDeque<(i64, Value)>,
    chats: BTreeMap<i64, Chat>,
    queries: BTreeMap<String, Query>,
    failures: Vec<(String, Failure, usize)>,
    allowed: Option<BTreeSet<String>>,
    last_message: i64,
    last_update: i64,
    last_query: u64,
    poll: u64,
    /// How much may be sent, where that is enforced.
    limits: Option<Limits>,
    /// When messages came, by chat, as far as they count still.
    arrivals: VecDeque<(Instant, i64)>,
    /// Calls that were refused for coming too fast.
    pub(crate) floods: usize,
    /// By chat (0 is all private ones) and language.
    pub(crate) commands: BTreeMap<(i64, String), Value>,
    /// Where updates are to be brought.
    pub(crate) webhook: Option<Value>,
}

/// How much may be sent within a second (and how long a message counts against its chat).
#[derive(Debug, Clone, Copy)]
struct Limits {
    messages: usize,
    chat: Duration,
    group: Duration,
}

#[derive(Debug, Clone)]
struct Chat {
    name: String,
    language: String,
    blocked: bool,
    moved_to: Option<i64>,
}

#[derive(Debug, Clone)]
struct Query {
    born: Instant,
    lifetime: Duration,
}

/// What the server answers instead of a result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    status: u16,
    description: String,
    parameters: Option<Value>,
}

struct Shared {
    world: Mutex<World>,
    changed: watch::Sender<u64>,
}

impl BotApi {
    /// Starts a server on a free port of loopback, for as long as the value lives.
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared { world: Mutex::default(), changed: watch::Sender::new(0) });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        let router = Router::new().fallback(serve).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("serving on loopback") });
        Self { shared, url: Url::parse(&format!("http://{address}")).expect("an address makes a URL"), task }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> Url {
        self.url.clone()
    }

    /// Options that point radhold here, with short waits.
    pub(crate) fn options(&self) -> TelegramOptions {
        TelegramOptions {
            api_url: Some(self.url()),
            poll_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            backoff_first: Duration::from_millis(20),
            backoff_most: Duration::from_millis(200),
            // What is not about limits does not wait for them.
            pace: Pace { messages: 1000, period: Duration::ZERO, chat: Duration::ZERO, group: Duration::ZERO },
            ..TelegramOptions::new(Secret::new(TOKEN))
        }
    }

    // -- people

    /// Somebody who has a private chat with the bot.
    pub(crate) fn add_user(&self, id: i64, first_name: &str) {
        assert!(id > 0, "a user's id is positive");
        self.shared.change(|world| world.add_chat(id, first_name));
    }

    /// A group the bot is in.
    pub(crate) fn add_group(&self, id: i64, title: &str) {
        assert!(id < 0, "a group's id is negative");
        self.shared.change(|world| world.add_chat(id, title));
    }

    /// From now on the person has blocked the bot (or not).
    pub(crate) fn set_blocked(&self, chat: i64, blocked: bool) {
        self.shared.change(|world| world.chats.get_mut(&chat).expect("a known chat").blocked = blocked);
    }

    /// The group becomes a supergroup with another id.
    pub(crate) fn migrate(&self, chat: i64, to: i64) {
        self.shared.change(|world| world.chats.get_mut(&chat).expect("a known chat").moved_to = Some(to));
    }

    /// Somebody presses the button of that text under a message; gives the query's id.
    pub(crate) fn press(&self, chat: i64, message: i64, user: i64, button: &str) -> String {
        let data = self.look(|world| {
            let message = world.messages.get(&(chat, message)).expect("a known message");
            let button = message.keyboard.iter().flatten().find(|at| at.text == button);
            button.and_then(|at| at.data.clone()).unwrap_or_else(|| panic!("no button {button:?} under {message:?}"))
        });
        self.press_data(chat, message, user, &data)
    }

    /// Somebody's client claims a press with such data, which no button need have.
    pub(crate) fn press_data(&self, chat: i64, message: i64, user: i64, data: &str) -> String {
        self.shared.change(|world| world.add_press(chat, message, user, data, Duration::from_secs(15)))
    }

    /// Like [`BotApi::press_data`], but Telegram takes no answer to it any more.
    pub(crate) fn press_too_old(&self, chat: i64, message: i64, user: i64, data: &str) -> String {
        self.shared.change(|world| world.add_press(chat, message, user, data, Duration::ZERO))
    }

    /// Somebody writes in a chat.
    pub(crate) fn write(&self, chat: i64, user: i64, text: &str) {
        self.shared.change(|world| world.add_text(chat, user, text));
    }

    /// The person deletes a message.
    pub(crate) fn delete(&self, chat: i64, message: i64) {
        self.shared.change(|world| world.messages.remove(&(chat, message)));
    }

    // -- limits

    /// From now on Telegram's published limits are enforced: 30 messages a second in all, one a second in a chat, 20 a minute in
    /// a group. What comes too fast is refused with 429, and counted.
    pub(crate) fn enforce_limits(&self) {
        let second = Duration::from_secs(1);
        let limits = Limits { messages: 30, chat: second, group: second * 3 };
        self.shared.change(|world| world.limits = Some(limits));
    }

    /// The language somebody's client speaks.
    pub(crate) fn set_language(&self, user: i64, language: &str) {
        self.shared.change(|world| world.chats.get_mut(&user).expect("a known person").language = language.to_owned());
    }

    /// The oldest update that is not confirmed, as a webhook would be brought it.
    pub(crate) fn update(&self) -> Value {
        self.look(|world| world.updates.front().expect("an update").1.clone())
    }

    // -- trouble

    /// The next `times` calls of a method (`*` is any) fail like that.
    pub(crate) fn fail(&self, method: &str, failure: Failure, times: usize) {
        let method = method.to_ascii_lowercase();
        self.shared.change(|world| world.failures.push((method, failure, times)));
    }

    /// All is well again.
    pub(crate) fn heal(&self) {
        self.shared.change(|world| world.failures.clear());
    }

    // -- looking

    /// Looks at everything at once.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.shared.lock())
    }

    /// The messages of a chat that the bot sent, oldest first.
    pub(crate) fn sent(&self, chat: i64) -> Vec<Message> {
        self.look(|world| world.sent(chat))
    }

    /// One message as it is now.
    pub(crate) fn message(&self, chat: i64, id: i64) -> Message {
        self.look(|world| world.messages.get(&(chat, id)).cloned()).expect("a known message")
    }

    /// How often a method was called, whatever came of it.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.look(|world| world.calls_of(method).count())
    }

    /// Waits until `look` gives something.
    ///
    /// # Panics
    /// When it does not within a generous bound; `what` says what was waited for.
    pub(crate) async fn until<T>(&self, what: &str, mut look: impl FnMut(&World) -> Option<T>) -> T {
        let mut changed = self.shared.changed.subscribe();
        let waiting = async {
            loop {
                changed.borrow_and_update();
                if let Some(found) = self.look(&mut look) {
                    return found;
                }
                changed.changed().await.expect("the server holds the sender");
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("waited in vain for {what}; seen: {:#?}", self.shared.lock()),
        }
    }

    /// Waits for the `nth` message (from 0) of the bot in a chat.
    pub(crate) async fn until_sent(&self, chat: i64, nth: usize) -> Message {
        self.until(&format!("message {nth} in {chat}"), |world| world.sent(chat).get(nth).cloned()).await
    }

    /// Waits for the answer to a press.
    pub(crate) async fn until_answered(&self, query: &str) -> PressAnswer {
        self.until(&format!("the answer to press {query}"), |world| world.answers.get(query).cloned()).await
    }

    /// Waits until nothing is left to be confirmed.
    pub(crate) async fn until_confirmed(&self) {
        self.until("all updates confirmed", |world| world.updates.is_empty().then_some(())).await;
    }
}

impl Drop for BotApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Message {
    /// The texts of its buttons.
    pub(crate) fn buttons(&self) -> Vec<&str> {
        self.keyboard.iter().flatten().map(|button| button.text.as_str()).collect()
    }
}

impl World {
    /// The calls of a method, oldest first.
    pub(crate) fn calls_of(&self, method: &str) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.method.eq_ignore_ascii_case(method))
    }

    /// The messages of a chat that the bot sent, oldest first.
    pub(crate) fn sent(&self, chat: i64) -> Vec<Message> {
        self.messages.values().filter(|message| message.chat == chat && message.by_bot).cloned().collect()
    }

    fn add_chat(&mut self, id: i64, name: &str) {
        self.chats
            .insert(id, Chat { name: name.to_owned(), language: "en".to_owned(), blocked: false, moved_to: None });
    }

    fn add_message(&mut self, message: Message) -> i64 {
        self.last_message += 1;
        let id = self.last_message;
        let date = 1_795_000_000 + id;
        self.messages.insert((message.chat, id), Message { id, date, ..message });
        id
    }

    fn add_text(&mut self, chat: i64, user: i64, text: &str) {
        let id = self.add_message(Message {
            chat,
            id: 0,
            by_bot: false,
            text: text.to_owned(),
            keyboard: Vec::new(),
            edits: 0,
            reply_to: None,
            silent: false,
            marks: Vec::new(),
            from: Some(user),
            date: 0,
        });
        let message = self.show(&self.messages[&(chat, id)]);
        self.add_update("message", message);
    }

    fn add_press(&mut self, chat: i64, message: i64, user: i64, data: &str, lifetime: Duration) -> String {
        self.last_query += 1;
        let id = format!("9000{}", self.last_query);
        self.queries.insert(id.clone(), Query { born: Instant::now(), lifetime });
        // A message that is gone comes as an inaccessible one, whose date is 0.
        let message = match self.messages.get(&(chat, message)) {
            Some(message) => self.show(message),
            None => json!({ "chat": self.show_chat(chat), "message_id": message, "date": 0 }),
        };
        let query = json!({
            "id": id, "from": self.show_user(user), "message": message, "chat_instance": "77", "data": data,
        });
        self.add_update("callback_query", query);
        id
    }

    fn add_update(&mut self, kind: &str, what: Value) {
        if self.allowed.as_ref().is_some_and(|allowed| !allowed.contains(kind)) {
            return;
        }
        self.last_update += 1;
        self.updates.push_back((self.last_update, json!({ "update_id": self.last_update, kind: what })));
    }

    fn show(&self, message: &Message) -> Value {
        let from = match message.from {
            Some(user) => self.show_user(user),
            None => methods::me(),
        };
        let entities: Vec<_> = message.marks.iter().map(|(tag, start, end)| show_mark(tag, *start, *end)).collect();
        let mut shown = json!({
            "message_id": message.id, "from": from, "chat": self.show_chat(message.chat), "date": message.date,
            "text": message.text, "entities": entities,
        });
        if !message.keyboard.is_empty() {
            let button = |button: &Button| json!({ "text": button.text, "callback_data": button.data });
            let rows: Vec<Vec<_>> = message.keyboard.iter().map(|row| row.iter().map(button).collect()).collect();
            shown["reply_markup"] = json!({ "inline_keyboard": rows });
        }
        if message.edits > 0 {
            shown["edit_date"] = json!(message.date + 1);
        }
        shown
    }

    fn show_user(&self, id: i64) -> Value {
        let chat = self.chats.get(&id);
        let name = chat.map_or("Somebody", |chat| chat.name.as_str());
        let language = chat.map_or("en", |chat| chat.language.as_str());
        json!({ "id": id, "is_bot": false, "first_name": name, "language_code": language })
    }

    fn show_chat(&self, id: i64) -> Value {
        let name = self.chats.get(&id).map_or("Somewhere", |chat| chat.name.as_str());
        if id > 0 {
            json!({ "id": id, "type": "private", "first_name": name })
        } else {
            json!({ "id": id, "type": "supergroup", "title": name })
        }
    }

    /// Whether a message to that chat comes too fast; one that does not is counted.
    fn is_flood(&mut self, method: &str, params: &Params) -> bool {
        let Some(limits) = self.limits else { return false };
        if !matches!(method, "sendmessage" | "editmessagetext" | "editmessagereplymarkup") {
            return false;
        }
        let Ok(Some(chat)) = params.integer("chat_id") else { return false };
        let now = Instant::now();
        let longest = limits.chat.max(limits.group).max(Duration::from_secs(1));
        while self.arrivals.front().is_some_and(|(at, _)| now - *at >= longest) {
            self.arrivals.pop_front();
        }
        let within = |span: Duration, of: &dyn Fn(i64) -> bool| {
            self.arrivals.iter().filter(|(at, chat)| now - *at < span && of(*chat)).count()
        };
        let for_chat = if chat < 0 { limits.group } else { limits.chat };
        let flood =
            within(Duration::from_secs(1), &|_| true) >= limits.messages || within(for_chat, &|of| of == chat) > 0;
        if flood {
            self.floods += 1;
        } else {
            self.arrivals.push_back((now, chat));
        }
        flood
    }

    /// The failure that this call is to meet, if any.
    fn trouble(&mut self, method: &str) -> Option<Failure> {
        let at = self.failures.iter().position(|(of, _, left)| (of == "*" || of == method) && *left > 0)?;
        self.failures[at].2 -= 1;
        Some(self.failures[at].1.clone())
    }
}

fn show_mark(tag: &str, start: usize, end: usize) -> Value {
    let kind = match tag {
        "b" | "strong" => "bold",
        "i" | "em" => "italic",
        "code" => "code",
        _ => "pre",
    };
    json!({ "type": kind, "offset": start, "length": end - start })
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no test panics while it holds this")
    }

    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let done = change(&mut self.lock());
        self.changed.send_modify(|version| *version += 1);
        done
    }
}

impl Refusal {
    fn new(status: u16, description: impl Into<String>) -> Self {
        Self { status, description: description.into(), parameters: None }
    }

    fn bad(description: impl AsRef<str>) -> Self {
        Self::new(400, format!("Bad Request: {}", description.as_ref()))
    }
}

// -- HTTP

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let not_found = || Refusal::new(404, "Not Found");
    let path = head.uri.path().strip_prefix("/bot").and_then(|path| path.split_once('/'));
    let Some((token, method)) = path else { return respond(Err(not_found())) };
    if !token.split_once(':').is_some_and(|(id, word)| id.parse::<u64>().is_ok() && !word.is_empty()) {
        return respond(Err(not_found()));
    }
    if token != TOKEN {
        return respond(Err(Refusal::new(401, "Unauthorized")));
    }
    let method = method.to_ascii_lowercase();
    let Ok(body) = axum::body::to_bytes(body, 1 << 20).await else {
        return respond(Err(Refusal::new(413, "Request Entity Too Large")));
    };
    let params = match Params::read(head.uri.query(), &head.headers, &body) {
        Ok(params) => params,
        Err(refusal) => return respond(Err(refusal)),
    };
    let (call, trouble) = shared.change(|world| {
        world.calls.push(Call { method: method.clone(), params: params.clone(), at: Instant::now(), status: None });
        let flood = world.is_flood(&method, &params).then_some(Failure::TooMany(1));
        (world.calls.len() - 1, flood.or_else(|| world.trouble(&method)))
    });
    let refusal = match trouble {
        None => None,
        Some(Failure::Delay(by)) => {
            tokio::time::sleep(by).await;
            None
        }
        // Unwinding ends the task that serves the connection, and the connection with it; no panic is reported.
        Some(Failure::Drop) => std::panic::resume_unwind(Box::new("dropped on purpose")),
        Some(Failure::TooMany(seconds)) => Some(Refusal {
            parameters: Some(json!({ "retry_after": seconds })),
            ..Refusal::new(429, format!("Too Many Requests: retry after {seconds}"))
        }),
        Some(Failure::Status(status)) => {
            let words = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
            Some(Refusal::new(status, words.unwrap_or("Trouble")))
        }
    };
    let answer = match refusal {
        Some(refusal) => Err(refusal),
        None if method == "getupdates" => methods::get_updates(&shared, &params).await,
        None => shared.change(|world| methods::call(world, &method, &params)),
    };
    let status = answer.as_ref().map_or_else(|refusal| refusal.status, |_| 200);
    shared.change(|world| world.calls[call].status = Some(status));
    respond(answer)
}

fn respond(answer: Result<Value, Refusal>) -> Response {
    match answer {
        Ok(result) => axum::Json(json!({ "ok": true, "result": result })).into_response(),
        Err(Refusal { status, description, parameters }) => {
            let mut body = json!({ "ok": false, "error_code": status, "description": description });
            if let Some(parameters) = parameters {
                body["parameters"] = parameters;
            }
            let status = StatusCode::from_u16(status).expect("a status");
            (status, axum::Json(body)).into_response()
        }
    }
}
