//! Sending many requests, some at once, each worker from a socket of its own. Knows nothing of arguments and printing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::report::Report;
use super::request::{Chance, Recipe};
use crate::app::chance;
use crate::model::Secret;
use crate::net::client::{Client, Demand};
use crate::radius::dictionary::Dictionary;

/// What is to be done, shared by the workers.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) server: SocketAddr,
    pub(super) source: Option<SocketAddr>,
    pub(super) secret: Secret,
    pub(super) demand: Demand,
    pub(super) dictionary: Dictionary,
    /// One after the other, and again.
    pub(super) recipes: Vec<Recipe>,
    /// How many requests in all.
    pub(super) total: usize,
}

/// Starts the workers. Their reports arrive as they are finished, each or the reason it could not be made; after the
/// last, the channel is closed.
pub(super) async fn start(job: Job, workers: usize) -> io::Result<mpsc::Receiver<Result<Report, String>>> {
    let (sender, receiver) = mpsc::channel(workers);
    let job = Arc::new(job);
    let next = Arc::new(AtomicUsize::new(0));
    for _ in 0..workers.min(job.total) {
        let client = Client::connect(job.server, job.source, job.secret.clone()).await?;
        tokio::spawn(work(client, Arc::clone(&job), Arc::clone(&next), sender.clone()));
    }
    Ok(receiver)
}

async fn work(
    mut client: Client,
    job: Arc<Job>,
    next: Arc<AtomicUsize>,
    reports: mpsc::Sender<Result<Report, String>>,
) {
    let [mut identifier] = chance::octets();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= job.total {
            return;
        }
        let recipe = &job.recipes[number % job.recipes.len()];
        let report = send(&mut client, &job, recipe, identifier).await;
        // Nobody listens any more: nobody wants the rest.
        if reports.send(report).await.is_err() {
            return;
        }
        identifier = identifier.wrapping_add(1);
    }
}

async fn send(client: &mut Client, job: &Job, recipe: &Recipe, identifier: u8) -> Result<Report, String> {
    let request = recipe.build(&job.dictionary, job.secret.expose(), identifier, &draw())?;
    let jitter = || u32::from_be_bytes(chance::octets());
    let exchange = client.exchange(&request.octets, &job.demand, jitter).await;
    Ok(Report::new(&job.dictionary, &request, exchange))
}

/// Fresh chance for one request.
pub(super) fn draw() -> Chance {
    let [ident] = chance::octets();
    Chance {
        authenticator: chance::octets(),
        challenge: chance::octets(),
        peer_challenge: chance::octets(),
        ident,
        salt: u16::from_be_bytes(chance::octets()),
    }
}
